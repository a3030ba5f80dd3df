package http

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // for machines without time zones

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

//go:embed my_data.html
var paperHTML string

//go:embed my_data.css
var paperStyle string

//nolint:gochecknoglobals // computed once, never written
var (
	paperTemplate = template.Must(template.New("paper").Parse(paperHTML))
	paperPolicy   = policyOf(paperStyle)
)

// policyOf returns a policy that allows a page its own style and nothing else.
func policyOf(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// paper is a page for a person: entirely in words, in one language.
type paper struct {
	Language domain.Language
	Title    string
	Lead     []string
	Sections []paperSection
	Nothing  string
	Style    template.CSS
}

type paperSection struct {
	Title   string
	Records []paperRecord
}

type paperRecord struct {
	Title string
	Facts []paperFact
}

type paperFact struct {
	Name, Value string
	Language    domain.Language // of the value; empty: that of the page
}

// renderMyData makes the page in a language. purposes holds the titles of the purposes
// that it names, by code; municipalities the names of some. The template escapes all
// personal data.
func renderMyData(
	data myDataBody, language domain.Language, purposes, municipalities map[string]string,
) ([]byte, error) {
	w := writer{
		words: vocabulary[language], me: data.Profile.ID, purposes: purposes, municipalities: municipalities,
		programs: data.programs(),
	}
	data.Profile.MunicipalityCode = w.municipality(data.Profile.MunicipalityCode)

	p := paper{
		Language: language, Title: w.of("title"), Nothing: w.of("none_here"),
		Style: template.CSS(paperStyle), //nolint:gosec // ours
		Lead: []string{
			w.of("made") + ": " + w.when(data.ExportTimestamp) + ". " + w.of("times"),
			fmt.Sprintf("%s: %d", w.of("position"), data.Position), w.of("rights_text"),
		},
		Sections: []paperSection{
			{w.of("profile_section"), []paperRecord{w.profile(data.Profile)}},
			{w.of("consents_section"), each(data.Consents, w.consent)},
			{w.of("requests_section"), each(data.Requests, w.request)},
			{w.of("holds_section"), each(data.Holds, w.hold)},
			{w.of("recipients_section"), each(data.Recipients, w.recipient)},
			{w.of("programs_section"), each(data.Programs, w.mayAsk)},
			{w.of("reads_section"), each(data.Reads, w.look)},
			{w.of("activity_section"), each(data.Activity, w.act)},
		},
	}

	var out bytes.Buffer
	err := paperTemplate.Execute(&out, p)
	return out.Bytes(), err
}

// writer puts what is known about one person into words.
type writer struct {
	words

	me             uuid.UUID
	purposes       map[string]string
	municipalities map[string]string
	programs       programNames
}

// programs returns the names of the programs that the data names.
func (b myDataBody) programs() programNames {
	names := programNames{}
	note := func(id *uuid.UUID, name *string) {
		if id != nil && name != nil {
			names[*id] = *name
		}
	}

	for _, p := range b.Programs {
		note(&p.ID, &p.Name)
	}
	for _, l := range b.Reads {
		note(l.Actor, l.ActorName)
	}
	for _, a := range b.Activity {
		note(a.UserID, a.ActorName)
	}
	return names
}

func (w writer) mayAsk(p programBody) paperRecord {
	return paperRecord{p.Name, w.facts(
		"scopes", w.value("scopes", p.Scopes), "from", w.when(p.Since), "reference", short8(p.ID),
	)}
}

func (w writer) municipality(code string) string { return cmp.Or(w.municipalities[code], code) }

func (w writer) profile(u userBody) paperRecord {
	if u.FullName == "" {
		return paperRecord{w.of("erased_person"), w.facts(
			"reference", short8(u.ID), "municipality", u.MunicipalityCode, "created_at", w.when(u.CreatedAt),
			"deleted_at", w.maybe(u.DeletedAt),
		)}
	}

	return paperRecord{u.FullName, w.facts(
		"email", deref(u.Email), "phone", deref(u.Phone), "preferred_language", w.of(string(u.PreferredLanguage)),
		"municipality", u.MunicipalityCode, "role", w.of(string(u.Role)), "is_active", w.yes(u.IsActive),
		"email_verified", w.maybe(u.EmailVerifiedAt), "has_account", w.yes(u.HasAccount),
		"external_ids", w.value("external_ids", u.ExternalIDs),
		"created_at", w.when(u.CreatedAt), "created_by", w.account(u.CreatedBy, ""),
		"updated_at", w.when(u.UpdatedAt), "updated_by", w.account(u.UpdatedBy, ""), "reference", short8(u.ID),
		"merged_records", strings.Join(each(u.Merged, short8), ", "),
	)}
}

func (w writer) consent(c consentBody) paperRecord {
	decision := "refused_it"
	switch {
	case c.Consented:
		decision = "agreed"
	case c.Withdrawn:
		decision = "withdrawn"
	}

	annulled, moved := w.maybe(c.AnnulledAt), ""
	if c.MovedTo != nil { // with another record of the same person: that was no error
		annulled, moved = "", short8(*c.MovedTo)
	}

	facts := w.facts(
		"decision", w.of(decision), "status", w.of(string(c.Status)), "in_force", w.yes(c.InForce),
		"evidence_grade", w.codeOrNone(c.EvidenceGrade), "source", deref(c.Source),
		"withdrawn_at", w.maybe(c.WithdrawnAt), "annulled_at", annulled, "moved_to", moved,
		"valid_until", w.maybe(c.ValidUntil), "lapses_at", w.maybe(c.LapsesAt), "wording", w.wording(c),
	)
	if c.PurposeDescription != nil {
		facts[len(facts)-1].Language = domain.Language(deref(c.Language))
	}

	return paperRecord{w.purpose(c.Purpose), append(facts, w.facts(
		"language", w.codeOrNone(c.Language), "given_at", w.when(c.GivenAt), "recorded_at", w.when(c.RecordedAt),
		"channel", w.codeOrNone(c.Channel), "given_by", w.decidedBy(c.GivenBy),
		"recorded_by", w.account(c.RecordedBy, ""), "updated_at", w.when(c.UpdatedAt),
		"updated_by", w.account(c.UpdatedBy, ""), "notice_version", printed(c.NoticeVersion),
		"sha256", deref(c.SHA256), "evidence_sha256", deref(c.EvidenceSHA256), "reference", short8(c.ID),
	)...)}
}

// wording returns the words that a decision is about, or that they are not known.
func (w writer) wording(c consentBody) string {
	if c.PurposeDescription == nil {
		return w.of("not_known")
	}
	return *c.PurposeDescription
}

func (w writer) decidedBy(who string) string {
	if who == domain.BySelf {
		return w.of("you")
	}
	return w.of("competent_person_of")
}

func (w writer) request(q requestBody) paperRecord {
	certificate := ""
	if q.CertificateID != nil {
		certificate = short8(*q.CertificateID)
	}
	return paperRecord{w.of(string(q.Kind)), w.facts(
		"status", w.of(string(q.Status)), "lodged_by", w.of(q.LodgedBy), "lodged_at", w.when(q.LodgedAt),
		"due_on", w.value("due_on", q.DueOn), "closed_at", w.maybe(q.ClosedAt), "ground", w.codeOrNone(q.Ground),
		"details", deref(q.Details), "note", deref(q.Note), "certificate", certificate, "reference", short8(q.ID),
	)}
}

func (w writer) hold(h holdBody) paperRecord {
	return paperRecord{cmp.Or(deref(h.Reason), w.of("hold")), w.facts(
		"placed_at", w.when(h.PlacedAt), "lifted_at", w.maybe(h.LiftedAt), "reference", short8(h.ID),
	)}
}

func (w writer) recipient(r recipientBody) paperRecord {
	return paperRecord{w.account(r.Actor, r.ActorRole), w.facts(
		"times_read", fmt.Sprint(r.Reads), "first", w.when(r.First), "last", w.when(r.Last),
	)}
}

func (w writer) look(l lookBody) paperRecord {
	how := l.Matched
	if how == "filter" {
		how = "matched_filter"
	}
	return paperRecord{w.when(l.Timestamp), w.facts(
		"who", w.account(l.Actor, l.ActorRole), "what", w.of(l.Fields), "how", w.of(how),
		"position", fmt.Sprint(l.Position),
	)}
}

func (w writer) act(a auditBody) paperRecord {
	facts := w.facts("who", w.account(a.UserID, a.UserRole))

	for _, field := range slices.Sorted(maps.Keys(a.Changes)) {
		if field == "route" || field == "head" { // for programs; other facts say what was shown
			continue
		}

		change := a.Changes[field]
		before, after := w.changed(field, change.Old, change.Personal), w.changed(field, change.New, change.Personal)
		if before != "" && after != "" && before != after { // if both are hidden, that is said once
			after = before + " → " + after
		}
		facts = append(facts, paperFact{Name: w.field(field), Value: cmp.Or(after, before)})
	}

	address, agent := w.origin(a)
	facts = append(facts, w.facts("address", address, "agent", agent, "position", fmt.Sprint(a.Position))...)
	return paperRecord{
		w.when(a.Timestamp) + ": " + w.of(a.EventType),
		slices.DeleteFunc(facts, func(f paperFact) bool { return f.Value == "" }),
	}
}

// facts makes facts from pairs of a name and a value; empty values are left out.
func (w writer) facts(pairs ...string) (facts []paperFact) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			facts = append(facts, paperFact{Name: w.of(pairs[i]), Value: pairs[i+1]})
		}
	}
	return facts
}

