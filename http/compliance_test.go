package http_test

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

// reads returns the recorded reads that a query of the exposure shows.
func (p *person) reads(query string) []map[string]any {
	p.w.t.Helper()
	return p.send("GET", "/api/v1/compliance/exposure?"+query, "").want(200).items()
}

// The question of the Information Regulator: what had this person agreed to on that date,
// in which words, who recorded it, and who has looked since?
func TestAnOfficerAnswersTheRegulator(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")

	thandi := w.citizen("thandi@example.org")
	clerk, officer := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")

	given := time.Now().Add(-72 * time.Hour).UTC().Format(time.RFC3339)
	paper := clerk.send("POST", "/api/v1/consents",
		fmt.Sprintf(`{"subject_id":%q,"purpose":"newsletter","language":"zu","consented":true,"channel":"paper",
			"given_at":%q,"evidence":{"sha256":%q,"reference":"box 4, form 17"}}`,
			thandi.id, given, strings.Repeat("ab", 32))).want(201)

	thandi.send("POST", "/api/v1/consents/"+paper.text("id")+"/withdraw", `{"reason":"too many"}`).want(200)
	clerk.send("GET", "/api/v1/consents?subject_id="+thandi.id, "",
		"Min-Event-Position", paper.header.Get("Event-Position")).want(200)

	history := officer.send("GET", "/api/v1/compliance/subjects/"+thandi.id+"/history", "").want(200).items()
	if len(history) != 3 {
		t.Fatalf("%d events, want 3: %v", len(history), history)
	}

	form := history[1]
	for field, want := range map[string]any{
		"event_type": "consent.granted.v1", "purpose": "newsletter", "purpose_description": "Iphephandaba.",
		"language": "zu", "channel": "paper", "consent_id": paper.text("id"), "personal": "open",
		"actor": clerk.id, "actor_role": "field_worker", "recorded_by": "staff", "given_by": "self",
		"evidence_reference": "box 4, form 17", "evidence_sha256": strings.Repeat("ab", 32),
		"notice_version": 1.0, "sha256": domain.WordingHash("Iphephandaba."),
		"reason": nil, "competent_person": nil,
	} {
		if form[field] != want {
			t.Errorf("%s is %v, want %v", field, form[field], want)
		}
	}

	if gone := history[2]; gone["event_type"] != "consent.withdrawn.v1" || gone["reason"] != "too many" ||
		gone["actor"] != thandi.id || gone["notice_version"] != nil {
		t.Errorf("withdrawn: %v", gone)
	}

	state := func(query string) map[string]any {
		t.Helper()
		for _, item := range officer.send("GET", "/api/v1/compliance/consents?"+query, "").want(200).items() {
			if item["id"] == paper.text("id") {
				return item
			}
		}
		return nil
	}
	then := time.Now().Add(-48 * time.Hour).UTC().Format(time.RFC3339)
	if c := state("as_of=" + then); c == nil || c["withdrawn"] != false || c["recorded_by"] != clerk.id {
		t.Errorf("two days ago, as known today: %v", c)
	}
	if c := state("as_of=" + then + "&known_at=" + then); c != nil {
		t.Errorf("two days ago, as known then: %v", c)
	}
	if c := state("purpose=Newsletter"); c == nil || c["withdrawn"] != true {
		t.Errorf("now: %v", c)
	}

	var routes []string
	for _, r := range officer.reads("subject_id=" + thandi.id + "&from=" + given) {
		routes = append(routes, fmt.Sprint(r["actor"], " ", r["route"], " ", r["matched"]))
	}

	// The export as known two days ago, before the form was recorded, is not among them.
	want := []string{
		officer.id + " GET /api/v1/compliance/consents filter",
		officer.id + " GET /api/v1/compliance/consents filter",
		officer.id + " GET /api/v1/compliance/subjects/{id}/history subject",
		clerk.id + " GET /api/v1/consents subject",
	}
	if !slices.Equal(routes, want) {
		t.Errorf("reads: %q", routes)
	}

	by := officer.reads("actor_id=" + clerk.id)
	if len(by) != 1 || by[0]["subjects"].([]any)[0] != thandi.id || by[0]["matched"] != nil {
		t.Errorf("the clerk saw %v", by)
	}
	if none := officer.reads("subject_id=" + thandi.id + "&to=" + given); len(none) != 0 {
		t.Errorf("before anything happened: %v", none)
	}
	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

func TestAnOfficerSeesNothingOfOtherMunicipalities(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	thandi := w.citizen("thandi@example.org")

	stranger, admin := w.staff(domain.Manager, "CPT"), w.staff(domain.Admin, "CPT")
	there := stranger.send("GET", "/api/v1/compliance/subjects/"+thandi.id+"/history", "").
		wantProblem(404, domain.CodeNotFound)
	absent := stranger.send("GET", "/api/v1/compliance/subjects/"+uuid.NewString()+"/history", "").
		wantProblem(404, domain.CodeNotFound)

	if there.raw != absent.raw {
		t.Errorf("%s differs from %s", there.raw, absent.raw)
	}
	if n := len(stranger.send("GET", "/api/v1/compliance/consents", "").want(200).items()); n != 0 {
		t.Errorf("%d consents of another municipality", n)
	}

	stranger.send("GET", "/api/v1/compliance/exposure?subject_id="+thandi.id, "").wantProblem(404, domain.CodeNotFound)
	stranger.send("GET", "/api/v1/compliance/exposure?actor_id="+thandi.id, "").wantProblem(404, domain.CodeNotFound)
	stranger.send("GET", "/api/v1/compliance/exposure", "").wantProblem(422, domain.CodeInvalid)
	stranger.send("GET", "/api/v1/compliance/exposure?actor_id="+stranger.id+"&subject_id="+stranger.id, "").
		wantProblem(422, domain.CodeInvalid)

	for _, p := range []*person{stranger, admin} {
		for _, tenant := range []string{thandi.tenant, domain.PlatformTenant().String(), uuid.NewString()} {
			p.send("GET", "/api/v1/audit-logs?tenant_id="+tenant, "").wantProblem(403, domain.CodeForbidden)
		}
		for _, e := range p.send("GET", "/api/v1/audit-logs?tenant_id="+p.tenant, "").want(200).items() {
			if e["tenant_id"] != p.tenant {
				t.Errorf("another tenant's event: %v", e)
			}
		}
	}

	for _, e := range stranger.send("GET", "/api/v1/audit-logs?record_id="+thandi.id, "").want(200).items() {
		t.Errorf("another tenant's event: %v", e)
	}
}

func TestAnExportIsTheSameAgain(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")

	officer := w.staff(domain.Manager, "KZN225")
	for i := range 3 {
		p := w.citizen(fmt.Sprintf("p%d@example.org", i))
		p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":true}`).want(201)
	}
	get := func(query string) *answer {
		return officer.send("GET", "/api/v1/compliance/consents?"+query, "").want(200)
	}

	for _, format := range []string{"json", "csv", "ndjson"} {
		first := get("format=" + format)
		// The first export is recorded in the log, which does not change the second.
		if again := get("format=" + format); again.raw != first.raw {
			t.Errorf("%s: the first export is\n%s\nand the second\n%s", format, first.raw, again.raw)
		}

		at := first.header.Get("Event-Position")
		w.citizen(format+"@example.org").send("POST", "/api/v1/consents",
			`{"purpose":"newsletter","language":"zu","consented":false}`).want(201)
		if again := get("format=" + format + "&position=" + at); again.raw != first.raw ||
			again.header.Get("Event-Position") != at {
			t.Errorf("%s: the same position returns\n%s\nand not\n%s", format, again.raw, first.raw)
		}

		if now := get("format=" + format); now.raw == first.raw {
			t.Errorf("%s: a new consent does not show", format)
		}
	}

	whole := get("")
	items := whole.items()
	if len(items) != 12 || whole.json["count"] != 12.0 ||
		whole.header.Get("Event-Position") != fmt.Sprint(whole.json["position"]) || whole.text("as_of") == "" {
		t.Errorf("complete: %d items, count %v, position %v", len(items), whole.json["count"], whole.json["position"])
	}

	if n := len(get("purpose=newsletter").items()); n != 6 {
		t.Errorf("%d of one purpose, want 6", n)
	}

	position := whole.header.Get("Event-Position")
	lines := strings.Split(strings.TrimSpace(get("format=ndjson&position="+position).raw), "\n")
	last := fmt.Sprintf(`{"end":true,"count":12,"position":%s,"as_of":%q}`, position, whole.text("as_of"))
	if lines[12] != last {
		t.Errorf("the last line is %s, want %s", lines[12], last)
	}

	table := get("format=csv&position=" + position)
	if !strings.HasPrefix(table.header.Get("Content-Type"), "text/csv") ||
		!strings.Contains(table.header.Get("Content-Disposition"), ".csv") {
		t.Errorf("headers %v", table.header)
	}
	if strings.Count(table.raw, "\n") != strings.Count(table.raw, "\r\n") {
		t.Error("a line does not end in CR LF")
	}

	header, rows, end := sheet(t, table.raw)
	if want := []string{"end", "12", position, whole.text("as_of")}; !slices.Equal(end, want) {
		t.Errorf("the last record is %q, want %q", end, want)
	}
	if header[0] != "municipality" || rows[0][0] != "KZN225" {
		t.Errorf("the municipality: %q %q", header[0], rows[0][0])
	}

	asked := get("format=csv&as_of=2026-01-01T02:00:00%2B02:00&position=" + position).raw
	if want := "\r\nend,0," + position + ",2026-01-01T00:00:00.000000Z\r\n"; !strings.HasSuffix(asked, want) {
		t.Errorf("as of an instant it ends in %q, want %q", asked, want)
	}

	// The three formats say the same.
	for i, item := range items {
		var line map[string]any
		must(t, json.Unmarshal([]byte(lines[i]), &line))
		for c, name := range header {
			if name == "municipality" {
				continue
			}
			if _, known := item[name]; !known || fmt.Sprint(line[name]) != fmt.Sprint(item[name]) {
				t.Errorf("row %d: %s is %v in json and %v in ndjson", i, name, item[name], line[name])
			}

			want := fmt.Sprint(item[name])
			if item[name] == nil {
				want = ""
			}
			if rows[i][c] != want {
				t.Errorf("row %d: %s is %q in csv and %q in json", i, name, rows[i][c], want)
			}
		}

		if len(header) != len(item)+1 {
			t.Errorf("%d columns, %d fields", len(header), len(item))
		}
	}

	for query, code := range map[string]domain.Code{
		"position=999999": domain.CodeUnknownPosition, "position=9223372036854775808": domain.CodeUnknownPosition,
		"position=0": domain.CodeInvalid, "position=x": domain.CodeInvalid, "format=xml": domain.CodeInvalid,
		"as_of=yesterday": domain.CodeInvalid, "position=1&known_at=2026-01-01T00:00:00Z": domain.CodeInvalid,
		"purpose=newsleter": domain.CodeUnknownPurpose,
	} {
		officer.send("GET", "/api/v1/compliance/consents?"+query, "").wantProblem(422, code)
	}
}

// sheet reads CSV as a spreadsheet does: the header, the records, and the last record,
// which counts them.
func sheet(t *testing.T, raw string) (header []string, records [][]string, end []string) {
	t.Helper()
	raw, marked := strings.CutPrefix(raw, "\ufeff")
	if !marked || !strings.HasSuffix(raw, "\r\n") {
		t.Errorf("no byte order mark, or no line break at the end: %q", raw)
	}

	reader := csv.NewReader(strings.NewReader(raw))
	reader.FieldsPerRecord = -1
	all, err := reader.ReadAll()
	must(t, err)

	last := len(all) - 1
	if end = all[last]; end[0] != "end" || len(end) != 4 || end[1] != fmt.Sprint(last-1) {
		t.Errorf("the last of %d records is %q", last, end)
	}
	return all[0], all[1:last], end
}

// A municipality's own words may begin as a formula does.
func TestACellIsNeverAFormula(t *testing.T) {
	t.Parallel()
	for _, cell := range []struct{ text, want string }{
		{`=HYPERLINK("http://x.invalid";"y")`, "'"},
		{"+1+1", "'"},
		{"-2", "'"},
		{"@SUM(1)", "'"},
		{"\t=1", "'"},
		{"\r=1", "'"},
		{"\n=1", "'"},
		{"＝1+1", "'"},
		{"plain, with \"quotes\"\nand lines", ""},
		// Quotes keep it one cell where a spreadsheet parts cells at semicolons.
		{"first;=1+1", ""},
		{"waarin u nie geïdentifiseer kan word nie", ""},
		{"Ṱhilivhali Ḽiṋ Ṅwana", ""},
	} {
		var out strings.Builder
		x, err := apphttp.NewConsentExport(&out, apphttp.ConsentDocument{
			Format: apphttp.CSV, Municipality: "CPT", Position: 7, People: true,
		})
		must(t, err)
		decided := domain.Decided{Consent: domain.Consent{Wording: cell.text}}
		must(t, x.Write(decided, apphttp.Revealed{FullName: cell.text}))
		must(t, x.Close())

		header, rows, _ := sheet(t, out.String())
		for column, got := range map[string]string{
			"purpose_description": rows[0][slices.Index(header, "purpose_description")],
			"full_name":           rows[0][slices.Index(header, "full_name")],
		} {
			if got != cell.want+cell.text {
				t.Errorf("%s: %q became %q", column, cell.text, got)
			}
		}
		quoted := `"` + cell.want + strings.ReplaceAll(cell.text, `"`, `""`) + `"`
		if strings.Count(out.String(), quoted) != 2 {
			t.Errorf("%q is not quoted: %s", cell.text, out.String())
		}
	}
}

// Over a real connection, an export that fails after its first byte is cut off, and one
// that fails before is a problem.
func TestAnExportThatFailsIsNotTakenForACompleteOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	officer := w.staff(domain.Manager, "KZN225")
	officer.grantMany()

	server := httptest.NewServer(w.api)
	t.Cleanup(server.Close)

	get := func(format string) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), "GET",
			server.URL+"/api/v1/compliance/consents?format="+format, http.NoBody)
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+officer.access)
		a, err := server.Client().Do(r)
		must(t, err)
		defer func() { _ = a.Body.Close() }()
		_, err = io.Copy(io.Discard, bufio.NewReader(a.Body))
		return a.StatusCode, err
	}

	for _, format := range []string{"json", "csv", "ndjson"} {
		left := 350
		w.reports.before(func() error {
			if left--; left < 0 {
				return errors.New("deliberate")
			}
			return nil
		})
		if status, err := get(format); status != 200 || err == nil {
			t.Errorf("%s: status %d, %v: a client takes it for complete", format, status, err)
		}

		left = 0
		if status, err := get(format); status != 500 || err != nil {
			t.Errorf("%s: status %d, %v, want a problem", format, status, err)
		}

		w.reports.before(nil)
		if status, err := get(format); status != 200 || err != nil {
			t.Errorf("%s: status %d, %v, want all of it", format, status, err)
		}
	}
}

