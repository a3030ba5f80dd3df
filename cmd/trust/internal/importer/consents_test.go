package importer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

func TestWhenADecisionWasGiven(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2019-03-01":                       "2019-02-28T22:00:00Z day",
		"2019-03-01T14:30":                 "2019-03-01T12:30:00Z",
		"2019-03-01 14:30:15":              "2019-03-01T12:30:15Z",
		"2019-03-01T14:30:15Z":             "2019-03-01T14:30:15Z",
		"2019-03-01T14:30:15-05:00":        "2019-03-01T19:30:15Z",
		"2019-03-01 14:30:15.123456+00":    "2019-03-01T14:30:15.123456Z",
		"2019-03-01 14:30:15.123456+02:00": "2019-03-01T12:30:15.123456Z",

		"": "", "03/04/2019": "", "1.3.2019": "", "2019-02-30": "", "2019-3-1": "", "43525": "", "2019-03-01T": "",
		"2019-03-01T25:00": "", "yesterday": "", "2019-03-01T14:30 SAST": "",
	} {
		at, dayOnly := givenAt(text)
		got := ""
		if !at.IsZero() {
			got = at.UTC().Format("2006-01-02T15:04:05.999999Z07:00")
		}
		if dayOnly {
			got += " day"
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestAFileOfConsentsIsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"no person":       {"purpose,decision,given_at\n", "no column says who decided"},
		"no date":         {"email,purpose,decision\n", "the column given_at is missing"},
		"semicolons":      {"email;purpose;decision;given_at\n", "separated by semicolons"},
		"a misspelling":   {"email,purpose,decision,given_at,lanugage\n", "column 5 has a name that is not known"},
		"an empty column": {"email,purpose,decision,given_at,\n", "column 5 has a name that is not known"},
	} {
		path := filepath.Join(t.TempDir(), "claims.csv")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenConsents(path); err == nil || !strings.Contains(err.Error(), c.want) ||
			strings.Contains(err.Error(), "lanugage") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenConsents(t.TempDir()); err == nil {
		t.Error("a folder is read")
	}
}

func TestARowOfClaimsIsUnderstoodWithAllItsFaults(t *testing.T) {
	t.Parallel()
	c := &Consents{File: &ConsentFile{SHA256: domain.WordingHash("file")}, Source: "a list", Municipality: "jhb"}
	row := func(fields ...string) Row {
		r := Row{Line: 7, Fields: map[string]string{}}
		for i := 0; i < len(fields); i += 2 {
			r.Fields[fields[i]] = fields[i+1]
		}
		return r
	}

	got, err := c.claimOf(row("municipality", "JHB", "email", " Ayanda@Example.org ", "phone", "082 123 4567",
		"external_id", "METER: 0412-3456", "purpose", "SMS_alert", "decision", "Granted", "given_at", "2019-03-01",
		"channel", "Paper", "language", "ZU", "evidence_grade", "documented", "evidence_reference", "box 4",
		"evidence_sha256", strings.Repeat("AB", 32), "notice_version", "1"))
	if err != nil {
		t.Fatal(err)
	}
	who := identity{
		external: domain.ExternalID{Type: domain.Meter, Value: "04123456"}, email: "ayanda@example.org",
		phone: "+27821234567",
	}
	if diff := cmp.Diff(who, got.who, cmp.AllowUnexported(identity{})); diff != "" {
		t.Errorf("who:\n%s", diff)
	}
	if w := got.what; w.Decided != domain.OutcomeGranted || !w.DayOnly || w.Channel != domain.Paper ||
		w.Language != domain.Zulu || w.Grade != domain.GradeDocumented ||
		w.Evidence.SHA256 != strings.Repeat("ab", 32) || w.Line != 7 ||
		w.FileSHA256 != c.File.SHA256 || w.NoticeVersion != 1 {
		t.Errorf("what: %+v", w)
	}

	_, err = c.claimOf(row("subject_id", "me", "email", "nobody", "phone", "12", "external_id", "water:1",
		"decision", "maybe", "given_at", "1.3.2019", "notice_version", "one"))
	refusal, _ := errors.AsType[*domain.Error](err)
	if refusal == nil {
		t.Fatal(err)
	}
	var fields []string
	for _, f := range refusal.Fields {
		fields = append(fields, f.Field)
	}
	want := []string{
		"subject_id", "external_id.type", "email", "phone", "purpose", "decision", "given_at", "notice_version",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Error(diff)
	}

	_, err = c.claimOf(row("municipality", "CPT", "email", "a@example.org"))
	if broken, is := errors.AsType[*fault](err); !is || broken.code != codeOtherMunicipality {
		t.Errorf("another municipality: %v", err)
	}
}

// people is the part of a log that says who somebody is.
type people struct {
	commands.Store
	of map[domain.UserID][]domain.Recorded
}

func (p people) LoadPersonal(
	_ context.Context, _ domain.TenantID, streams ...domain.Stream,
) ([]domain.Recorded, error) {
	return p.of[domain.UserID{UUID: streams[0].ID}], nil
}

// An officer merges two records while a list is imported, and the read table, which
// people are found in by phone, does not show it yet.
func TestARowByPhoneIsOfWhoGoesOnWhileRecordsAreMerged(t *testing.T) {
	t.Parallel()
	from, into := domain.UserID{UUID: uuid.New()}, domain.UserID{UUID: uuid.New()}
	log := people{of: map[domain.UserID][]domain.Recorded{}}
	named := map[domain.UserID]string{from: "N. Dlamini", into: "Nomsa Dlamini"}
	for id, name := range named {
		log.of[id] = []domain.Recorded{
			{Stream: domain.UserOf(id), Version: 1, Event: &domain.ResidentRecorded{
				Person: domain.Known(domain.ResidentFacts{FullName: name, Phone: "+27825550101"}),
			}},
			{Stream: domain.UserOf(id), Version: 2, Event: &domain.ResidentMerged{From: from, Into: into}},
		}
	}

	table := []domain.UserID{from, into}
	c := &Consents{Handler: commands.New(log, commands.Config{}), People: func(
		context.Context, domain.TenantID, string, string,
	) (found []domain.User, err error) {
		for _, id := range table {
			found = append(found, domain.User{ID: id, FullName: named[id]})
		}
		return found, nil
	}}
	for _, name := range []string{"", "N. Dlamini", "Nomsa Dlamini"} {
		row := &turn{}
		row.who.phone, row.who.name = "+27825550101", name
		table = []domain.UserID{from, into}
		if got, err := c.person(t.Context(), domain.TenantID{}, row); err != nil || got != into {
			t.Errorf("a row of %q is of %s, %v", name, got, err)
		}
		table = []domain.UserID{from} // a command about it goes on to the other record
		if got, err := c.person(t.Context(), domain.TenantID{}, row); err != nil || got != from {
			t.Errorf("a row of %q is of %s, %v, if only one is found", name, got, err)
		}
	}

	row := &turn{}
	row.who.phone, row.who.name = "+27825550101", "Sipho Dlamini"
	got, err := c.person(t.Context(), domain.TenantID{}, row)
	if broken, is := errors.AsType[*fault](err); !is || broken.code != codeAmbiguousPerson {
		t.Errorf("a row of somebody else with this phone is of %s, %v", got, err)
	}
}