// field returns the word for a changed field. An id without a word of its own is called a
// reference to what it names.
func (w writer) field(name string) string {
	_, own := w.words[name]
	if of, isID := strings.CutSuffix(name, "_id"); isID && !own {
		return w.of(of) + " (" + strings.ToLower(w.of("reference")) + ")"
	}
	return w.of(name)
}

// account describes an account by its role, with a reference that tells two of them
// apart.
func (w writer) account(id *uuid.UUID, role string) string {
	switch {
	case id == nil && (role == "" || role == domain.RoleSystem):
		return w.of("operator")
	case id == nil:
		return w.of(role)
	case *id == w.me:
		return w.of("you")
	case w.programs[*id] != "":
		return w.of(domain.RoleProgram) + ": " + w.programs[*id]
	default:
		return w.of(cmp.Or(role, "staff")) + " (" + strings.ToLower(w.of("reference")) + " " + short8(*id) + ")"
	}
}

func (w writer) purpose(code string) string {
	if text := w.purposes[code]; text != "" && code != domain.PlatformRegistrationCode {
		return text
	}
	return w.of(code)
}

// freeTexts lists the fields whose values are people's own words, names and numbers,
// never codes.
func freeTexts() []string {
	return []string{
		"email", "full_name", "phone", "reason", "details", "note", "text", "wording", "evidence_reference", "name",
		"relation", "authority", "sha256", "evidence_sha256", "file_sha256", "source", "route", "contact_email",
		"district_code", "retention", "texts", "position", "identity_document", "value",
		"origin", "size", "root", "url",
	}
}

