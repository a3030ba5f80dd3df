package console

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

// NewResidentForm shows the form for a person who has no account.
func (c *Console) NewResidentForm(v *Visit) error { return v.render("new_resident", nil) }

// NewResident records a person who has no account.
func (c *Console) NewResident(v *Visit) error {
	body := client.RecordResidentBody{
		FullName: v.Value("full_name"), Phone: v.optional("phone"), Email: v.optional("email"),
		PreferredLanguage: chosen[client.RecordResidentBodyPreferredLanguage](v, "preferred_language"),
		ExternalIds:       v.newExternalIDs(),
	}
	made, err := v.API.RecordResident(v.r.Context(), body, &client.RecordResidentParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.again("new_resident", nil, err)
	}
	return v.toPerson(made.Body.ID)
}

// newExternalIDs returns the external id that a form adds; nil: none.
func (v *Visit) newExternalIDs() *[]client.ExternalID {
	value := v.Value("external_id")
	if value == "" {
		return nil
	}
	return &[]client.ExternalID{{Type: client.ExternalIDType(v.Value("external_type")), Value: value}}
}

// ResidentDetailsForm shows the form to correct a person's details.
func (c *Console) ResidentDetailsForm(v *Visit) error { return v.formAbout("resident_details", nil) }

// ResidentDetails corrects a person's details. Of somebody with an account the form has
// only the external ids: the rest is theirs to change.
func (c *Console) ResidentDetails(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}

	body := client.ChangeResidentBody{AddExternalIds: v.newExternalIDs(), RemoveExternalIds: v.formerExternalIDs()}
	if v.Form.Has("full_name") {
		body.FullName, body.Phone, body.Email = new(v.Value("full_name")), new(v.Value("phone")), new(v.Value("email"))
		body.PreferredLanguage = chosen[client.ChangeResidentBodyPreferredLanguage](v, "preferred_language")
	}
	_, err = v.API.ChangeResident(v.r.Context(), id, body,
		&client.ChangeResidentParams{IdempotencyKey: v.key(), IfMatch: v.optional("version")})
	if err != nil {
		return v.formAbout("resident_details", err)
	}
	return v.toPerson(id)
}

// formerExternalIDs returns the external ids that a form takes away; nil: none.
func (v *Visit) formerExternalIDs() *[]client.ExternalID {
	var all []client.ExternalID
	for _, text := range v.Form["remove_external_ids"] {
		kind, value, _ := strings.Cut(text, ":")
		all = append(all, client.ExternalID{Type: client.ExternalIDType(kind), Value: value})
	}
	if len(all) == 0 {
		return nil
	}
	return &all
}

// Removes reports whether a form that came back takes an external id away.
func (v *Visit) Removes(x client.ExternalID) bool {
	return slices.Contains(v.Form["remove_external_ids"], string(x.Type)+":"+x.Value)
}

// MergeForm shows the form to merge a record into another of the same person.
func (c *Console) MergeForm(v *Visit) error { return v.formAbout("merge", nil) }

// Merge merges a record into another of the same person.
func (c *Console) Merge(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}

	r := fieldReader{v: v}
	body := client.MergeBody{Into: r.id("into"), Reason: v.optional("reason"), Evidence: v.evidence()}
	err = r.refused()
	if err == nil {
		_, err = v.API.MergeResidents(v.r.Context(), id, body, &client.MergeResidentsParams{IdempotencyKey: v.key()})
	}
	if client.CodeOf(err) == client.ProblemCodeNotFound && body.Into != uuid.Nil {
		err = misread("into") // if it is the other record that is missing, the form says so
	}
	if err != nil {
		return v.formAbout("merge", err)
	}
	return v.toPerson(body.Into)
}

// UnmergeForm asks whether a merge is to be taken back.
func (c *Console) UnmergeForm(v *Visit) error { return v.formAbout("unmerge", nil) }

// Unmerge takes a merge back.
func (c *Console) Unmerge(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	_, err = v.API.UnmergeResidents(v.r.Context(), id,
		&client.UnmergeBody{Reason: v.optional("reason"), Evidence: v.evidence()},
		&client.UnmergeResidentsParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.formAbout("unmerge", err)
	}
	return v.toPerson(id)
}

// LodgeRequestForm shows the form for a request under the law.
func (c *Console) LodgeRequestForm(v *Visit) error { return v.formAbout("lodge_request", nil) }

// LodgeRequest lodges a request under the law for a person.
func (c *Console) LodgeRequest(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	read := fieldReader{v: v}
	body := client.LodgeRequestBody{
		SubjectID: &id, Kind: client.LodgeRequestBodyKind(v.Value("kind")), Details: v.optional("details"),
		ReceivedAt: read.instant("received_at"),
	}
	if err := read.refused(); err != nil {
		return v.formAbout("lodge_request", err)
	}

	_, err = v.API.LodgeRequest(v.r.Context(), body, &client.LodgeRequestParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.formAbout("lodge_request", err)
	}
	return v.toPerson(id)
}

// PlaceHoldForm shows the form to keep a person's data from being erased.
func (c *Console) PlaceHoldForm(v *Visit) error { return v.formAbout("place_hold", nil) }

// PlaceHold keeps a person's data from being erased.
func (c *Console) PlaceHold(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	_, err = v.API.PlaceHold(v.r.Context(), client.PlaceHoldBody{SubjectID: id, Reason: v.Value("reason")},
		&client.PlaceHoldParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.formAbout("place_hold", err)
	}
	return v.toPerson(id)
}
