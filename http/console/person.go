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

	Timeline    []pastEvent
	NewestFirst bool
	Next        *string // of the timeline, or of Consents

	Looks  []client.ExposureBody
	Rights client.Rights
}

// pastEvent is an event of a person's history.
type pastEvent struct {
	client.HistoryBody

	Kind string // granted, refused, withdrawn, claimed or annulled
}

const (
	timelineLength = 100
	latestLooks    = 10
)

// Person shows everything about one person: what stood at an instant as known at another,
// what happened, who looked, and what they asked for.
func (c *Console) Person(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	got, err := v.API.GetResident(v.r.Context(), id, nil)
	if err != nil {
		return err
	}

	p := personView{Person: got.Body, First: v.Value("after") == ""}
	if p.Seal, err = v.seal(); err != nil {
		return err
	}
	if !v.May("page_person_reads") {
		return v.personForFieldWorker(p)
	}
	if err := v.timeline(&p); err != nil {
		return v.again("person", p, err)
	}
	if !p.First {
		return v.render("person", p)
	}

	if err := v.looksAndRights(&p); err != nil {
		return err
	}
	p.Answer, err = v.answerAbout(id)
	if err != nil {
		return v.again("person", p, err)
	}
	v.Position = p.Answer.Position // the footer names what the answer rests on
	return v.render("person", p)
}

// personForFieldWorker shows the consents as they stand now: the past is for those who
// oversee.
func (v *Visit) personForFieldWorker(p personView) error {
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

// timeline completes the page with a part of the history. The API lists it oldest first;
// a history of one page is turned round.
func (v *Visit) timeline(p *personView) error {
	history, err := v.API.SubjectHistory(v.r.Context(), p.Person.ID, &client.SubjectHistoryParams{
		Limit: new(int64(timelineLength)), After: v.optional("after"),
	})
	if err != nil {
		return err
	}

	for _, h := range history.Body.Items {
		_, kind, _ := strings.Cut(strings.TrimSuffix(h.EventType, ".v1"), ".")
		p.Timeline = append(p.Timeline, pastEvent{HistoryBody: h, Kind: kind})
	}
	p.Next = history.Body.Next
	if p.NewestFirst = p.First && p.Next == nil; p.NewestFirst {
		slices.Reverse(p.Timeline)
	}
	return nil
}

// looksAndRights completes the page with who looked last, and with requests and holds.
func (v *Visit) looksAndRights(p *personView) error {
	looks, err := v.API.Exposure(v.r.Context(), &client.ExposureParams{
		SubjectID: &p.Person.ID, Limit: new(int64(latestLooks)),
	})
	if err != nil {
		return err
	}
	rights, err := v.API.GetRights(v.r.Context(), &client.GetRightsParams{SubjectID: &p.Person.ID})
	if err != nil {
		return err
	}
	p.Looks, p.Rights = looks.Body.Items, rights.Body
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

// answerAbout asks what stood for each purpose.
func (v *Visit) answerAbout(subject uuid.UUID) (*answerView, error) {
	r := fieldReader{v: v}
	a := answerView{AsOf: r.instant("as_of"), KnownAt: r.instant("known_at"), Known: r.number("position")}
	if err := r.refused(); err != nil {
		return nil, err
	}
	decided, err := v.decisionsOf(subject, &a)
	if err != nil {
		return nil, err
	}
	purposes, err := v.purposes()
	if err != nil {
		return nil, err
	}

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
	return &a, nil
}

// publishedAfter reports whether a purpose did not exist yet at an instant.
func publishedAfter(p client.PurposeBody, at *time.Time) bool {
	return at != nil && p.Notice.Version == 1 && p.Notice.PublishedAt != nil && p.Notice.PublishedAt.After(*at)
}

// decisionsOf returns the decision that counted for each purpose, replayed from the log,
// and completes the answer with what that rests on.
func (v *Visit) decisionsOf(subject uuid.UUID, a *answerView) (map[string]*client.ConsentBody, error) {
	export, err := v.API.ExportConsents(v.r.Context(), &client.ExportConsentsParams{
		AsOf: a.AsOf, KnownAt: a.KnownAt, Position: a.Known, SubjectID: &subject,
		Format: new(client.ExportConsentsParamsFormat("json")),
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
	return counting(all.Items), nil
}

// counting returns the decision that counts for each purpose: the one in force, otherwise
// the newest. Entries made in error, and those moved to another record, count for
// nothing.
func counting(decisions []client.ConsentBody) map[string]*client.ConsentBody {
	decided := map[string]*client.ConsentBody{}
	for i := range decisions {
		d := &decisions[i]
		if d.Status == "annulled" {
			continue
		}
		former := decided[d.Purpose]
		if former == nil || d.InForce || (!former.InForce && !decidedAt(d).Before(decidedAt(former))) {
			decided[d.Purpose] = d
		}
	}
	return decided
}

// decidedAt returns when a person made up their mind for the last time.
func decidedAt(d *client.ConsentBody) time.Time {
	if d.WithdrawnAt != nil {
		return *d.WithdrawnAt
	}
	return d.GivenAt
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
