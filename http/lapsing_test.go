package http_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// stamp writes an instant as a client would.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// texts is a wording in every language.
func texts(words string) string {
	return fmt.Sprintf(`{"en":%q,"zu":%q,"af":%q}`, words, words+" (zu)", words+" (af)")
}

// purpose defines a purpose as an admin, with more fields of the definition.
func (p *person) purpose(code, more string) {
	p.w.t.Helper()
	p.send("POST", "/api/v1/purposes", fmt.Sprintf(`{"code":%q,"basis":"consent",
		"special_personal_information":false,"retention":"a year","notice":{"texts":%s}%s}`,
		code, texts("First words"), more)).want(201)
}

// checkAll asks about many people at once.
func (p *person) checkAll(purpose string, more string, ids ...string) *answer {
	p.w.t.Helper()
	list, err := json.Marshal(append([]string{}, ids...))
	must(p.w.t, err)
	return p.send("POST", "/api/v1/consents/check",
		fmt.Sprintf(`{"purpose":%q,"subject_ids":%s%s}`, purpose, list, more))
}

func TestAConsentEndsWithoutAnEventInEveryAnswer(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	admin, clerk := w.staff(domain.Admin, "KZN225"), w.staff(domain.FieldWorker, "KZN225")
	admin.purpose("library", "")
	thandi := w.citizen("thandi@example.org")

	end := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	granted := thandi.send("POST", "/api/v1/consents", fmt.Sprintf(
		`{"purpose":"library","language":"zu","consented":true,"valid_until":%q}`, stamp(end))).want(201)
	if granted.text("valid_until") != stamp(end) || granted.text("status") != "granted" ||
		granted.json["in_force"] != true {
		t.Errorf("granted: %s", granted.raw)
	}

	thandi.send("POST", "/api/v1/consents", `{"purpose":"library","language":"zu","consented":true}`).
		wantProblem(409, domain.CodeAlreadyGranted)
	for field, body := range map[string]string{
		"before it was given": fmt.Sprintf(`"consented":true,"valid_until":%q`, stamp(time.Now().Add(-time.Hour))),
		"the zero instant":    `"consented":true,"valid_until":"0001-01-01T00:00:00Z"`,
		"of no year":          `"consented":true,"valid_until":"9999-12-31T23:59:59-12:00"`,
		"of a refusal":        fmt.Sprintf(`"consented":false,"valid_until":%q`, stamp(end)),
	} {
		a := thandi.send("POST", "/api/v1/consents", `{"purpose":"library","language":"zu",`+body+`}`).
			wantProblem(422, domain.CodeInvalid)
		if a.faults()["valid_until"] != "invalid" {
			t.Errorf("%s: %s", field, a.raw)
		}
	}

	for by, want := range map[time.Duration]struct {
		reason domain.Reason
		status domain.Status
	}{
		-time.Microsecond: {domain.ReasonGranted, domain.StatusGranted},
		0:                 {domain.ReasonExpired, domain.StatusExpired},
		time.Microsecond:  {domain.ReasonExpired, domain.StatusExpired},
	} {
		at := stamp(end.Add(by))
		a := clerk.send("GET", "/api/v1/consents/check?purpose=library&at="+at+"&subject_id="+thandi.id, "").want(200)
		if a.text("reason") != string(want.reason) || a.text("valid_until") != stamp(end) ||
			a.json["allowed"] != (want.reason == domain.ReasonGranted) {
			t.Errorf("%s after the end: %s", by, a.raw)
		}
		rows := admin.send("GET", "/api/v1/compliance/consents?purpose=library&as_of="+at, "").want(200).items()
		if len(rows) != 1 || rows[0]["status"] != string(want.status) ||
			rows[0]["in_force"] != (want.status == domain.StatusGranted) {
			t.Errorf("%s after the end the export has %v", by, rows)
		}
	}

	history := admin.send("GET", "/api/v1/compliance/subjects/"+thandi.id+"/history", "").want(200).items()
	if last := history[len(history)-1]; last["valid_until"] != stamp(end) {
		t.Errorf("the history says %v", last)
	}
}

