//go:build far

package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pquerna/otp/totp"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/proof"
)

// The database is that of testdata/upgrade/5b32fc4, whose README.md says how it was made.
// It is as old as a database in use can be, so every later program must read every form
// that was ever stored.
//
// A change of a stored form (a table, an event, a read table, the way something is sealed
// or hashed) needs a step here that proves it on this database, at the point in the order
// where it shows.
func TestFarASystemOf5b32fc4IsMigratedVerifiedFollowedAndServed(t *testing.T) {
	t.Parallel()
	u := restoreDump(t, "5b32fc4")

	for _, step := range []func(){
		u.isMigrated,
		u.isVerified,
		u.isOpened,
		u.acceptsOldPasswords,
		u.isCoded,
		u.isVerified,
		u.isSealed,
		u.answersAsBefore,
		u.printsAsBefore,
		u.saysWhoMadeAndChangedWhat,
		u.searchesAndCounts,
		u.findsPeopleByAPartOfTheirNames,
		u.followsWhatIsNew,
		u.takesASecondFactor,
		u.letsAProgramAsk,
		u.countsOfficersOfBefore,
		u.takesLetters,
		u.endsWithoutAnEvent,
		u.takesClaims,
		u.redeemsACode, // which ends her sessions
		u.isRebuilt,
		u.isVerified,
		u.isSealed,
	} {
		step()
	}
}

// upgrade is an old system in a new database, run by this program.
type upgrade struct {
	*site
	before struct {
		Position  int64                      // of the log's head when the dump was made
		People    map[string]json.RawMessage // how to sign in, by the names that the questions use
		Questions []question
		Commands  []struct {
			Args   []string
			Stdout string
		}
	}
	tokens map[string]string // of people, by the same names
}

// question is a request to the API, with one of: its answer, the answer's checksum, its
// length over all pages, a refusal's status.
type question struct {
	As   string // empty: nobody
	Path string
	Key  string          // Idempotency-Key
	Body json.RawMessage // empty: a GET

	Answer       any
	SHA256       string
	Pages, Items int
	Status       int
}

// restoreDump fills a database as an operator would: the cluster's roles first, then the
// dump.
func restoreDump(t *testing.T, commit string) *upgrade {
	t.Helper()
	folder, database := filepath.Join("testdata", "upgrade", commit), pgtest.Fresh(t)
	environment, err := os.ReadFile(filepath.Join(folder, "system.env"))
	must(t, err)
	variables := append(strings.Split(string(environment), "\n"), "DATABASE_URL="+database, "RATE_LIMIT=off",
		testSigning)
	u := &upgrade{site: newSite(t, variables...), tokens: map[string]string{}}

	text, err := os.ReadFile(filepath.Join(folder, "expected.json"))
	must(t, err)
	must(t, json.Unmarshal(text, &u.before))

	conn, err := pgx.Connect(t.Context(), database)
	must(t, err)
	defer func() { must(t, conn.Close(t.Context())) }()
	makeRoles(t, conn, filepath.Join(folder, "roles.sql"))
	fill(t, conn, filepath.Join(folder, "system.sql.gz"))

	return u
}

