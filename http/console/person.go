package console

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

// personView is everything about one person that the visitor may see.
type personView struct {
	Person client.UserBody
	Seal   seal

	// First is set on the first page of the timeline, which alone has all the rest.
	First bool
	// Answer says what stood at an instant; nil: not for this visitor, or it was refused.
	Answer *answerView
	// Consents are what field workers see instead.
	Consents []client.ConsentBody

	Timeline []pastEvent // newest first
	Next     *string     // of the timeline, or of Consents

	Looks  []client.ExposureBody
	Rights client.Rights
}

// pastEvent is an event of a person's history.
type pastEvent struct {
	client.HistoryBody

	Kind string // granted, refused, withdrawn, claimed or annulled
}

const (
	timelineLength = 50
	latestLooks    = 10
)

// Person shows everything about one person: what stood at an instant as known at another,
// what happened, who looked, and what they asked for.
func (c *Console) Person(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	p := personView{First: v.Value("after") == ""}
	if !v.May("page_person_reads") {
		return v.personForFieldWorker(id, p)
	}

	parts := []func(uuid.UUID, *personView) error{v.person, v.sealed, v.timeline}
	if p.First {
		parts = append(parts, v.answerAbout, v.rightsOf, v.looksAt)
	}
	asked := make([]func() error, len(parts))
	for i, part := range parts {
		asked[i] = func() error { return part(id, &p) }
	}
	refused := together(asked...)
	if p.Person.ID == uuid.Nil {
		return refused
	}

	if refused != nil {
		return v.again("person", p, refused)
	}
	if p.First {
		v.Position = p.Answer.Position // the footer names what the answer rests on
	}
	return v.render("person", p)
}

// person completes the page with who it is about.
func (v *Visit) person(id uuid.UUID, p *personView) error {
	got, err := v.API.GetResident(v.r.Context(), id, nil)
	if err != nil {
		return err
	}
	p.Person = got.Body
	return nil
}

// sealed completes the page with how far the log is sealed.
func (v *Visit) sealed(_ uuid.UUID, p *personView) (err error) {
	p.Seal, err = v.seal()
	return err
}

// personForFieldWorker shows the consents as they stand now: the past is for those who
// oversee.
func (v *Visit) personForFieldWorker(id uuid.UUID, p personView) error {
	if err := v.person(id, &p); err != nil {
		return err
	}
	if err := v.sealed(id, &p); err != nil {
		return err
	}
	if v.Form.Has("as_of") || v.Form.Has("known_at") || v.Form.Has("position") {
		return refusal(403, client.ProblemCodeForbidden)
	}
	list, err := v.API.ListConsents(v.r.Context(), &client.ListConsentsParams{
		SubjectID: &p.Person.ID, After: v.optional("after"),
	})
	if err != nil {
		return err
	}
	p.Consents, p.Next = list.Body.Items, list.Body.Next
	return v.render("person", p)
}

// timeline completes the page with a part of the history.
func (v *Visit) timeline(id uuid.UUID, p *personView) error {
	history, err := v.API.SubjectHistory(v.r.Context(), id, &client.SubjectHistoryParams{
		Order: new(client.SubjectHistoryParamsOrderNewest), Limit: new(int64(timelineLength)),
		After: v.optional("after"),
	})
	if err != nil {
		return err
	}

	for _, h := range history.Body.Items {
		_, kind, _ := strings.Cut(strings.TrimSuffix(h.EventType, ".v1"), ".")
		p.Timeline = append(p.Timeline, pastEvent{HistoryBody: h, Kind: kind})
	}
	p.Next = history.Body.Next
	return nil
}

// looksAt completes the page with who looked last. The looks of this visit are recorded
// after that.
func (v *Visit) looksAt(id uuid.UUID, p *personView) error {
	looks, err := v.API.Exposure(v.r.Context(), &client.ExposureParams{
		SubjectID: &id, Limit: new(int64(latestLooks)),
	})
	if err != nil {
		return err
	}
	p.Looks = looks.Body.Items
	return nil
}

// rightsOf completes the page with requests and holds.
func (v *Visit) rightsOf(id uuid.UUID, p *personView) error {
	rights, err := v.API.GetRights(v.r.Context(), &client.GetRightsParams{SubjectID: &id})
	if err != nil {
		return err
	}
	p.Rights = rights.Body
	return nil
}

// answerView says what a person had decided by an instant, as known at another or at a
// position.
type answerView struct {
	AsOf, KnownAt *time.Time // as asked; nil: now
	Known         *int64     // the position asked for in place of KnownAt
	Named         *time.Time // the instant that the answer names for now
	Position      int64
	// The purposes that rest on consent, and Lawful, those that need none.
	Decided, NeverAsked, Lawful []standing
}