// codeFields lists the fields whose values come from a closed list. Each value has a word
// in every language.
func codeFields() []string {
	return []string{
		"role", "preferred_language", "language", "channel", "recorded_by", "given_by", "lodged_by", "basis", "kind",
		"ground", "status", "cause", "scope", "destroyed", "kept", "fields", "operation", "table_name", "province",
		"category", "type", "entry", "scopes", "decided", "evidence_grade", "events", "stream_type",
	}
}

// changed says the value that a field had or has. Whether a personal value is hidden is
// read from its state, since a shown value may read like one.
func (w writer) changed(field string, v any, state personalState) string {
	if v != nil && (state == stateOf(domain.Withheld) || state == stateOf(domain.Erased)) {
		return w.of(string(state))
	}
	return w.value(field, v)
}

// value says any value of a field.
func (w writer) value(field string, v any) string {
	encoded, err := json.Marshal(v)
	if err != nil {
		return ""
	}

	var plain any
	if json.Unmarshal(encoded, &plain) != nil {
		return ""
	}
	return w.say(field, plain)
}

func (w writer) say(field string, v any) string {
	switch v := v.(type) {
	case bool:
		return w.yes(v)
	case float64:
		return fmt.Sprintf("%.0f", v)
	case string:
		return w.text(field, v)
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = w.say(field, item)
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, w.field(name)+": "+w.within(field, name, v[name]))
		}
		return strings.Join(parts, "; ")
	default:
		return ""
	}
}

// within says the value under a name inside a field.
func (w writer) within(field, name string, v any) string {
	switch {
	// Here the names are languages.
	case field == "texts", field == "sha256":
		return w.say(field, v)
	// Of these, only whether they were given is known.
	case field == "filter" && slices.Contains([]string{"q", "email", "phone", "external_id"}, name):
		return w.of("given")
	case field == "filter" && (name == "is_active" || name == "has_account"):
		return w.yes(v == "true")
	default:
		return w.say(name, v)
	}
}

func (w writer) text(field, text string) string {
	switch {
	case text == "", slices.Contains(freeTexts(), field):
		return text
	case slices.Contains(codeFields(), field):
		return w.of(text)
	case field == "purpose":
		return w.purpose(text)
	case field == "municipality_code":
		return w.municipality(text)
	case field == "code": // of a purpose, or of a municipality
		return cmp.Or(w.purposes[text], w.municipality(text))
	}

	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return w.when(instant(at))
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return w.day(day)
	}
	if id, is := parseID(text); is {
		if id == w.me {
			return w.of("you")
		}
		return short8(id)
	}
	return text
}

// origin returns the address and program that somebody used, or why they are not shown,
// which is the same for both. So the address decides: it never reads like a state, but
// the name of a program may.
func (w writer) origin(a auditBody) (address, agent string) {
	address, agent = deref(a.IPAddress), deref(a.UserAgent)
	if state := personalState(address); state == stateOf(domain.Withheld) || state == stateOf(domain.Erased) {
		return w.of(address), w.of(address)
	}
	return address, agent
}

func (w writer) codeOrNone(code *string) string {
	if code == nil || *code == "" {
		return ""
	}
	return w.of(*code)
}

func (w writer) yes(is bool) string {
	if is {
		return w.of("yes")
	}
	return w.of("no")
}

func (w writer) maybe(at *instant) string {
	if at == nil {
		return ""
	}
	return w.when(*at)
}

// when writes an instant as a clock in South Africa showed it.
func (w writer) when(at instant) string {
	zone, err := time.LoadLocation("Africa/Johannesburg")
	if err != nil {
		zone = time.FixedZone("SAST", 2*60*60)
	}
	local := time.Time(at).In(zone)
	return w.day(local) + local.Format(", 15:04:05 MST")
}

func (w writer) day(t time.Time) string {
	return fmt.Sprintf("%d %s %d", t.Day(), w.of(fmt.Sprintf("month%d", t.Month())), t.Year())
}

// short8 returns enough of an id to tell two apart, and to read out over the phone.
func short8(id uuid.UUID) string { return id.String()[len(uuid.UUID{}.String())-8:] }

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