// makeRoles runs a file with one statement on each line. The cluster is shared with other
// tests, which may have made the roles or be about to.
func makeRoles(t *testing.T, conn *pgx.Conn, path string) {
	t.Helper()
	statements, err := os.ReadFile(path)
	must(t, err)

	for statement := range strings.Lines(string(statements)) {
		_, err := conn.Exec(t.Context(), statement)
		refused, ok := errors.AsType[*pgconn.PgError](err)
		exists := ok && (refused.Code == "42710" || refused.Code == "23505") // duplicate_object, unique_violation
		if err != nil && !exists {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// fill runs a dump that holds only SQL, in one transaction.
func fill(t *testing.T, conn *pgx.Conn, path string) {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer func() { _ = file.Close() }()
	unpacked, err := gzip.NewReader(file)
	must(t, err)
	dump, err := io.ReadAll(unpacked)
	must(t, err)

	_, err = conn.PgConn().Exec(t.Context(), string(dump)).ReadAll()
	must(t, err)
}

// do runs a command that must succeed, and returns what it prints.
func (u *upgrade) do(args ...string) string {
	u.t.Helper()
	o := u.run(args...)
	if o.code != 0 {
		u.t.Fatalf("trust %v: exit code %d\nstdout: %s\nstderr: %s", args, o.code, o.stdout, o.stderr)
	}
	return o.stdout
}

func (u *upgrade) isMigrated() {
	u.do("migrate")
	u.do("migrate", "--status")

	if head := u.status().Head; head != u.before.Position {
		u.t.Errorf("the log's head is at %d, and was at %d", head, u.before.Position)
	}
}

// isVerified re-reads the whole log, including the events appended since, and compares
// the read tables with it.
func (u *upgrade) isVerified() {
	want := fmt.Sprintf("%d events verified", u.status().Head)
	if said := u.do("verify"); !strings.Contains(said, want) {
		u.t.Errorf("it says %q, not %q", said, want)
	}
}

// isCoded gives a code to the events from the dump, and to none that this program has
// appended since.
func (u *upgrade) isCoded() {
	want := fmt.Sprintf("%d older events got their code", u.before.Position)
	if said := u.do("codes"); !strings.Contains(said, want) {
		u.t.Errorf("it says %q, not %q", said, want)
	}
	if said := u.do("codes"); !strings.Contains(said, "0 older events got their code") {
		u.t.Errorf("again it says %q", said)
	}

	outcome := u.run("disown", strconv.FormatInt(u.before.Position, 10), "--reason", "nothing is wrong with it")
	if outcome.code != exit.CodeNotSo || !strings.Contains(outcome.stderr, "its code holds") {
		u.t.Errorf("an event whose code holds is disowned: %+v", outcome)
	}
}

// isSealed finds a checkpoint of the whole log, the events from the dump included, and
// proves by what is served to everybody that it covers the first and the last of them,
// exactly as their rows are.
func (u *upgrade) isSealed() {
	var keys []proof.Key
	for line := range strings.Lines(u.do("keys", "show")) {
		_, vkey, _ := strings.Cut(strings.TrimSpace(line), "  ")
		key, err := proof.ParseKey(vkey)
		must(u.t, err)
		keys = append(keys, key)
	}
	var signed proof.Signed
	pgtest.Eventually(u.t, "a checkpoint covers the whole log", func() (is bool) {
		var err error
		signed, err = proof.Open([]byte(u.checkpoint()), keys...)
		return err == nil && int64(signed.Size) == u.status().Head
	})

	conn := connect(u.t, u.site)
	for _, position := range []int64{1, u.before.Position} {
		index := uint64(position) - 1
		path, err := proof.InclusionProof(index, signed.Size, u.tile)
		must(u.t, err)
		must(u.t, eventstore.EachStored(u.t.Context(), conn, position-1, position, func(e eventstore.Stored) error {
			leaf, err := seal.HeaderOf(e).Leaf()
			if err != nil {
				return err
			}
			return proof.VerifyInclusion(leaf, index, signed.Size, path, signed.Root)
		}))
	}
}

// tile fetches a tile of the tree as anybody can.
func (u *upgrade) tile(level int, index uint64, width int) ([]proof.Hash, error) {
	address := "http://" + u.addr + "/log/" + proof.TilePath(level, index, width)
	answer, err := http.Get(address) //nolint:noctx // of a test
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	hashes := make([]proof.Hash, width)
	for i := range hashes {
		if _, err := io.ReadFull(answer.Body, hashes[i][:]); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

func (u *upgrade) isOpened() { u.opens() }

func (u *upgrade) acceptsOldPasswords() {
	for _, name := range slices.Sorted(maps.Keys(u.before.People)) {
		answer, status := u.ask(question{Path: "auth/login", Body: u.before.People[name]}, "")
		if status != http.StatusOK {
			u.t.Fatalf("%s cannot sign in: %d %s", name, status, answer)
		}
		u.tokens[name] = field(u.t, answer, "access_token")
	}
}

// answersAsBefore asks in the order in which the old program was asked, because some
// answers show earlier questions.
func (u *upgrade) answersAsBefore() {
	for _, q := range u.before.Questions {
		var wrong []string
		switch {
		case q.Pages > 0:
			wrong = u.countsAsBefore(q)
		case q.SHA256 != "":
			wrong = u.isTheSameDocument(q)
		case q.Status != 0:
			if _, status := u.ask(q, ""); status != q.Status {
				wrong = []string{fmt.Sprintf("status %d, was %d", status, q.Status)}
			}
		default:
			wrong = differences("", beforeUpgrade(meant(q), u.before.Position),
				beforeUpgrade(u.answer(q, ""), u.before.Position))
		}

		for _, difference := range wrong {
			u.t.Errorf("%s asks %s: %s", q.As, q.Path, difference)
		}
	}
}

// meant returns the answer that is expected now: the old one, unless a release changed it
// on purpose.
func meant(q question) any {
	// Retired: nothing is allowed for it any more.
	if strings.HasPrefix(q.Path, "consents/check?purpose=old_survey") {
		return map[string]any{"allowed": false, "reason": "purpose_retired"}
	}
	if strings.HasPrefix(q.Path, "users?") {
		return withoutEmptyAddresses(q.Answer)
	}
	return q.Answer
}

// withoutEmptyAddresses returns a list of users in which erased people have no e-mail
// address, where it was empty.
func withoutEmptyAddresses(list any) any {
	answer := maps.Clone(list.(map[string]any))
	items := slices.Clone(answer["items"].([]any))
	for i := range items {
		user := maps.Clone(items[i].(map[string]any))
		if user["email"] == "" {
			user["email"] = nil
		}
		items[i] = user
	}
	answer["items"] = items
	return answer
}

// countsAsBefore follows a list to its end.
func (u *upgrade) countsAsBefore(q question) (wrong []string) {
	pages, items := 0, 0
	for next, more := "", true; more; pages++ {
		page, _ := u.answer(q, "&after="+next).(map[string]any)
		entries, _ := page["items"].([]any)
		items += len(entries)
		next, more = page["next"].(string)
	}

	if pages != q.Pages || items != q.Items {
		wrong = append(wrong, fmt.Sprintf("%d pages with %d items, were %d with %d", pages, items, q.Pages, q.Items))
	}
	return wrong
}

func (u *upgrade) isTheSameDocument(q question) (wrong []string) {
	document, status := u.ask(q, "")
	document = u.asItWasWritten(document)
	sum := sha256.Sum256(document)
	if hex.EncodeToString(sum[:]) != q.SHA256 {
		wrong = append(wrong, fmt.Sprintf("not byte for byte what it was (status %d):\n%s", status, document))
	}
	return wrong
}

// newer lists the fields that a consent of an export did not have.
func newer() []string {
	return []string{
		"valid_until", "lapses_at", "status", "in_force", "annulled_at", "moved_to", "evidence_grade", "source",
		"created_by", "updated_at", "updated_by",
	}
}

// withoutNewer matches these fields in JSON, and the comma before each.
var withoutNewer = regexp.MustCompile(`,"(` + strings.Join(newer(), "|") + `)":("[^"]*"|null|true|false)`)

// endWithAsOf matches the last line of NDJSON, which did not name the instant.
var endWithAsOf = regexp.MustCompile(`(\{"end":true,[^}]*),"as_of":("[^"]*"|null)\}`)

// asItWasWritten returns an export in its old form: without the fields that are newer;
// CSV without a byte order mark, the municipality and a last record, and with quotes only
// where they are needed. Anything else stays as it is.
func (u *upgrade) asItWasWritten(document []byte) []byte {
	u.t.Helper()
	text, marked := bytes.CutPrefix(document, []byte("\ufeff"))
	if !marked {
		document = endWithAsOf.ReplaceAll(document, []byte("$1}"))
		return withoutNewer.ReplaceAll(document, nil)
	}

	in := csv.NewReader(bytes.NewReader(text))
	in.FieldsPerRecord = -1
	records, err := in.ReadAll()
	must(u.t, err)

	var before bytes.Buffer
	out := csv.NewWriter(&before)
	for _, record := range records[:len(records)-1] {
		var old []string
		for i, cell := range record[1:] {
			if !slices.Contains(newer(), records[0][i+1]) {
				old = append(old, cell)
			}
		}
		must(u.t, out.Write(old))
	}
	out.Flush()
	return before.Bytes()
}

// answer returns a success as decoded JSON; more is appended to the path.
func (u *upgrade) answer(q question, more string) (decoded any) {
	u.t.Helper()
	text, status := u.ask(q, more)
	if status > 299 {
		u.t.Fatalf("%s asks %s: %d %s", q.As, q.Path, status, text)
	}
	must(u.t, json.Unmarshal(text, &decoded))
	return decoded
}

// ask sends a question and returns the answer's bytes and status.
func (u *upgrade) ask(q question, more string) ([]byte, int) {
	u.t.Helper()
	method := http.MethodGet
	if len(q.Body) > 0 {
		method = http.MethodPost
	}

	request, err := http.NewRequestWithContext(u.t.Context(), method, "http://"+u.addr+"/api/v1/"+q.Path+more,
		bytes.NewReader(q.Body))
	must(u.t, err)
	request.Header.Set("Content-Type", "application/json")
	if q.As != "" {
		request.Header.Set("Authorization", "Bearer "+u.tokens[q.As])
	}
	if q.Key != "" {
		request.Header.Set("Idempotency-Key", q.Key)
	}

	answer, err := http.DefaultClient.Do(request)
	must(u.t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	must(u.t, err)
	return text, answer.StatusCode
}

func (u *upgrade) printsAsBefore() {
	for _, command := range u.before.Commands {
		if said := string(u.asItWasWritten([]byte(u.do(command.Args...)))); said != command.Stdout {
			u.t.Errorf("trust %v prints\n%s\nand printed\n%s", command.Args, said, command.Stdout)
		}
	}
}

// countsOfficersOfBefore asks for something that needs a second officer: one was made
// before there was a stream of officers.
func (u *upgrade) countsOfficersOfBefore() {
	u.t.Helper()
	resident := u.citizen("to.be.erased@example.org", "To Be Erased")
	body := json.RawMessage(fmt.Sprintf(`{"subject_id":%q,"kind":"erasure"}`, resident.id))
	lodged, _ := u.ask(question{As: "admin", Path: "data-rights/requests", Body: body}, "")

	path := "data-rights/requests/" + field(u.t, lodged, "id") + "/fulfil"
	fulfil := question{As: "admin", Path: path, Body: json.RawMessage("{}")}
	if answer, status := u.ask(fulfil, ""); status != http.StatusConflict ||
		!bytes.Contains(answer, []byte("second_person_required")) {
		u.t.Errorf("one admin lodges and fulfils an erasure beside the older officer: %d %s", status, answer)
	}
}

// takesLetters lodges a request that arrived earlier, beside those of before, which state
// no arrival.
func (u *upgrade) takesLetters() {
	u.t.Helper()
	writer := u.citizen("wrote.a.letter@example.org", "Wrote A Letter")
	arrived := time.Now().AddDate(0, 0, -40).UTC().Format("2006-01-02") + "T06:00:00.000000Z"
	body := json.RawMessage(fmt.Sprintf(`{"subject_id":%q,"kind":"access","received_at":%q}`, writer.id, arrived))

	lodged, _ := u.ask(question{As: "admin", Path: "data-rights/requests", Body: body}, "")
	if at := field(u.t, lodged, "lodged_at"); at != arrived {
		u.t.Errorf("the letter of %s was lodged at %s: %s", arrived, at, lodged)
	}
}

// endsWithoutAnEvent records a consent, and finds that it and those of before say what
// has become of them: in the read table that was migrated, and in the log.
func (u *upgrade) endsWithoutAnEvent() {
	u.t.Helper()
	u.citizen("to.be.asked@example.org", "To Be Asked").call("POST", "consents",
		`{"purpose":"newsletter","language":"en","consented":true}`)
	for _, path := range []string{"consents?limit=100", "compliance/consents?purpose=newsletter"} {
		list, _ := u.answer(question{As: "admin", Path: path}, "").(map[string]any)
		items, _ := list["items"].([]any)
		for _, item := range items {
			c, _ := item.(map[string]any)
			if c["status"] == "granted" && c["in_force"] == nil ||
				c["withdrawn"] == true && c["status"] != "withdrawn" {
				u.t.Errorf("%s: %v", path, c)
			}
		}
	}
}

// followsWhatIsNew appends to old streams and to new ones, and looks for the changes in
// the read tables.
func (u *upgrade) followsWhatIsNew() {
	citizen := &account{s: u.site, token: u.tokens["nomsa"]}
	consent := field(u.t, citizen.call("POST", "consents",
		`{"purpose":"whatsapp_care","language":"zu","consented":true}`), "id")
	stranger := u.citizen("after.upgrade@example.org", "After Upgrade")
	if at, err := strconv.ParseInt(citizen.position, 10, 64); err != nil || at <= u.before.Position {
		u.t.Errorf("the consent is at position %q, and the old log ends at %d", citizen.position, u.before.Position)
	}

	pgtest.Eventually(u.t, "the read tables have followed", u.caughtUp)
	if list := citizen.call("GET", "consents?limit=100", ""); !bytes.Contains(list, []byte(consent)) {
		u.t.Errorf("the consent %s is not in the read table: %s", consent, list)
	}
	officer := &account{s: u.site, token: u.tokens["officer"]}
	if list := officer.call("GET", "users?limit=100", ""); !bytes.Contains(list, []byte(stranger.id)) {
		u.t.Errorf("the citizen %s is not in the read table: %s", stranger.id, list)
	}
}

// saysWhoMadeAndChangedWhat looks at rows of before, whose new columns the migration
// filled from the log.
func (u *upgrade) saysWhoMadeAndChangedWhat() {
	citizen := &account{s: u.site, token: u.tokens["nomsa"]}
	me := citizen.call("GET", "users/me", "")
	if id := field(u.t, me, "id"); field(u.t, me, "created_by") != id || field(u.t, me, "updated_by") != id {
		u.t.Errorf("she registered herself: %s", me)
	}

	listed, ok := u.answer(question{As: "nomsa", Path: "consents?limit=100"}, "").(map[string]any)
	if items, _ := listed["items"].([]any); !ok || len(items) == 0 {
		u.t.Errorf("she has no consents: %v", listed)
	}
	for _, item := range listed["items"].([]any) {
		c := item.(map[string]any)
		if c["created_by"] != c["recorded_by"] || c["updated_at"].(string) < c["recorded_at"].(string) {
			u.t.Errorf("who made it, and when it changed last: %v", c)
		}
	}
}

// searchesAndCounts finds among the consents of before those of one purpose, and counts
// them.
func (u *upgrade) searchesAndCounts() {
	position := fmt.Sprintf("&position=%d", u.before.Position)
	all := u.answer(question{As: "officer", Path: "compliance/consents?format=json" + position}, "").(map[string]any)
	found := u.answer(question{As: "officer", Path: "compliance/consents?purpose=sms_alert&channel=web" + position},
		"").(map[string]any)
	counted := u.answer(question{As: "officer", Path: "compliance/consents/summary?by=purpose,channel" + position},
		"").(map[string]any)

	want := 0.0
	for _, item := range all["items"].([]any) {
		if c := item.(map[string]any); c["purpose"] == "sms_alert" && c["channel"] == "web" {
			want++
		}
	}
	if found["count"] != want {
		u.t.Errorf("%v are found, want %v", found["count"], want)
	}
	for _, item := range counted["items"].([]any) {
		if c := item.(map[string]any); c["purpose"] == "sms_alert" && c["channel"] == "web" && c["count"] != want {
			u.t.Errorf("%v are counted, want %v", c["count"], want)
		}
	}
	if counted["count"] != all["count"] {
		u.t.Errorf("%v are counted of %v", counted["count"], all["count"])
	}
}

// findsPeopleByAPartOfTheirNames searches among the rows of before, whose texts to be
// searched the migration made.
func (u *upgrade) findsPeopleByAPartOfTheirNames() {
	all := u.answer(question{As: "officer", Path: "users?limit=100"}, "").(map[string]any)
	searched := 0
	for _, item := range all["items"].([]any) {
		name := []rune(strings.ToUpper(item.(map[string]any)["full_name"].(string)))
		if len(name) < 4 {
			continue
		}

		searched++
		part := url.QueryEscape(string(name[1 : len(name)-1]))
		found := u.answer(question{As: "officer", Path: "users?limit=100&q=" + part}, "").(map[string]any)
		if !slices.ContainsFunc(found["items"].([]any), func(other any) bool {
			return other.(map[string]any)["id"] == item.(map[string]any)["id"]
		}) {
			u.t.Errorf("%s is not found by a part of their name", string(name))
		}
	}
	if searched < 3 {
		u.t.Errorf("%d people of before have names", searched)
	}
}

// takesASecondFactor sets one up on an old account, whose key and credential were made by
// the old program.
func (u *upgrade) takesASecondFactor() {
	var login map[string]any
	must(u.t, json.Unmarshal(u.before.People["nomsa"], &login))
	citizen := &account{s: u.site, token: u.tokens["nomsa"]}
	begun := citizen.call("POST", "users/me/totp", fmt.Sprintf(`{"current_password":%q}`, login["password"]))
	code, err := totp.GenerateCode(field(u.t, begun, "secret"), time.Now())
	must(u.t, err)
	citizen.call("POST", "users/me/totp/confirm", fmt.Sprintf(`{"totp":%q}`, code))

	answer, status := u.ask(question{Path: "auth/login", Body: u.before.People["nomsa"]}, "")
	if status != http.StatusUnauthorized || field(u.t, answer, "code") != "totp_required" {
		u.t.Errorf("with a password alone: %d %s", status, answer)
	}

	login["totp"], err = totp.GenerateCode(field(u.t, begun, "secret"), time.Now().Add(30*time.Second))
	must(u.t, err)
	body, err := json.Marshal(login)
	must(u.t, err)
	if answer, status := u.ask(question{Path: "auth/login", Body: body}, ""); status != http.StatusOK {
		u.t.Errorf("with a code: %d %s", status, answer)
	}
}

// redeemsACode hands a code to an old account, whose credential was made by the old
// program, and keeps its second factor. In the read table nobody's address is verified.
func (u *upgrade) redeemsACode() {
	citizen := &account{s: u.site, token: u.tokens["nomsa"]}
	officer := &account{s: u.site, token: u.tokens["officer"]}
	id := field(u.t, citizen.call("GET", "users/me", ""), "id")
	if row := officer.call("GET", "users/"+id, ""); !bytes.Contains(row, []byte(`"email_verified_at":null`)) {
		u.t.Errorf("the old row: %s", row)
	}

	made := officer.call("POST", "users/"+id+"/reset-code", `{"identity_document":"ID card"}`)
	officer.call("POST", "auth/redeem", fmt.Sprintf(`{"code":%q,"password":"a third good password"}`,
		field(u.t, made, "code")))
	var login map[string]any
	must(u.t, json.Unmarshal(u.before.People["nomsa"], &login))
	login["password"] = "a third good password"
	body, err := json.Marshal(login)
	must(u.t, err)
	answer, status := u.ask(question{Path: "auth/login", Body: body}, "")
	if status != http.StatusUnauthorized || field(u.t, answer, "code") != "totp_required" {
		u.t.Errorf("with the new password alone: %d %s", status, answer)
	}
}

// letsAProgramAsk gives the old municipality a program, which asks about a person of
// before.
func (u *upgrade) letsAProgramAsk() {
	u.t.Helper()
	admin := &account{s: u.site, token: u.tokens["admin"]}
	program := u.programOf(admin.call("POST", "service-accounts", `{"name":"SMS alerts","scopes":["consents:check"]}`))
	person := field(u.t, (&account{s: u.site, token: u.tokens["nomsa"]}).call("GET", "users/me", ""), "id")
	program.call("GET", "consents/check?purpose=platform_registration&subject_id="+person, "")
}

// takesClaims imports what a list says about somebody of before, under a purpose of
// before, and looks for it in the read table.
func (u *upgrade) takesClaims() {
	citizen := &account{s: u.site, token: u.tokens["nomsa"]}
	me := citizen.call("GET", "users/me", "")
	list := u.file("list.csv", "subject_id,purpose,decision,given_at\n"+
		field(u.t, me, "id")+",research_statistics,refused,2019-03-01\n")
	u.do("import", "consents", list, "--municipality", field(u.t, me, "municipality_code"), "--source", "a list")

	pgtest.Eventually(u.t, "the read tables have followed", u.caughtUp)
	if consents := citizen.call("GET", "consents?limit=100", ""); !bytes.Contains(consents,
		[]byte(`"evidence_grade":"claimed","source":"a list"`)) {
		u.t.Errorf("the claim is not in the read table: %s", consents)
	}
}

// isRebuilt rebuilds every read table. The old program has rebuilt one and kept its old
// version; of another one it has dropped that.
func (u *upgrade) isRebuilt() {
	said := u.do("rebuild", "all")
	if strings.Count(said, "was as the log says") != strings.Count(said, "rebuilt up to position") ||
		!strings.Contains(said, "users rebuilt") {
		u.t.Errorf("it says %q", said)
	}

	pgtest.Eventually(u.t, "it is ready", u.ready)
	pgtest.Eventually(u.t, "the read tables have followed", u.caughtUp)
}

// beforeUpgrade removes from an answer everything after a position: traces of the
// questions themselves, above all sign-ins.
func beforeUpgrade(value any, position int64) any {
	switch v := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for name, field := range v {
			if name != "export_timestamp" && !isAfter(field, name, position) {
				kept[name] = beforeUpgrade(field, position)
			}
		}
		return kept
	case []any:
		kept := []any{}
		for _, item := range v {
			if fields, ok := item.(map[string]any); !ok || !isAfter(fields["position"], "position", position) {
				kept = append(kept, beforeUpgrade(item, position))
			}
		}
		return kept
	default:
		return value
	}
}

func isAfter(value any, name string, position int64) bool {
	at, ok := value.(float64)
	return ok && name == "position" && int64(at) > position
}

// differences lists where an answer differs from the old one. A new field is no
// difference, because clients ignore it.
func differences(at string, want, got any) (found []string) {
	switch was := want.(type) {
	case map[string]any:
		is, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, was %v", at, got, want)}
		}

		for _, name := range slices.Sorted(maps.Keys(was)) {
			if value, ok := is[name]; ok {
				found = append(found, differences(at+"."+name, was[name], value)...)
			} else {
				found = append(found, fmt.Sprintf("%s.%s is missing, was %v", at, name, was[name]))
			}
		}
	case []any:
		is, ok := got.([]any)
		if !ok || len(is) != len(was) {
			return []string{fmt.Sprintf("%s is %v, was %v", at, got, want)}
		}
		for i := range was {
			found = append(found, differences(fmt.Sprintf("%s[%d]", at, i), was[i], is[i])...)
		}
	default:
		if !reflect.DeepEqual(want, got) {
			found = append(found, fmt.Sprintf("%s is %v, was %v", at, got, want))
		}
	}
	return found
}