// standing is how things stood for one purpose.
type standing struct {
	Purpose string
	// State is the status of the decision that counted, never_asked or lawful.
	State    string
	Basis    client.PurposeBodyBasis
	Decision *client.ConsentBody
}

// answerAbout completes the page with what stood for each purpose.
func (v *Visit) answerAbout(subject uuid.UUID, view *personView) error {
	r := fieldReader{v: v}
	a := answerView{AsOf: r.instant("as_of"), KnownAt: r.instant("known_at"), Known: r.number("position")}
	if err := r.refused(); err != nil {
		return err
	}

	var decided map[string]*client.ConsentBody
	var purposes []client.PurposeBody
	err := together(
		func() (err error) { decided, err = v.decisionsOf(subject, &a); return err },
		func() (err error) { purposes, err = v.purposes(); return err },
	)
	if err != nil {
		return err
	}
	a.stand(decided, purposes)
	view.Answer = &a
	return nil
}

// stand says how things stood for each purpose.
func (a *answerView) stand(decided map[string]*client.ConsentBody, purposes []client.PurposeBody) {
	for _, p := range purposes {
		s := standing{Purpose: p.Code, State: "never_asked", Basis: p.Basis, Decision: decided[p.Code]}
		switch {
		case s.Decision != nil:
			s.State = string(s.Decision.Status)
		case p.Basis != client.PurposeBodyBasisConsent:
			s.State = "lawful"
		case publishedAfter(p, a.KnownAt):
			continue
		}

		switch s.State {
		case "lawful":
			a.Lawful = append(a.Lawful, s)
		case "never_asked":
			a.NeverAsked = append(a.NeverAsked, s)
		default:
			a.Decided = append(a.Decided, s)
		}
		delete(decided, p.Code)
	}

	for code, d := range decided { // of purposes that were retired since
		a.Decided = append(a.Decided, standing{Purpose: code, State: string(d.Status), Decision: d})
	}

	byCode := func(x, y standing) int { return strings.Compare(x.Purpose, y.Purpose) }
	slices.SortFunc(a.Decided, byCode)
	slices.SortFunc(a.NeverAsked, byCode)
}

// publishedAfter reports whether a purpose did not exist yet at an instant.
func publishedAfter(p client.PurposeBody, at *time.Time) bool {
	return at != nil && p.Notice.Version == 1 && p.Notice.PublishedAt != nil && p.Notice.PublishedAt.After(*at)
}

// decisionsOf returns the decision that counted for each purpose, from the log, and
// completes the answer with what that rests on.
func (v *Visit) decisionsOf(subject uuid.UUID, a *answerView) (map[string]*client.ConsentBody, error) {
	export, err := v.API.ExportConsents(v.r.Context(), &client.ExportConsentsParams{
		AsOf: a.AsOf, KnownAt: a.KnownAt, Position: a.Known, SubjectID: &subject,
		Counting: new(client.ExportConsentsParamsCountingTrue),
		Format:   new(client.ExportConsentsParamsFormat("json")),
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = export.Body.Close() }() // in memory

	var all struct {
		Position int64                `json:"position"`
		AsOf     *time.Time           `json:"as_of"`
		Items    []client.ConsentBody `json:"items"`
	}
	if err := json.NewDecoder(export.Body).Decode(&all); err != nil {
		return nil, err
	}
	a.Position, a.Named = all.Position, all.AsOf
	decided := make(map[string]*client.ConsentBody, len(all.Items))
	for i := range all.Items {
		decided[all.Items[i].Purpose] = &all.Items[i]
	}
	return decided, nil
}

// personReadsView is who looked at one person's data.
type personReadsView struct {
	Person uuid.UUID
	Looks  []client.ExposureBody
	Next   *string
}

// PersonReads shows who looked at one person's data.
func (c *Console) PersonReads(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	r := fieldReader{v: v}
	asked := client.ExposureParams{
		SubjectID: &id, From: r.instant("from"), To: r.instant("to"), After: v.optional("after"),
	}
	if err := r.refused(); err != nil {
		return v.again("person_reads", personReadsView{Person: id}, err)
	}

	looks, err := v.API.Exposure(v.r.Context(), &asked)
	if err != nil {
		return v.again("person_reads", personReadsView{Person: id}, err)
	}
	return v.render("person_reads", personReadsView{Person: id, Looks: looks.Body.Items, Next: looks.Body.Next})
}