// A form of years ago is recorded as what it was: a consent that held in its time.
func TestAFormThatHasExpiredIsRecordedAndCanBeRenewedOrWithdrawn(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	admin, clerk := w.staff(domain.Admin, "KZN225"), w.staff(domain.FieldWorker, "KZN225")
	admin.send("POST", "/api/v1/purposes", fmt.Sprintf(`{"code":"library","basis":"consent",
		"special_personal_information":false,"retention":"a year","validity_days":30,
		"notice":{"texts":%s,"in_use_since":"2020-01-01T00:00:00Z"}}`, texts("First words"))).want(201)
	thandi := w.citizen("thandi@example.org")

	form := func(given string) *answer {
		return clerk.send("POST", "/api/v1/consents", fmt.Sprintf(`{"subject_id":%q,"purpose":"library",
			"language":"en","consented":true,"channel":"paper","given_at":%q,"valid_until":"2024-01-11T08:00:00Z",
			"evidence":{"sha256":%q,"reference":"box 4"}}`, thandi.id, given, strings.Repeat("ab", 32)))
	}
	old := form("2024-01-01T08:00:00Z").want(201)
	if old.text("status") != "expired" || old.json["in_force"] != false ||
		old.text("valid_until") != "2024-01-11T08:00:00.000000Z" {
		t.Errorf("an old form: %s", old.raw)
	}

	check := "/api/v1/consents/check?purpose=library"
	thandi.send("GET", check, "").wantCheck(false, domain.ReasonExpired)
	thandi.send("GET", check+"&at=2024-01-05T00:00:00Z", "").wantCheck(true, domain.ReasonGranted)

	renewed := thandi.send("POST", "/api/v1/consents", `{"purpose":"library","language":"en","consented":true}`).
		want(201)
	given, err := time.Parse(time.RFC3339, renewed.text("given_at"))
	must(t, err)
	if renewed.text("valid_until") != stamp(given.Add(30*24*time.Hour)) {
		t.Errorf("30 days: %s", renewed.raw)
	}

	list := thandi.send("GET", "/api/v1/consents", "", "Min-Event-Position", renewed.header.Get("Event-Position")).
		want(200).items()
	if list[0]["status"] != "granted" || list[0]["in_force"] != true ||
		list[1]["status"] != "expired" || list[1]["in_force"] != false {
		t.Errorf("the list says %v", list)
	}

	gone := thandi.send("POST", "/api/v1/consents/"+old.text("id")+"/withdraw", "").want(200)
	if gone.text("status") != "withdrawn" {
		t.Errorf("withdrawn: %s", gone.raw)
	}
	thandi.send("GET", check, "").wantCheck(false, domain.ReasonWithdrawn)
}

