package http_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// looks returns the recorded reads after a position, by route, and the appends that they
// came with.
func (w *world) looks(after int64) (byRoute map[string]*domain.PersonalDataRead, appends []uuid.UUID) {
	byRoute = map[string]*domain.PersonalDataRead{}
	for _, e := range w.store.events() {
		if read, is := e.Event.(*domain.PersonalDataRead); is && e.Position > after {
			byRoute[read.Route] = read
			if !slices.Contains(appends, e.AppendID) {
				appends = append(appends, e.AppendID)
			}
		}
	}
	return byRoute, appends
}

// A page of several answers records what each of them shows, as the API does, and all of
// that in one append, before the page leaves.
func TestTheLooksOfAPageAreRecordedTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	page := "/console/people/" + p.id
	before := int64(len(w.store.events()))
	b.get(page).want(200)
	b.says("Thandi Ṱhaba")

	read, appends := w.looks(before)
	got := map[string]string{}
	for route, r := range read {
		got[route] = r.Fields
		if len(r.Subjects) != 1 || r.Subjects[0].String() != p.id || r.Head != before {
			t.Errorf("%s is recorded as %+v", route, r)
		}
	}
	want := map[string]string{
		"GET /api/v1/residents/{id}": "profile", "GET /api/v1/compliance/subjects/{id}/history": "history",
		"GET /api/v1/compliance/consents": "consents", "GET /api/v1/data-rights/subject": "requests",
	}
	if !maps.Equal(got, want) {
		t.Errorf("recorded are %v", got)
	}
	if len(appends) != 1 {
		t.Errorf("%d appends", len(appends))
	}
	if n := int64(len(w.store.events())) - before; n != int64(len(want)) {
		t.Errorf("%d events", n)
	}

	// What cannot be recorded is not shown, and no page after it is the worse for it.
	w.store.failAppends(domain.Refuse(domain.CodeOverloaded, "full"))
	b.get(page).want(503)
	b.hides("Thandi", "thandi@example.org")
	w.store.failAppends(nil)
	b.get(page).want(200)
	b.says("Thandi Ṱhaba")
}

// A page that leads elsewhere has looked, too; so has one that only says what is wrong.
func TestAPageThatShowsNothingRecordsWhatItAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	admin := w.staff(domain.Admin, "KZN225")
	b := admin.browserOf("KZN225")
	access := p.lodge("access", "")

	before := int64(len(w.store.events()))
	b.get("/console/requests/" + access + "/erase").want(200) // leads to the request
	if read, appends := w.looks(before); len(appends) != 2 || len(read) == 0 {
		t.Errorf("recorded are %v in %d appends", read, len(appends))
	}

	before = int64(len(w.store.events()))
	b.get("/console/people/" + p.id + "?as_of=yesterday").want(422)
	if read, appends := w.looks(before); len(appends) != 1 || len(read) != 3 {
		t.Errorf("recorded are %v in %d appends", read, len(appends))
	}
}

// A file goes to the browser as it is made: what it shows is recorded before.
func TestTheLookOfAFileIsRecordedBeforeItBegins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	before := int64(len(w.store.events()))
	a := b.get("/console/consents/download?format=csv").want(200)
	if read, _ := w.looks(before); read["GET /api/v1/compliance/consents"] == nil || !strings.Contains(a.raw, p.id) {
		t.Errorf("the file was made with the looks %v:\n%s", read, a.raw)
	}

	w.store.failAppends(domain.Refuse(domain.CodeOverloaded, "full"))
	b.get("/console/consents/download?format=csv").want(503)
	b.hides(p.id)
	b.get(fmt.Sprintf("/console/people/%s/reads", p.id)).want(200) // no look at anything but looks
}