// grantMany grants 400 consents, whose export is larger than the server's
// buffer.
func (p *person) grantMany() {
	p.w.t.Helper()
	for i := range 400 {
		p.w.define(p.w.tenants["KZN225"], fmt.Sprintf("purpose_%d", i))
		p.send("POST", "/api/v1/consents",
			fmt.Sprintf(`{"purpose":"purpose_%d","language":"en","consented":true}`, i)).want(201)
		p.w.later(2 * time.Second)
	}
}

// exchange sends a GET request in a version of HTTP over a socket of its own, and reads
// until the answer or the connection ends.
func (w *world) exchange(version, path, token string) (string, error) {
	w.t.Helper()
	conn := dialAPI(w.t, w.api)
	_, err := fmt.Fprintf(conn, "GET %s HTTP/%s\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n",
		path, version, token)
	must(w.t, err)

	raw, err := io.ReadAll(conn)
	return string(raw), err
}

// A client of HTTP/1.0, such as nginx by default when it is a proxy, takes the end of the
// connection for the end of the answer.
func TestACutExportDoesNotLookCompleteToAnyHop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	officer := w.staff(domain.Manager, "KZN225")
	officer.grantMany()

	ends := map[string]string{"json": `],"count":400}`, "csv": "\r\nend,400,", "ndjson": `{"end":true,"count":400,`}
	for format, end := range ends {
		for _, version := range []string{"1.0", "1.1"} {
			for why, failure := range map[string]func() error{
				"an error": func() error { return errors.New("deliberate") },
				"a panic":  func() error { panic("deliberate") },
			} {
				left := 350
				w.reports.before(func() error {
					if left--; left < 0 {
						return failure()
					}
					return nil
				})

				raw, err := w.exchange(version, "/api/v1/compliance/consents?format="+format, officer.access)
				if !errors.Is(err, syscall.ECONNRESET) || strings.Contains(raw, end) ||
					!strings.Contains(raw, " 200 OK\r\n") {
					t.Errorf("%s over HTTP/%s, cut by %s: %d bytes, %v", format, version, why, len(raw), err)
				}
			}

			w.reports.before(nil)
			raw, err := w.exchange(version, "/api/v1/compliance/consents?format="+format, officer.access)
			if err != nil || !strings.Contains(raw, end) {
				t.Errorf("%s over HTTP/%s, complete: %d bytes, %v", format, version, len(raw), err)
			}
		}
	}
}

func TestOnlySomeExportsRunAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	officer := w.staff(domain.Manager, "KZN225")

	w.citizen("thandi@example.org")

	running, end := make(chan struct{}), make(chan struct{})
	w.reports.before(func() error {
		running <- struct{}{}
		<-end
		return nil
	})

	ended := make(chan int)
	for range 4 {
		go func() { ended <- officer.send("GET", "/api/v1/compliance/consents", "").status }()
		<-running
	}

	a := officer.send("GET", "/api/v1/compliance/consents?format=csv", "").wantProblem(503, domain.CodeOverloaded)
	if a.header.Get("Event-Position") != "" || a.header.Get("Content-Disposition") != "" {
		t.Errorf("headers of a success: %v", a.header)
	}

	looked := 0
	for _, e := range w.store.events() {
		if _, is := e.Event.(*domain.PersonalDataRead); is {
			looked++
		}
	}
	if looked != 4 {
		t.Errorf("%d reads are recorded, want those of the 4 that run: a refused export shows nobody", looked)
	}

	close(end)
	for range 4 {
		if status := <-ended; status != 200 {
			t.Errorf("status %d", status)
		}
	}

	go func() { <-running }()
	officer.send("GET", "/api/v1/compliance/consents", "").want(200)
}

// Somebody who registered a minute ago was once told of reads from before.
func TestNobodyIsToldOfLooksThatCannotHaveCoveredThem(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	w.define(domain.PlatformTenant(), "library")

	officer := w.staff(domain.Manager, "KZN225")

	early := w.citizen("early@example.org")

	before := officer.send("GET", "/api/v1/compliance/consents", "").want(200).header.Get("Event-Position")
	officer.send("GET", "/api/v1/users", "", "Min-Event-Position", w.head()).want(200)
	officer.send("GET", "/api/v1/audit-logs", "").want(200)
	instant := time.Now().UTC().Format(time.RFC3339Nano)

	thandi := w.citizen("thandi@example.org")
	thandi.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":true}`).want(201)
	told := func(p *person) (routes []string) {
		t.Helper()
		mine := p.send("GET", "/api/v1/data-rights/my-data", "").want(200)
		for _, look := range mine.json["reads"].([]any) {
			routes = append(routes, fmt.Sprint(look.(map[string]any)["route"]))
		}

		if recipients := mine.json["recipients"].([]any); len(recipients) != min(len(routes), 1) {
			t.Errorf("recipients %v, of %d reads", recipients, len(routes))
		}

		if exposed := len(officer.reads("subject_id=" + p.id)); exposed != len(routes) {
			t.Errorf("the exposure tells of %d reads, the person is told of %q", exposed, routes)
		}

		return routes
	}
	if routes := told(thandi); len(routes) != 0 {
		t.Errorf("told of reads from before she registered: %q", routes)
	}

	for _, query := range []string{
		"position=" + before, "purpose=library", "as_of=" + instant, "known_at=" + instant,
		"as_of=" + instant + "&format=csv", "status=refused", "language=en", "channel=paper", "notice_version=2",
		"given_to=" + instant, "subject_id=" + early.id,
	} {
		officer.send("GET", "/api/v1/compliance/consents?"+query, "").want(200)
	}
	if routes := told(thandi); len(routes) != 0 {
		t.Errorf("told of exports that lack her: %q", routes)
	}

	officer.send("GET", "/api/v1/compliance/consents?purpose=newsletter", "").want(200)
	officer.send("GET", "/api/v1/compliance/consents", "").want(200)
	if routes := told(thandi); len(routes) != 2 {
		t.Errorf("told of %q, want both exports that she is in", routes)
	}
	if routes := told(early); len(routes) < 4 {
		t.Errorf("somebody registered all along is told of %q", routes)
	}

	thandi.erase()
	if exposed := officer.reads("subject_id=" + thandi.id); len(exposed) != 2 {
		t.Errorf("after her erasure the exposure tells of %v", exposed)
	}
}