func TestANoticeCanRequireANewAnswer(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	admin := w.staff(domain.Admin, "KZN225")
	admin.purpose("library", "")
	thandi, sipho := w.citizen("thandi@example.org"), w.citizen("sipho@example.org")
	for _, p := range []*person{thandi, sipho} {
		p.send("POST", "/api/v1/consents", `{"purpose":"library","language":"en","consented":true}`).want(201)
	}

	impact := func(query string) *answer {
		path := "/api/v1/compliance/purposes/library/impact" + query
		return admin.send("GET", path, "", "Min-Event-Position", w.head()).want(200)
	}
	a := impact("?limit=1")
	if a.json["count"] != 2.0 || len(a.items()) != 1 || a.json["notice_version"] != 2.0 || a.json["position"] == nil {
		t.Errorf("the impact is %s", a.raw)
	}
	if b := impact("?limit=1&notice_version=2&after=" + a.text("next")); b.json["count"] != 2.0 ||
		len(b.items()) != 1 || b.json["next"] != nil || b.items()[0]["subject_id"] == a.items()[0]["subject_id"] {
		t.Errorf("the second page is %s", b.raw)
	}
	looks := len(admin.reads("actor_id=" + admin.id))
	if n := impact("?count_only=true"); n.json["count"] != 2.0 || len(n.items()) != 0 || n.json["next"] != nil {
		t.Errorf("the count alone is %s", n.raw)
	}
	if now := len(admin.reads("actor_id=" + admin.id)); now != looks {
		t.Errorf("counting people is %d looks", now-looks)
	}
	admin.send("GET", "/api/v1/compliance/purposes/library/impact?count_only=true&after="+a.text("next"), "").
		wantProblem(422, domain.CodeInvalid)
	if none := impact("?notice_version=1"); none.json["count"] != 0.0 || len(none.items()) != 0 {
		t.Errorf("older than version 1: %s", none.raw)
	}
	admin.send("GET", "/api/v1/compliance/purposes/library/impact?notice_version=3", "").
		wantProblem(422, domain.CodeInvalid)
	admin.send("GET", "/api/v1/compliance/purposes/nothing/impact", "").wantProblem(404, domain.CodeUnknownPurpose)

	publish := func(at time.Time) *answer {
		return admin.send("POST", "/api/v1/purposes/library/notices",
			fmt.Sprintf(`{"texts":%s,"reconsent":%q}`, texts("Second words"), stamp(at)))
	}
	if a := publish(time.Now().Add(-time.Second)).wantProblem(422, domain.CodeInvalid); a.faults()["reconsent"] == "" {
		t.Errorf("in the past: %s", a.raw)
	}
	lapse := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	notice := publish(lapse).want(201)

	before, at := stamp(lapse.Add(-time.Microsecond)), stamp(lapse)
	check := "/api/v1/consents/check?purpose=library"
	now := thandi.send("GET", check, "").wantCheck(true, domain.ReasonGranted)
	if now.text("valid_until") != stamp(lapse) {
		t.Errorf("it is known to end: %s", now.raw)
	}
	thandi.send("GET", check+"&at="+before, "").wantCheck(true, domain.ReasonGranted)
	over := thandi.send("GET", check+"&at="+at, "").wantCheck(false, domain.ReasonSuperseded)
	by, _ := over.json["decided_by"].(map[string]any)
	if fmt.Sprint(by["position"]) != notice.header.Get("Event-Position") || by["at"] != stamp(lapse) ||
		by["event_type"] != "purpose.notice_published.v1" {
		t.Errorf("not decided by the notice: %s", over.raw)
	}

	// As known before the notice, nothing ends.
	first := thandi.send("GET", "/api/v1/consents", "", "Min-Event-Position", w.head()).want(200).items()[0]
	known := "&known_at=" + first["recorded_at"].(string)
	thandi.send("GET", check+"&at="+at+known, "").wantCheck(true, domain.ReasonGranted)
	if first["lapses_at"] != stamp(lapse) || first["status"] != "granted" || first["in_force"] != true {
		t.Errorf("the list says %v", first)
	}

	rows := admin.send("GET", "/api/v1/compliance/consents?purpose=library&as_of="+at, "").want(200).items()
	for _, row := range rows {
		if row["status"] != "lapsed" || row["in_force"] != false {
			t.Errorf("the export says %v", row)
		}
	}

	again := thandi.send("POST", "/api/v1/consents", `{"purpose":"library","language":"en","consented":true}`).want(201)
	if again.json["notice_version"] != 2.0 || again.json["lapses_at"] != nil {
		t.Errorf("asked again: %s", again.raw)
	}
	thandi.send("GET", check+"&at="+at, "").wantCheck(true, domain.ReasonGranted)
	if a := impact("?notice_version=2"); a.json["count"] != 1.0 || a.items()[0]["subject_id"] != sipho.id {
		t.Errorf("still to be asked: %s", a.raw)
	}
}

