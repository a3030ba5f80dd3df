package domain_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// The only way to write golden files: go test ./domain -run Golden -update. A released
// file never changes.
var update = flag.Bool("update", false, "write testdata/events from the examples")

const goldenDir = "testdata/events"

// golden is one file: an event as the log holds it.
type golden struct {
	Payload json.RawMessage `json:"payload"`
	// Personal is in plain; the log holds it sealed. It is null if the type has none.
	Personal json.RawMessage `json:"personal"`
}

func readGolden(t testing.TB, eventType string) golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldenDir, eventType+".json"))
	if err != nil {
		t.Fatalf("every registered type has a golden file: %v", err)
	}

	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}

	if string(g.Personal) == "null" {
		g.Personal = nil
	}
	return g
}

func opens(plain []byte) domain.Opener {
	return func() ([]byte, domain.PersonalState, error) {
		if plain == nil {
			return nil, domain.Absent, nil
		}
		return plain, domain.Open, nil
	}
}

func state(s domain.PersonalState) domain.Opener {
	return func() ([]byte, domain.PersonalState, error) { return nil, s, nil }
}

func mustEncode(t testing.TB, e domain.Event) (payload, personal []byte) {
	t.Helper()
	payload, personal, err := domain.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return payload, personal
}

func mustDecode(t testing.TB, eventType string, payload []byte, open domain.Opener) domain.Event {
	t.Helper()
	e, err := domain.Decode(eventType, payload, open)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEveryRegisteredTypeHasAnExampleAndEveryExampleIsRegistered(t *testing.T) {
	t.Parallel()
	var have []string
	for _, e := range domaintest.Examples() {
		have = append(have, e.EventType())
	}
	slices.Sort(have)
	if diff := domaintest.Diff(domain.EventTypes(), have); diff != "" {
		t.Fatalf("examples of the event types (-registered +examples):\n%s", diff)
	}
}

func TestEveryExampleIsFilledInCompletely(t *testing.T) {
	t.Parallel()
	for _, e := range domaintest.Examples() {
		demandFilled(t, e.EventType(), reflect.ValueOf(e).Elem())
	}
}

// An event needs no example of its own: otherwise it gets this one.
func TestAnEventOfEveryTypeCanBeFilledIn(t *testing.T) {
	t.Parallel()
	for _, eventType := range domain.EventTypes() {
		want := domaintest.Filled(eventType)
		demandFilled(t, eventType, reflect.ValueOf(want).Elem())

		payload, personal := mustEncode(t, want)
		got := mustDecode(t, eventType, payload, opens(personal))
		if diff := domaintest.Diff(want, got); diff != "" {
			t.Errorf("%s loses something (-filled +decoded):\n%s", eventType, diff)
		}
	}
}

// demandFilled fails for each zero field, so that a field added later cannot be missing
// from the golden files.
func demandFilled(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	switch {
	case v.Kind() != reflect.Struct && v.IsZero():
		t.Errorf("%s is empty in the example", path)
	case v.Kind() == reflect.Pointer:
		demandFilled(t, path, v.Elem())
	case v.Kind() == reflect.Struct && v.Type().PkgPath() != "time":
		for i := range v.NumField() {
			demandFilled(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case v.Kind() == reflect.Struct && v.IsZero():
		t.Errorf("%s is no instant in the example", path)
	}
}

func TestAnUncountedTenantMismatchHappenedOnce(t *testing.T) {
	t.Parallel()
	was := []byte(`{"route":"GET /api/v1/users/me","named":"019c0000-0000-7000-8000-000000010002"}`)
	want := &domain.TenantMismatch{Route: "GET /api/v1/users/me", Named: domain.TenantID{UUID: domaintest.ID(0x1, 2)}}

	if diff := domaintest.Diff(want, mustDecode(t, want.EventType(), was, nil)); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	if payload, _ := mustEncode(t, want); !bytes.Equal(payload, was) {
		t.Errorf("encoded %s, want %s", payload, was)
	}
}

func TestGoldenEventsAreEncodedByteForByteAndDecodedWithoutLoss(t *testing.T) {
	t.Parallel()
	for _, want := range domaintest.Examples() {
		t.Run(want.EventType(), func(t *testing.T) {
			t.Parallel()
			payload, personal := mustEncode(t, want)
			if *update {
				writeGolden(t, want.EventType(), payload, personal)
			}

			g := readGolden(t, want.EventType())
			if !bytes.Equal(payload, g.Payload) {
				t.Errorf("the wire form changed: this is a new version of the event, so a new type\nfile: %s\nnow:  %s",
					g.Payload, payload)
			}
			if !bytes.Equal(personal, g.Personal) {
				t.Errorf("the personal part changed: this is a new version of the event, so a new type\nfile: "+
					"%s\nnow:  %s", g.Personal, personal)
			}

			got := mustDecode(t, want.EventType(), g.Payload, opens(g.Personal))
			if diff := domaintest.Diff(want, got); diff != "" {
				t.Errorf("decoding loses something (-example +decoded):\n%s", diff)
			}
			if domain.HasPersonal(got) != (g.Personal != nil) {
				t.Error("an event with a personal part needs its subject's key, any other does not")
			}
			if got.EventType() != want.EventType() {
				t.Errorf("decoded as %s", got.EventType())
			}
		})
	}
}

func writeGolden(t *testing.T, eventType string, payload, personal []byte) {
	t.Helper()
	if personal == nil {
		personal = []byte("null")
	}
	text := fmt.Sprintf("{\n\"payload\": %s,\n\"personal\": %s\n}\n", payload, personal)
	if err := os.WriteFile(filepath.Join(goldenDir, eventType+".json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Logs made before these fields existed hold the events without them: they are read, and
// sealed again, as they are.
func TestAnEventOlderThanItsOptionalFieldsStaysTheSameOnTheWire(t *testing.T) {
	t.Parallel()
	const reason = `{"reason":"too many"}`
	for eventType, payload := range map[string]string{
		"consent.withdrawn.v1": `{"consent_id":"019c0000-0000-7000-8000-0000000c0001","purpose":"newsletter",` +
			`"given_at":"2026-05-04T14:05:00Z","recorded_by":"self"}`,
		"rights.request_lodged.v1": `{"request_id":"019c0000-0000-7000-8000-0000000a0001","kind":"access",` +
			`"lodged_by":"self","due_on":"2026-04-07"}`,
		"rights.request_fulfilled.v1": `{"request_id":"019c0000-0000-7000-8000-000000010002","kind":"access"}`,
		"purpose.notice_published.v1": `{"code":"newsletter","notice_version":1,"texts":{"en":"x"},` +
			`"sha256":{"en":"y"}}`,
		"consent.granted.v1": `{"consent_id":"019c0000-0000-7000-8000-0000000c0001","purpose":"newsletter",` +
			`"notice_version":1,"wording":"x","sha256":"y","language":"en","channel":"web","recorded_by":"self",` +
			`"given_by":"self","basis":"consent"}`,
	} {
		var plain []byte
		if eventType == "consent.withdrawn.v1" {
			plain = []byte(reason)
		}

		again, personal := mustEncode(t, mustDecode(t, eventType, []byte(payload), opens(plain)))
		if string(again) != payload || !bytes.Equal(personal, plain) {
			t.Errorf("%s became %s with %s", payload, again, personal)
		}
	}
}

func TestEveryGoldenFileIsOfARegisteredType(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir(goldenDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok || !slices.Contains(domain.EventTypes(), name) {
			t.Errorf("%s/%s: a released event type is never removed", goldenDir, f.Name())
		}
	}
}

// source parses the package's own files, without tests.
func source(t *testing.T) []*ast.File {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}

	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}

	if len(files) == 0 {
		t.Fatal("no source found: this test checks nothing")
	}
	return files
}

// declaredEvents finds every EventType method: event struct -> type name.
func declaredEvents(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, f := range source(t) {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || fn.Name.Name != "EventType" {
				continue
			}
			star, ok := fn.Recv.List[0].Type.(*ast.StarExpr)
			if !ok {
				t.Fatal("events are pointers: an EventType method has a value receiver")
			}

			receiver := star.X.(*ast.Ident).Name //nolint:forcetypeassert // a receiver's base type is a name
			ret, ok := fn.Body.List[0].(*ast.ReturnStmt)
			if !ok {
				t.Fatalf("%s.EventType returns a literal", receiver)
			}
			lit, ok := ret.Results[0].(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s.EventType returns a literal", receiver)
			}

			name, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			found[receiver] = name
		}
	}
	return found
}

func TestEveryEventStructIsRegisteredUnderItsOwnName(t *testing.T) {
	t.Parallel()
	declared := declaredEvents(t)
	if len(declared) != len(domain.EventTypes()) {
		t.Errorf("%d structs have an EventType method, %d types are registered", len(declared),
			len(domain.EventTypes()))
	}

	for name, eventType := range declared {
		e, err := domain.Decode(eventType, []byte("{}"), nil)
		if err != nil {
			t.Errorf("%s is not registered: %v", name, err)
			continue
		}
		if got := reflect.TypeOf(e).Elem().Name(); got != name {
			t.Errorf("%s is registered as %s, not as %s", eventType, got, name)
		}
	}
}

func TestEveryEventTypeIsNamedWithAVersion(t *testing.T) {
	t.Parallel()
	for _, name := range domain.EventTypes() {
		area, rest, _ := strings.Cut(name, ".")
		what, version, _ := strings.Cut(rest, ".")
		if area == "" || what == "" || !strings.HasPrefix(version, "v") || strings.ToLower(name) != name {
			t.Errorf("%q is not area.what.vN", name)
		}
	}
}

func TestEveryExportedFieldOfAnEventHasAWireNameOrIsSealed(t *testing.T) {
	t.Parallel()
	for _, e := range domaintest.Examples() {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(e).Elem()) {
			tag := f.Tag.Get("json")
			sealed := strings.HasPrefix(f.Type.Name(), "Personal[")
			if sealed != (tag == "-") || (tag == "" && !f.Anonymous) {
				t.Errorf("%s.%s has the tag %q", e.EventType(), f.Name, tag)
			}
		}
	}
}

// marked replaces every text with a mark that occurs nowhere else.
func marked(v any, n *int) any {
	switch v := v.(type) {
	case string:
		*n++
		return "MARK-" + strconv.Itoa(*n) + "-KRAM"
	case map[string]any:
		for k := range v {
			v[k] = marked(v[k], n)
		}
	case []any:
		for i := range v {
			v[i] = marked(v[i], n)
		}
	}
	return v
}

func TestNothingPersonalEntersThePayload(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, eventType := range domain.EventTypes() {
		g := readGolden(t, eventType)
		if declared := declaresPersonal(mustDecode(t, eventType, g.Payload, nil)); declared != (g.Personal != nil) {
			t.Errorf("%s: a personal part is declared: %t; its golden file is otherwise", eventType, declared)
		}
		if g.Personal == nil {
			continue
		}

		checked++
		var personal any
		if err := json.Unmarshal(g.Personal, &personal); err != nil {
			t.Fatal(err)
		}
		marks := 0
		plain, err := json.Marshal(marked(personal, &marks))
		if err != nil {
			t.Fatal(err)
		}

		payload, sealed := mustEncode(t, mustDecode(t, eventType, g.Payload, opens(plain)))
		if bytes.Contains(payload, []byte("MARK-")) || !bytes.Equal(payload, g.Payload) {
			t.Errorf("%s: what is personal shows in the payload %s", eventType, payload)
		}
		if got := bytes.Count(sealed, []byte("-KRAM")); marks == 0 || got != marks {
			t.Errorf("%s: %d of %d personal texts are sealed", eventType, got, marks)
		}
	}

	if checked < 12 {
		t.Errorf("only %d types have a personal part: user.registered, .profile_changed, .email_changed, consent.*, "+
			"rights.* and personal_data.read do", checked)
	}
}

// declaresPersonal reports whether an event has a field for a personal part, even an
// embedded one.
func declaresPersonal(e domain.Event) bool {
	return slices.ContainsFunc(reflect.VisibleFields(reflect.TypeOf(e).Elem()), func(f reflect.StructField) bool {
		return reflect.PointerTo(f.Type).Implements(reflect.TypeFor[domain.Part]())
	})
}

func TestAPersonalPartThatCannotBeReadStaysSo(t *testing.T) {
	t.Parallel()
	for _, eventType := range domain.EventTypes() {
		g := readGolden(t, eventType)
		for _, s := range []domain.PersonalState{domain.Absent, domain.Erased, domain.Withheld} {
			e := mustDecode(t, eventType, g.Payload, state(s))
			payload, personal := mustEncode(t, e)
			if personal != nil || !bytes.Equal(payload, g.Payload) {
				t.Errorf("%s, state %d: payload %s, personal part %s", eventType, s, payload, personal)
			}
			if domain.HasPersonal(e) {
				t.Errorf("%s, state %d: a part that cannot be read needs no key", eventType, s)
			}
			if got, ok := personalState(e); ok && got != s {
				t.Errorf("%s: state is %d, want %d", eventType, got, s)
			}
		}
	}
}

// personalState returns the state of an event's personal part by its kind.
func personalState(e domain.Event) (domain.PersonalState, bool) {
	switch e := e.(type) {
	case *domain.UserRegistered:
		return e.Person.State(), true
	case *domain.UserProfileChanged:
		return e.Person.State(), true
	case *domain.UserEmailChanged:
		return e.Email.State(), true
	case *domain.ConsentGranted:
		return e.Private.State(), true
	case *domain.ConsentRefused:
		return e.Private.State(), true
	case *domain.ConsentWithdrawn:
		return e.Private.State(), true
	}
	return domain.Absent, false
}

// An older program may have stored a personal part: every fold accepts every event in
// every state, even out of place.
func TestEveryFoldAcceptsEveryEventInEveryState(t *testing.T) {
	t.Parallel()
	at := domaintest.Clock("2026-03-06")
	for _, eventType := range domain.EventTypes() {
		g := readGolden(t, eventType)
		for _, open := range []domain.Opener{
			nil, opens(g.Personal), opens([]byte("{}")), opens([]byte("null")),
			state(domain.Absent), state(domain.Erased), state(domain.Withheld),
		} {
			for _, payload := range [][]byte{g.Payload, []byte("{}"), []byte("null")} {
				r := domain.Recorded{
					Position: 1, Stream: domain.UserOf(domaintest.Thandi()), Version: 1,
					RecordedAt: at, EffectiveAt: at, Event: mustDecode(t, eventType, payload, open),
				}
				foldEverywhere(r)
				r.Event = &domain.Void{}
				foldEverywhere(r)
			}
		}
	}
}

func foldEverywhere(r domain.Recorded) {
	rs := []domain.Recorded{r, r}
	domain.Fold[domain.Municipality](rs)
	domain.Fold[domain.User](rs)
	domain.Fold[domain.Purpose](rs)

	c := domain.ConsentsAt(rs, r.RecordedAt, r.RecordedAt)
	c.Check("newsletter")
	c.InForce("newsletter")

	domain.RecordOf(r.Event, r.Stream)
	domain.EffectiveOf(r.Event)
}

func TestAnUnknownTypeOrVersionIsAnError(t *testing.T) {
	t.Parallel()
	for _, eventType := range []string{
		"", "consent.granted", "consent.granted.v2", "Consent.Granted.v1", "consent.granted.v1 ",
	} {
		_, err := domain.Decode(eventType, []byte("{}"), nil)
		unknown, ok := err.(*domain.UnknownEventError) //nolint:errorlint // the type itself is promised
		if !ok || unknown.Type != eventType {
			t.Errorf("decoding %q: %v", eventType, err)
		}
	}
	if _, _, err := domain.Encode(unregistered{}); err == nil {
		t.Error("an event that is not registered was encoded")
	}
}

type unregistered struct{}

func (unregistered) EventType() string { return "weather.changed.v1" }

func TestWhatCannotBeReadIsAnErrorThatKeepsItsCause(t *testing.T) {
	t.Parallel()
	const granted = "consent.granted.v1"
	if _, err := domain.Decode(granted, []byte(`{"notice_version":"one"}`), nil); err == nil ||
		!strings.Contains(err.Error(), granted) {
		t.Errorf("a broken payload: %v", err)
	}
	if _, err := domain.Decode(granted, []byte(`{}`), opens([]byte(`[`))); err == nil ||
		!strings.Contains(err.Error(), granted) {
		t.Errorf("a broken personal part: %v", err)
	}

	failing := func() ([]byte, domain.PersonalState, error) { return nil, domain.Open, fs.ErrPermission }
	if _, err := domain.Decode(granted, []byte(`{}`), failing); err == nil ||
		!strings.Contains(err.Error(), fs.ErrPermission.Error()) {
		t.Errorf("a personal part that cannot be opened: %v", err)
	}
	if _, err := domain.Decode("user.erased.v1", []byte(`{}`), failing); err != nil {
		t.Errorf("an event without a personal part opens nothing: %v", err)
	}
}
