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
	if withdrawn["withdrawn"] != true || withdrawn["evidence_grade"] != "claimed" || withdrawn["notice_version"] != nil {
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