func TestABulkCheckAnswersForEverybodyInOrder(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	admin, clerk := w.staff(domain.Admin, "KZN225"), w.staff(domain.FieldWorker, "KZN225")
	stranger := w.staff(domain.FieldWorker, "CPT")
	admin.purpose("library", "")
	thandi, sipho := w.citizen("thandi@example.org"), w.citizen("sipho@example.org")
	thandi.send("POST", "/api/v1/consents", `{"purpose":"library","language":"en","consented":true}`).want(201)
	sipho.send("POST", "/api/v1/consents", `{"purpose":"library","language":"en","consented":false}`).want(201)

	ids := []string{sipho.id, thandi.id, uuid.NewString(), stranger.id, thandi.id, clerk.id}
	head := w.head()
	a := clerk.checkAll("Library", "", ids...).want(200)
	if fmt.Sprint(a.json["position"]) != head {
		t.Errorf("position %v, the head is %s", a.json["position"], head)
	}
	for i, want := range []domain.Reason{
		domain.ReasonRefused, domain.ReasonGranted, domain.ReasonUnknownSubject, domain.ReasonUnknownSubject,
		domain.ReasonGranted, domain.ReasonNeverAsked,
	} {
		item := a.items()[i]
		if item["subject_id"] != ids[i] || item["reason"] != string(want) ||
			item["allowed"] != (want == domain.ReasonGranted) || item["valid_until"] != nil {
			t.Errorf("item %d is %v, want %s", i, item, want)
		}
	}

	// One event names everybody whom the municipality has, but the clerk; the same
	// question in the same hour is no second one.
	clerk.checkAll("library", "", ids...).want(200)
	reads := admin.reads("subject_id=" + thandi.id)
	if len(reads) != 1 || reads[0]["matched"] != "list" || reads[0]["route"] != "POST /api/v1/consents/check" ||
		len(reads[0]["subjects"].([]any)) != 2 || reads[0]["filter"].(map[string]any)["purpose"] != "library" {
		t.Errorf("the exposure is %v", reads)
	}
	mine := thandi.send("GET", "/api/v1/data-rights/my-data", "").want(200)
	if looks := mine.json["reads"].([]any); len(looks) != 1 || strings.Contains(mine.raw, sipho.id) {
		t.Errorf("my data says %v", looks)
	}

	// From another municipality everybody is unknown, and nothing is left behind.
	head = w.head()
	for _, item := range stranger.checkAll("platform_registration", "", thandi.id, uuid.NewString()).want(200).items() {
		if item["reason"] != "unknown_subject" {
			t.Errorf("another municipality sees %v", item)
		}
	}
	if w.head() != head {
		t.Error("a check of nobody left an event")
	}

	clerk.checkAll("nothing", "", thandi.id).wantProblem(404, domain.CodeUnknownPurpose)
	thandi.checkAll("library", "", thandi.id).wantProblem(403, domain.CodeForbidden)
	clerk.checkAll("library", "", "rubbish", uuid.Nil.String()).wantProblem(422, domain.CodeInvalid)
	if n := len(clerk.checkAll("library", "").want(200).items()); n != 0 {
		t.Errorf("%d answers about nobody", n)
	}

	many := make([]string, 1001)
	for i := range many {
		many[i] = uuid.NewString()
	}
	if n := len(clerk.checkAll("library", "", many[:1000]...).want(200).items()); n != 1000 {
		t.Errorf("%d answers about 1000 people", n)
	}
	refused := clerk.checkAll("library", "", many...).wantProblem(422, domain.CodeInvalid)
	if !strings.Contains(refused.raw, "Give at most 1000.") {
		t.Errorf("about 1001 people: %s", refused.raw)
	}
}

func TestACheckOfSomebodyUnknownSaysSo(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	thandi, stranger := w.citizen("thandi@example.org"), w.staff(domain.Manager, "CPT")

	check := func(id string) *answer {
		return stranger.send("GET", "/api/v1/consents/check?purpose=newsletter&subject_id="+id, "")
	}
	there := check(thandi.id).wantCheck(false, domain.ReasonUnknownSubject)
	if absent := check(uuid.NewString()); absent.raw != there.raw {
		t.Errorf("%s differs from %s", there.raw, absent.raw)
	}
}

