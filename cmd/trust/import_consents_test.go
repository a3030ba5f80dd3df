package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

// legacySite is a system with two municipalities, their purposes and 60 made-up people,
// and projectors that follow.
func legacySite(t *testing.T) *site {
	t.Helper()
	s, _ := onDatabase(t)
	s.run("import", "municipalities", absolute(t, "data/municipalities.csv")).expect(t, exit.CodeDone, "257 registered")
	s.run("import", "purposes", absolute(t, "data/purposes.csv")).expect(t, exit.CodeDone, "20 defined")
	s.run("seed", "--people", "60", "--seed", "4").expect(t, exit.CodeDone, "60 people")
	s.start("project", "all")
	pgtest.Eventually(t, "the read tables have caught up", s.caughtUp)
	return s
}

// somebody is a made-up person: their address, and whether there are decisions of theirs
// about newsletters.
type somebody struct {
	Email, ID, Phone string
	Decided          bool
}

// people lists the residents of Johannesburg, in one order.
func (s *site) people() (all []somebody) {
	s.t.Helper()
	rows, err := connect(s.t, s).Query(s.t.Context(), `
		select u.email, u.id::text, u.phone, exists (
			select from trust.events e where e.subject_id = u.id and e.payload ->> 'purpose' = 'newsletter')
		from trust.users_v1 u where u.municipality_code = 'JHB' and u.role = 'citizen' order by u.email`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()

	for rows.Next() {
		var one somebody
		if err := rows.Scan(&one.Email, &one.ID, &one.Phone, &one.Decided); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// undecided returns somebody who was never asked about newsletters.
func undecided(t *testing.T, all []somebody) somebody {
	t.Helper()
	i := slices.IndexFunc(all, func(p somebody) bool { return !p.Decided && p.Phone != "" })
	if i < 0 {
		t.Fatal("everybody has decided")
	}
	return all[i]
}

func TestImportConsents(t *testing.T) {
	t.Parallel()
	s := legacySite(t)
	all := s.people()
	one := undecided(t, all)
	head := "municipality,email,purpose,decision,given_at,channel,language,evidence_grade,evidence_sha256," +
		"evidence_reference\n"
	hash := strings.Repeat("ab", 32)
	file := s.file("list.csv", "\ufeff"+strings.ReplaceAll(head+strings.Join([]string{
		"jhb," + one.Email + ",NEWSLETTER,granted,2019-03-01,paper,en,documented," + hash + ",box 4", // 2: good
		"JHB," + one.Email + ",newsletter,granted,2019-03-01,paper,en,documented," + hash + ",box 4", // 3: again
		"JHB," + one.Email + ",newsletter,refused,2019-03-01,,,,,",                                   // 4: otherwise
		"JHB,nobody@example.org,newsletter,granted,2019-03-01,,,,,",                                  // 5: unknown
		"CPT," + one.Email + ",newsletter,granted,2019-03-01,,,,,",                                   // 6: elsewhere
		"JHB," + one.Email + ",account_billing,granted,2019-03-01,,,,,",                              // 7: no consent
		"JHB," + one.Email + ",child_programme,granted,2019-03-01,,,,,",                              // 8: no parent
		"JHB," + one.Email + ",newsletter,granted,2919-03-01,,,,,",                                   // 9: the future
		"JHB," + one.Email + ",newsletter,granted,1819-03-01,,,,,",                                   // 10: too early
		"JHB," + one.Email + ",newsletter,granted,03/01/2019,,,,,",                                   // 11: which day?
		"JHB," + one.Email + ",newsletter,granted,2019-03-01,,,witnessed,,",                          // 12: by whom?
		"JHB,\xff@example.org,newsletter,granted,2019-03-01,,,,,",                                    // 13: bytes
		"JHB," + one.Email + ",newsletter,granted",                                                   // 14: fields
		"JHB,\"" + one.Email + ",newsletter,granted,2019-03-01,,,,,",                                 // 15: a quote
		"XYZ9," + one.Email + ",newsletter,granted,2019-03-01,,,,,",                                  // 16: nowhere
		"JHB," + one.Email + ",sms_alrt,granted,2019-03-01,,,,,",                                     // 17: for nothing
		"JHB," + one.Email + ",newsletter,withdrawn,2020-05-01,,,,,",                                 // 18: good
	}, "\n"), "\n", "\r\n"))

	codes := map[int]string{
		3: "duplicate_row", 4: "claim_changed", 5: "unknown_person", 6: "unknown_person",
		7: "purpose_not_consent_based",
		8: "competent_person_required", 9: "given_at_in_future", 10: "validation_failed", 11: "validation_failed",
		12: "evidence_required", 13: "not_utf8", 14: "wrong_number_of_fields", 15: "unclosed_quote",
		16: "unknown_municipality", 17: "unknown_purpose",
	}
	report := filepath.Join(s.dir, "report.ndjson")
	args := []string{"import", "consents", file, "--source", "list of 2019", "--report", report}
	o := s.run(args...)
	o.expect(t, exit.CodeNotSo, "consents: 2 recorded as claims, 0 unchanged, 15 refused")
	for line, code := range codes {
		if !strings.Contains(o.stderr, fmt.Sprintf("line %d: %s: ", line, code)) {
			t.Errorf("line %d is not refused as %s", line, code)
		}
	}
	if strings.Contains(o.stdout+o.stderr, "@") {
		t.Errorf("it shows an address:\n%s%s", o.stdout, o.stderr)
	}
	checkReport(t, report, codes, `{"end":true,"recorded":2,"unchanged":0,"refused":15}`)

	head2 := s.status().Head
	s.run(args...).expect(t, exit.CodeNotSo, "consents: 0 recorded as claims, 2 unchanged, 15 refused")
	if again := s.status().Head; again != head2 {
		t.Errorf("repeated it appended %d events", again-head2)
	}

	pgtest.Eventually(t, "the read tables have caught up", s.caughtUp)
	s.run("verify").expect(t, exit.CodeDone, "events verified")
	replay := s.run("replay", "--tenant", "JHB", "--subject", one.ID, "--purpose", "newsletter", "--format", "ndjson",
		"--as-of", "2019-06-01T00:00:00Z")
	replay.expect(t, exit.CodeDone, `"evidence_grade":"documented","source":"list of 2019"`)
	replay.expect(t, exit.CodeDone, `"notice_version":null`)
	s.run("replay", "--tenant", "JHB", "--subject", one.ID, "--purpose", "newsletter").
		expect(t, exit.CodeDone, "documented: list of 2019")
}

// checkReport checks that a report names these lines, in order, and ends as it should.
func checkReport(t *testing.T, path string, codes map[int]string, end string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if lines[len(lines)-1] != end || len(lines) != len(codes)+1 {
		t.Errorf("the report has %d lines and ends with %s", len(lines), lines[len(lines)-1])
	}

	last := 0
	for _, line := range lines[:len(lines)-1] {
		var row struct {
			Line         int
			Code, Reason string
		}
		must(t, json.Unmarshal([]byte(line), &row))
		if row.Line <= last || row.Code != codes[row.Line] || row.Reason == "" {
			t.Errorf("the report says %s", line)
		}
		last = row.Line
	}
}

func TestConsentsAreImportedIntoWhicheverOrder(t *testing.T) {
	t.Parallel()
	s := legacySite(t)
	all := s.people()

	var rows []string
	for i, p := range all {
		for j, decision := range []string{"granted", "withdrawn", "granted", "refused"}[:1+i%4] {
			rows = append(rows, fmt.Sprintf("%s,research_statistics,%s,201%d-03-0%d", p.Email, decision, j, 1+i%9))
		}
	}
	const head = "email,purpose,decision,given_at\n"
	folds := func(name string) string {
		file := s.file(name+".csv", head+strings.Join(rows, "\n")+"\n")
		o := s.run("import", "consents", file, "--municipality", "JHB", "--source", name)
		if o.code == exit.CodeUnreachable || o.code == exit.CodeUsage {
			t.Fatal(o.stderr)
		}
		return o.stdout
	}

	first := folds("a list")
	chance := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // any order will do
	chance.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	rows = append(rows, rows[:3]...)
	again := folds("a list")
	if !strings.Contains(first, " 0 unchanged") || !strings.Contains(again, "consents: 0 recorded") {
		t.Errorf("first %s, then %s", first, again)
	}

	// Another system of the same people, in another order: what it imports folds alike.
	other := legacySite(t)
	file := other.file("list.csv", head+strings.Join(rows, "\n")+"\n")
	other.run("import", "consents", file, "--municipality", "JHB", "--source", "a list").
		expect(t, exit.CodeNotSo, "consents: ")
	if here, there := s.claims(), other.claims(); !slices.Equal(here, there) {
		t.Errorf("they differ:\n%s\n\n%s", strings.Join(here, "\n"), strings.Join(there, "\n"))
	}
}

// claims lists what the read table shows of claims, without ids, and without the times of
// recording and of withdrawals made up just now.
func (s *site) claims() (all []string) {
	s.t.Helper()
	pgtest.Eventually(s.t, "the read tables have caught up", s.caughtUp)
	s.run("verify").expect(s.t, exit.CodeDone, "events verified")
	rows, err := connect(s.t, s).Query(s.t.Context(), `
		select concat_ws(' ', u.email, c.purpose, c.consented, c.given_at,
			case when c.withdrawn_at < '2020-01-01' then c.withdrawn_at end, c.evidence_grade, c.source)
		from trust.consents_v1 c join trust.users_v1 u on u.id = c.subject_id
		where c.evidence_grade <> '' order by 1`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()

	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

func TestPeopleWhomNobodyKnowsAreRecordedOnlyIfAsked(t *testing.T) {
	t.Parallel()
	s := legacySite(t)
	known := undecided(t, s.people())
	const head = "full_name,phone,email,external_id,purpose,decision,given_at\n"
	file := s.file("list.csv", head+strings.Join([]string{
		"Nomsa Dlamini,082 555 0101,,,newsletter,granted,2019-03-01",       // 2
		"Nomsa  DLAMINI,+27825550101,,,newsletter,withdrawn,2020-03-01",    // 3: the same person
		"Sipho Dlamini,082 555 0101,,,newsletter,granted,2019-03-01",       // 4: of the same phone
		"Thabo Nkosi,,,meter:0412-3456,newsletter,granted,2019-03-01",      // 5
		",,,meter:04123456,newsletter,refused,2020-03-01",                  // 6: the same person
		",,nobody@example.org,,newsletter,granted,2019-03-01",              // 7: no name
		"Another Name," + known.Phone + ",,,newsletter,granted,2019-03-01", // 8: somebody else's phone
	}, "\n"))
	args := []string{"import", "consents", file, "--municipality", "JHB", "--source", "counter"}

	s.run(args...).expect(t, exit.CodeNotSo, "consents: 0 recorded as claims, 0 unchanged, 7 refused")
	args = append(args, "--create-residents")
	o := s.run(args...)
	o.expect(t, exit.CodeNotSo, "consents: 4 recorded as claims, 0 unchanged, 3 refused; 2 residents recorded")
	for line, code := range map[int]string{4: "ambiguous_person", 7: "validation_failed", 8: "ambiguous_person"} {
		if !strings.Contains(o.stderr, fmt.Sprintf("line %d: %s: ", line, code)) {
			t.Errorf("line %d is not refused as %s:\n%s", line, code, o.stderr)
		}
	}
	s.run(args...).expect(t, exit.CodeNotSo, "consents: 0 recorded as claims, 4 unchanged, 3 refused\n")
}

func TestAnImportOfConsentsIsRefusedBeforeItBegins(t *testing.T) {
	t.Parallel()
	s := newSite(t, testSecret, testMaster, "DATABASE_URL=postgres://o@127.0.0.1:1/trust")
	file := s.file("list.csv", "email,purpose,decision,given_at\n")

	for name, c := range map[string]struct {
		args string
		code int
		want string
	}{
		"no source":       {file + " --municipality JHB", exit.CodeUsage, "--source"},
		"an empty source": {file + " --municipality JHB --source=", exit.CodeUsage, "--source"},
		"no municipality": {file + " --source x", exit.CodeUsage, "give --municipality"},
		"the report is it": {
			file + " --source x --municipality JHB --report " + file, exit.CodeUsage, "replace the file",
		},
		"no file": {file + "x --source x", exit.CodeUnreachable, "cannot read the file"},
		"no database": {
			file + " --source x --municipality JHB", exit.CodeUnreachable, "the database does not answer",
		},
		"an unknown flag": {file + " --source x --grade claimed", exit.CodeUsage, "unknown flag"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.run(append([]string{"import", "consents"}, strings.Fields(c.args)...)...).expect(t, c.code, c.want)
		})
	}
}

func TestAnImportThatIsStoppedContinuesWhereItWas(t *testing.T) {
	t.Parallel()
	s := legacySite(t)
	all := s.people()
	var text strings.Builder
	text.WriteString("subject_id,purpose,decision,given_at\n")
	const rows = 600
	for i := range rows {
		fmt.Fprintf(&text, "%s,research_statistics,granted,%d-01-02T03:%02d:%02d\n", all[i%len(all)].ID, 1950+i/3600,
			i/60%60, i%60)
	}
	file := s.file("list.csv", text.String())
	before := s.status().Head

	args := []string{"import", "consents", file, "--municipality", "JHB", "--source", "a list"}
	first := s.start(args...)
	pgtest.Eventually(t, "some of them are there", func() bool { return s.status().Head > before+100 })
	if code := first.stop(t, syscall.SIGKILL); code == exit.CodeDone {
		t.Log("it was faster than the signal")
	}

	o := s.run(args...)
	o.expect(t, exit.CodeDone, "0 refused")
	if added := s.status().Head - before; added != rows {
		t.Errorf("%d claims of %d rows; %s", added, rows, o.stdout)
	}
	s.run(args...).expect(t, exit.CodeDone, fmt.Sprintf("0 recorded as claims, %d unchanged, 0 refused", rows))
}

// Two lists know one person by different things. Once an officer has merged the two
// records, both lists are still imported again without a change.
func TestListsAreImportedAgainAfterTheirPeopleWereMerged(t *testing.T) {
	t.Parallel()
	s := legacySite(t)
	s.start("serve")
	pgtest.Eventually(t, "the system is ready", s.ready)
	s.feed("a good password\n", "admin", "create", "--municipality", "JHB", "--email", "officer@example.org").
		expect(t, exit.CodeDone, "admin of JHB made")
	officer := s.signedIn("officer@example.org", "a good password", "JHB")

	lists := map[string]string{
		"counter": "full_name,phone,purpose,decision,given_at\n" +
			"Nomsa Dlamini,082 555 0101,newsletter,granted,2019-03-01\n",
		"meters": "full_name,external_id,purpose,decision,given_at\n" +
			"N. Dlamini,meter:04123456,newsletter,withdrawn,2020-03-01\n",
	}
	imported := func(source string) outcome {
		return s.run("import", "consents", s.file(source+".csv", lists[source]), "--municipality", "JHB",
			"--source", source, "--create-residents")
	}
	for source := range lists {
		imported(source).expect(t, exit.CodeDone, "1 recorded as claims, 0 unchanged, 0 refused; 1 residents recorded")
	}

	pgtest.Eventually(t, "the read tables have caught up", s.caughtUp)
	found := func(query string) string {
		var list struct{ Items []struct{ ID string } }
		must(t, json.Unmarshal(officer.call("GET", "users?"+query, ""), &list))
		if len(list.Items) != 1 {
			t.Fatalf("%s finds %d people", query, len(list.Items))
		}
		return list.Items[0].ID
	}
	from, into := found("phone=0825550101"), found("external_id=meter:04123456")
	officer.call("POST", "residents/"+from+"/merge", fmt.Sprintf(`{"into":%q}`, into))
	pgtest.Eventually(t, "the read tables have caught up", s.caughtUp)
	for source := range lists {
		imported(source).expect(t, exit.CodeDone, "0 recorded as claims, 1 unchanged, 0 refused\n")
	}

	// A row that names the person by both is of one person.
	lists["both"] = "external_id,subject_id,purpose,decision,given_at\nmeter:04123456," + from +
		",newsletter,granted,2021-03-01\n"
	imported("both").expect(t, exit.CodeDone, "1 recorded as claims, 0 unchanged, 0 refused\n")
	pgtest.Eventually(t, "the read tables have caught up", s.caughtUp)
	s.run("verify").expect(t, exit.CodeDone, "events verified")
}
