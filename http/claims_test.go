package http_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// claims imports what a list says about somebody and the newsletter, ten days ago.
func (w *world) claims(p *person, change func(*commands.ClaimConsent)) {
	w.t.Helper()
	c := commands.ClaimConsent{
		Purpose: "newsletter", Decided: domain.OutcomeGranted, GivenAt: time.Now().Add(-240 * time.Hour),
		Grade: domain.GradeClaimed, Source: "an old list", FileSHA256: domain.WordingHash("list"), Line: 12,
	}
	c.Subject.UUID = uuid.MustParse(p.id)
	change(&c)
	if _, err := w.handler.ClaimConsent(w.t.Context(), commands.System(w.tenants["KZN225"]), c); err != nil {
		w.t.Fatal(err)
	}
}

func TestEveryAnswerThatRestsOnAClaimNamesItsGrade(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter", func(d *domain.DefinePurpose) { d.InUseSince = &time.Time{} })
	thandi, officer := w.citizen("thandi@example.org"), w.staff(domain.Manager, "KZN225")
	w.claims(thandi, func(c *commands.ClaimConsent) {
		c.Grade, c.DayOnly = domain.GradeDocumented, true
		c.Evidence = &domain.Evidence{SHA256: strings.Repeat("ab", 32), Reference: "box 4, form 17"}
	})

	check := thandi.send("GET", "/api/v1/consents/check?purpose=newsletter", "").want(200).json
	if check["allowed"] != true || check["reason"] != "granted" || check["evidence_grade"] != "documented" ||
		check["decided_by"].(map[string]any)["event_type"] != "consent.claimed.v1" {
		t.Errorf("the check: %v", check)
	}
	own := thandi.send("GET", "/api/v1/consents/check?purpose=platform_registration", "").want(200).json
	if own["evidence_grade"] != nil {
		t.Errorf("a consent given here: %v", own)
	}

	position := fmt.Sprint(int64(check["position"].(float64)))
	list := thandi.send("GET", "/api/v1/consents", "", "Min-Event-Position", position).want(200).items()
	one := thandi.send("GET", "/api/v1/consents/"+list[0]["id"].(string), "").want(200).json
	export := officer.send("GET", "/api/v1/compliance/consents?purpose=newsletter", "").want(200).items()
	dossier := thandi.send("GET", "/api/v1/data-rights/my-data", "").want(200)
	mine := dossier.json["consents"].([]any)
	for where, c := range map[string]map[string]any{
		"list": list[0], "one": one, "export": export[0], "dossier": mine[0].(map[string]any),
	} {
		for field, want := range map[string]any{
			"evidence_grade": "documented", "source": "an old list", "consented": true, "notice_version": nil,
			"purpose_description": nil, "sha256": nil, "language": nil, "channel": nil, "recorded_by": nil,
		} {
			if c[field] != want {
				t.Errorf("%s: %s is %v, want %v", where, field, c[field], want)
			}
		}
	}

	history := officer.send("GET", "/api/v1/compliance/subjects/"+thandi.id+"/history", "").want(200).items()
	last := history[len(history)-1]
	claim, _ := last["claim"].(map[string]any)
	if last["evidence_grade"] != "documented" || last["event_type"] != "consent.claimed.v1" ||
		claim["source"] != "an old list" || claim["line"] != 12.0 || claim["decided"] != "granted" ||
		claim["day_only"] != true || last["evidence_reference"] != "box 4, form 17" {
		t.Errorf("the history: %v", last)
	}
	if first := history[0]; first["evidence_grade"] != nil || first["claim"] != nil {
		t.Errorf("the history of what was given here: %v", first)
	}

	audit := officer.send("GET", "/api/v1/audit-logs?table_name=consents&limit=1", "").want(200).items()
	changes := audit[0]["changes"].(map[string]any)
	if audit[0]["event_type"] != "consent.claimed.v1" || changes["evidence_grade"] == nil || changes["source"] == nil {
		t.Errorf("the audit: %v", audit[0])
	}

	page := thandi.send("GET", "/api/v1/data-rights/my-data/page?lang=en", "").want(200).raw
	for _, said := range []string{"claimed by another source", "A document or recording of it is kept", "an old list"} {
		if !strings.Contains(page, said) {
			t.Errorf("the page does not say %q", said)
		}
	}
}

func TestAClaimIsWithdrawnRefusedAndReplacedAsADecision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter", func(d *domain.DefinePurpose) { d.InUseSince = &time.Time{} })
	w.define(domain.PlatformTenant(), "research")
	thandi := w.citizen("thandi@example.org")
	given := w.clock().Add(-240 * time.Hour)
	w.claims(thandi, func(c *commands.ClaimConsent) { c.GivenAt = given })
	w.claims(thandi, func(c *commands.ClaimConsent) { c.GivenAt, c.Purpose = given, "research" })

	const no = `{"purpose":"newsletter","language":"en","consented":false}`
	claim := thandi.send("POST", "/api/v1/consents", no).wantProblem(409, domain.CodeInForce).text("consent_id")
	withdrawn := thandi.send("POST", "/api/v1/consents/"+claim+"/withdraw", "").want(200).json
	if withdrawn["withdrawn"] != true || withdrawn["evidence_grade"] != "claimed" ||
		withdrawn["notice_version"] != nil {
		t.Errorf("withdrawn: %v", withdrawn)
	}

	const yes = `{"purpose":"research","language":"en","consented":true}`
	granted := thandi.send("POST", "/api/v1/consents", yes).want(201).json
	if granted["evidence_grade"] != nil || granted["notice_version"] != 1.0 {
		t.Errorf("granted: %v", granted)
	}
	thandi.send("POST", "/api/v1/consents", yes).wantProblem(409, domain.CodeAlreadyGranted)
	check := thandi.send("GET", "/api/v1/consents/check?purpose=research", "").want(200).json
	if check["allowed"] != true || check["evidence_grade"] != nil {
		t.Errorf("the check: %v", check)
	}
}