// A municipality's own purpose hides what the default with its code demands, from the
// moment that it is defined, for whoever asks.
func TestAnOwnPurposeEndsWhatTheDefaultDemands(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	salga, admin := w.staff(domain.Admin, "SALGA"), w.staff(domain.Admin, "KZN225")
	salga.purpose("library", "")
	thandi := w.citizen("thandi@example.org")
	thandi.send("POST", "/api/v1/consents", `{"purpose":"library","language":"en","consented":true}`).want(201)

	at := stamp(time.Now().Add(time.Hour))
	salga.send("POST", "/api/v1/purposes/library/notices",
		fmt.Sprintf(`{"texts":%s,"reconsent":%q}`, texts("Second words"), at)).want(201)

	export := "/api/v1/compliance/consents?purpose=library&as_of=" + at
	agree := func(reason domain.Reason, status domain.Status) {
		t.Helper()
		allowed := reason == domain.ReasonGranted
		thandi.send("GET", "/api/v1/consents/check?purpose=library&at="+at, "").wantCheck(allowed, reason)
		row := admin.send("GET", export, "").want(200).items()[0]
		if row["status"] != string(status) || row["in_force"] != allowed {
			t.Errorf("a check says %s, the export %v", reason, row)
		}
	}
	agree(domain.ReasonSuperseded, domain.StatusLapsed)

	admin.purpose("library", "")
	agree(domain.ReasonGranted, domain.StatusGranted)
}

// Random acts on the real log, asked about just before, at and just after every instant
// at which something begins or ends: single checks, bulk checks and exports say the same
// at both clocks, and lists say the same now.
func TestRandomHistoriesAreAnsweredAlikeEverywhere(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	h := &histories{
		w: w, rand: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // not for secrets
		salga: w.staff(domain.Admin, "SALGA"), admin: w.staff(domain.Admin, "KZN225"),
		people: []*person{w.citizen("thandi@example.org"), w.citizen("sipho@example.org")},
	}

	for i := range 4 {
		h.purpose, h.instants = fmt.Sprintf("purpose_%c", 'a'+i), []time.Time{time.Now()}
		if h.rand.IntN(2) == 0 {
			h.salga.purpose(h.purpose, "")
		} else {
			h.admin.purpose(h.purpose, "")
		}
		for range 3 + h.rand.IntN(8) {
			h.act()
		}
		for range 8 {
			h.compare(h.instant(), h.instant())
		}
		h.compare("", "")
		h.compareLists()
	}
}

type histories struct {
	w            *world
	rand         *rand.Rand
	salga, admin *person
	people       []*person
	purpose      string
	instants     []time.Time
}

// ahead draws an instant of the next hour, or rarely now.
func (h *histories) ahead() time.Time {
	at := time.Now().Add(time.Duration(1+h.rand.IntN(60)) * time.Minute).UTC().Truncate(time.Minute)
	h.instants = append(h.instants, at)
	return at
}

func (h *histories) act() {
	p := h.people[h.rand.IntN(len(h.people))]
	words := fmt.Sprint("Words ", h.rand.IntN(3))
	publish := func(by *person) {
		body := `{"texts":` + texts(words)
		if h.rand.IntN(3) > 0 {
			body += fmt.Sprintf(`,"reconsent":%q`, stamp(h.ahead()))
		}
		by.send("POST", "/api/v1/purposes/"+h.purpose+"/notices", body+"}")
	}

	var a *answer
	switch h.rand.IntN(9) {
	case 0:
		publish(h.admin)
	case 1:
		publish(h.salga)
	case 2:
		h.admin.send("POST", "/api/v1/purposes", fmt.Sprintf(`{"code":%q,"basis":"consent","retention":"a year",
			"special_personal_information":false,"notice":{"texts":%s}}`, h.purpose, texts(words)))
	case 3:
		by := []*person{h.admin, h.admin, h.salga}[h.rand.IntN(3)]
		if h.rand.IntN(3) == 0 {
			by.send("POST", "/api/v1/purposes/"+h.purpose+"/retire", "")
		}
	case 4:
		a = p.send("POST", "/api/v1/consents", fmt.Sprintf(
			`{"purpose":%q,"language":"en","consented":false}`, h.purpose))
	case 5:
		list := p.send("GET", "/api/v1/consents", "", "Min-Event-Position", h.w.head()).want(200).items()
		for _, c := range list {
			if c["purpose"] == h.purpose && c["consented"] == true {
				a = p.send("POST", "/api/v1/consents/"+c["id"].(string)+"/withdraw", "")
				break
			}
		}
	default:
		body := fmt.Sprintf(`{"purpose":%q,"language":"en","consented":true`, h.purpose)
		if h.rand.IntN(2) == 0 {
			body += fmt.Sprintf(`,"valid_until":%q`, stamp(h.ahead()))
		}
		a = p.send("POST", "/api/v1/consents", body+"}")
	}

	if a != nil && a.status < 300 {
		for _, field := range []string{"given_at", "recorded_at", "withdrawn_at"} {
			if at, err := time.Parse(time.RFC3339, a.text(field)); err == nil {
				h.instants = append(h.instants, at)
			}
		}
	}
}

// instant draws an instant just before, at or just after a boundary; or none.
func (h *histories) instant() string {
	if h.rand.IntN(4) == 0 {
		return ""
	}
	by := time.Duration(h.rand.IntN(3)-1) * time.Microsecond
	return stamp(h.instants[h.rand.IntN(len(h.instants))].Add(by))
}

// answers is what a check says: the reason, and the end.
type answers map[string]string

func (h *histories) compare(at, known string) {
	h.w.t.Helper()
	query, body, export := url.Values{"purpose": {h.purpose}}, "", url.Values{"purpose": {h.purpose}}
	if at != "" {
		query.Set("at", at)
		export.Set("as_of", at)
		body += fmt.Sprintf(`,"at":%q`, at)
	}
	if known != "" {
		query.Set("known_at", known)
		export.Set("known_at", known)
		body += fmt.Sprintf(`,"known_at":%q`, known)
	}

	one, bulk := answers{}, answers{}
	var ids []string
	for _, p := range h.people {
		ids = append(ids, p.id)
		a := p.send("GET", "/api/v1/consents/check?"+query.Encode(), "").want(200)
		one[p.id] = a.text("reason") + " " + a.text("valid_until")
	}
	for _, item := range h.admin.checkAll(h.purpose, body, ids...).want(200).items() {
		until, _ := item["valid_until"].(string)
		bulk[item["subject_id"].(string)] = item["reason"].(string) + " " + until
	}
	if !maps.Equal(one, bulk) {
		h.w.t.Fatalf("%s at %s known at %s: one by one %v, in bulk %v", h.purpose, at, known, one, bulk)
	}

	rows := h.admin.send("GET", "/api/v1/compliance/consents?"+export.Encode(), "").want(200).items()
	h.demandRows(fmt.Sprintf("the export at %s known at %s", at, known), one, rows)
}

// demandRows checks that in force is exactly what a check allows, up to the same instant.
func (h *histories) demandRows(what string, want answers, rows []map[string]any) {
	h.w.t.Helper()
	inForce := map[string]string{}
	for _, row := range rows {
		if row["in_force"] != true {
			continue
		}
		ends := []string{}
		for _, field := range []string{"valid_until", "lapses_at"} {
			if end, is := row[field].(string); is {
				ends = append(ends, end)
			}
		}
		slices.Sort(ends)
		says := append([]string{"granted"}, ends[:min(1, len(ends))]...)
		inForce[row["subject_id"].(string)] = strings.Join(says, " ")
	}

	for id, says := range want {
		if granted := strings.HasPrefix(says, "granted"); granted != (inForce[id] != "") ||
			granted && strings.TrimSpace(says) != inForce[id] {
			h.w.t.Fatalf("%s, %s: checks say %v, in force are %v", h.purpose, what, want, rows)
		}
	}
}

func (h *histories) compareLists() {
	h.w.t.Helper()
	for _, p := range h.people {
		a := p.send("GET", "/api/v1/consents/check?purpose="+h.purpose, "").want(200)
		var rows []map[string]any
		for _, row := range p.send("GET", "/api/v1/consents?limit=100", "", "Min-Event-Position", h.w.head()).
			want(200).items() {
			if row["purpose"] == h.purpose {
				rows = append(rows, row)
			}
		}
		h.demandRows("the list", answers{p.id: a.text("reason") + " " + a.text("valid_until")}, rows)
	}
}