// A claim is checked, searched and counted as a decision is, and the answers say so.
func TestClaimsAreCheckedSearchedAndCountedWithDecisions(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter", func(d *domain.DefinePurpose) { d.InUseSince = &time.Time{} })
	clerk, officer := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")
	thandi, sipho, anna := w.citizen("t@example.org"), w.citizen("s@example.org"), w.citizen("a@example.org")
	w.claims(thandi, func(c *commands.ClaimConsent) { c.Grade = domain.GradeClaimed })
	w.claims(sipho, func(c *commands.ClaimConsent) { c.Decided = domain.OutcomeWithdrawn })
	anna.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"af","consented":true}`).want(201)

	checks := clerk.send("POST", "/api/v1/consents/check", fmt.Sprintf(
		`{"purpose":"newsletter","subject_ids":[%q,%q,%q]}`, thandi.id, sipho.id, anna.id)).want(200).items()
	for i, want := range []map[string]any{
		{"allowed": true, "reason": "granted", "evidence_grade": "claimed"},
		{"allowed": false, "reason": "withdrawn", "evidence_grade": "claimed"},
		{"allowed": true, "reason": "granted", "evidence_grade": nil},
	} {
		for field, value := range want {
			if checks[i][field] != value {
				t.Errorf("check %d: %s is %v, want %v", i, field, checks[i][field], value)
			}
		}
	}

	const of = "?purpose=newsletter"
	export := officer.send("GET", consentsReport+of, "", "Min-Event-Position", w.head()).want(200).items()
	exported := map[string]float64{}
	for _, c := range export {
		exported[fmt.Sprint(c["status"], c["notice_version"], c["language"])]++
		if c["in_force"] != (c["status"] == "granted") {
			t.Errorf("in force: %v", c)
		}
	}
	counted := map[string]float64{}
	for _, c := range officer.send("GET", summaryReport+of+"&by=status,notice_version,language", "").want(200).items() {
		counted[fmt.Sprint(c["status"], c["notice_version"], c["language"])] += c["count"].(float64)
	}
	if len(exported) != 3 || fmt.Sprint(exported) != fmt.Sprint(counted) {
		t.Errorf("the export has %v, and the counts are %v", exported, counted)
	}
	for query, want := range map[string]string{
		"&status=withdrawn": sipho.id, "&notice_version=1": anna.id, "&language=af": anna.id,
		"&status=granted&given_to=" + days(-5): thandi.id,
	} {
		found := officer.send("GET", consentsReport+of+query, "").want(200).items()
		if len(found) != 1 || found[0]["subject_id"] != want {
			t.Errorf("%s finds %v", query, found)
		}
	}

	impact := officer.send("GET", "/api/v1/compliance/purposes/newsletter/impact", "", "Min-Event-Position", w.head()).
		want(200)
	grades := map[any]any{}
	for _, item := range impact.items() {
		grades[item["subject_id"]] = fmt.Sprint(item["evidence_grade"], item["notice_version"])
	}
	if impact.json["count"] != 2.0 || grades[thandi.id] != "claimed<nil>" || grades[anna.id] != "<nil> 1" {
		t.Errorf("the impact: %s", impact.raw)
	}
}

// days is the instant some days from now, as a query has it.
func days(n int) string { return time.Now().AddDate(0, 0, n).UTC().Format(time.RFC3339) }

// What was imported stays imported, whichever of two records of one person a row leads
// to.
func TestAnImportIsRepeatedAfterTwoRecordsWereMerged(t *testing.T) {
	t.Parallel()
	w, clerk, officer, _ := mergeWorld(t)
	given := time.Now().Add(-time.Hour)
	record := func(phone, meter string) *person {
		return &person{w: w, id: clerk.walkIn("Thandi Dlamini", phone, meter).want(201).text("id")}
	}
	from, into := record("0821234567", "7"), record("0831234567", "8")
	says := func(p *person, line int) {
		t.Helper()
		w.claims(p, func(c *commands.ClaimConsent) {
			c.GivenAt, c.Purpose, c.Line = given.Add(time.Duration(line)*time.Minute), "library", line
		})
	}
	says(from, 1)
	says(into, 2)

	officer.send("POST", residentsPath+"/"+from.id+"/merge", fmt.Sprintf(`{"into":%q}`, into.id)).want(200)
	before := w.head()
	for _, p := range []*person{from, into} {
		says(p, 1)
		says(p, 2)
	}
	if after := w.head(); after != before {
		t.Errorf("imported again, the log goes on from %s to %s", before, after)
	}

	// What is new of the record that was merged away is about the one that goes on.
	says(from, 3)
	check := clerk.send("GET", "/api/v1/consents/check?purpose=library&subject_id="+into.id, "").want(200).json
	if check["allowed"] != true || check["evidence_grade"] != "claimed" ||
		check["decided_by"].(map[string]any)["position"] == nil {
		t.Errorf("the check: %v", check)
	}
	list := clerk.send("GET", "/api/v1/consents?subject_id="+into.id, "", "Min-Event-Position", w.head()).
		want(200).items()
	if len(list) != 3 {
		t.Errorf("%d decisions, want 3: %v", len(list), list)
	}

	officer.send("POST", residentsPath+"/"+from.id+"/unmerge", "").want(200)
	before = w.head()
	says(from, 1)
	if after := w.head(); after != before {
		t.Errorf("imported again after they were parted, the log goes on from %s to %s", before, after)
	}
}
