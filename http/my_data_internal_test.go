package http

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/projections/reports"
)

func TestEveryWordIsInEveryLanguage(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(wordList) {
		if columns := strings.Split(strings.TrimSpace(line), " | "); len(columns) != 4 {
			t.Errorf("%q has %d columns, want 4", line, len(columns))
		}
	}

	for _, event := range domain.EventTypes() {
		if vocabulary[domain.Zulu][event] == "" {
			t.Errorf("my_data_words.txt has no words for %s", event)
		}
	}
}

func TestThePagesLanguageIsTheOneAskedForThenThePersonsThenTheBrowsers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		asked PageLanguage
		mine  domain.Language
		want  domain.Language
	}{
		{PageLanguage{Lang: "af", Language: "en", Accepted: "zu"}, domain.Zulu, domain.Afrikaans},
		{PageLanguage{Language: "af"}, domain.Zulu, domain.Afrikaans},
		{PageLanguage{Accepted: "af"}, domain.Zulu, domain.Zulu},
		{PageLanguage{Accepted: "fr, af-ZA;q=0.8, en"}, "", domain.Afrikaans},
		{PageLanguage{Accepted: "fr"}, "", domain.English},
	} {
		if got := c.asked.of(domain.User{PreferredLanguage: c.mine}); got != c.want {
			t.Errorf("%+v of a person with %q: %s, want %s", c.asked, c.mine, got, c.want)
		}
	}
}

// hasWords demands words in every language for a code or the name of a field.
func hasWords(t *testing.T, code, from string) {
	t.Helper()
	for _, language := range domain.Languages() {
		of, isID := strings.CutSuffix(code, "_id")
		if vocabulary[language][code] == "" && (!isID || vocabulary[language][of] == "") {
			t.Errorf("my_data_words.txt has no word in %s for %q, of %s", language, code, from)
		}
	}
}

func TestEveryFieldAndCodeOfEveryEventHasWordsInEveryLanguage(t *testing.T) {
	t.Parallel()
	for _, e := range domaintest.Examples() {
		for _, c := range domain.ChangesOf(e) {
			hasWords(t, c.Field, e.EventType())
			for _, value := range []any{c.Old, c.New} {
				valueHasWords(t, c.Field, plainly(t, value), e.EventType())
			}
		}
	}
}

// textsOfConsole returns the keys of the texts of the pages.
func textsOfConsole(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("console/texts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no texts were found", err)
	}
	known := map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			key, _, _ := strings.Cut(line, " | ")
			known[key] = true
		}
	}
	return known
}

// The page of the audit log shows the same fields, in words of its own.
func TestTheAuditPageHasWordsForEveryFieldRecordAndEvent(t *testing.T) {
	t.Parallel()
	known := textsOfConsole(t)
	for _, e := range domaintest.Examples() {
		_, table := domain.OperationOf(e.EventType())
		keys := []string{"did_" + e.EventType(), "records_" + table}
		for _, c := range domain.ChangesOf(e) {
			keys = append(keys, "part_"+c.Field)
		}
		for _, key := range keys {
			if !known[key] {
				t.Errorf("console/texts has no %s, of %s", key, e.EventType())
			}
		}
	}
}

// plainly returns a value as the page reads it.
func plainly(t *testing.T, value any) (plain any) {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(encoded, &plain)
	}
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// valueHasWords demands words for the codes and names in a value. Every other text in it
// must be of a known kind.
func valueHasWords(t *testing.T, field string, value any, from string) {
	t.Helper()
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			valueHasWords(t, field, item, from)
		}
	case map[string]any:
		for name, item := range value {
			hasWords(t, name, from)
			if field != "texts" && field != "sha256" && field != "filter" {
				valueHasWords(t, name, item, from)
			}
		}
	case string:
		_, notAnInstant := time.Parse(time.RFC3339Nano, value)
		_, notADay := time.Parse(time.DateOnly, value)
		_, isID := parseID(value)

		resolved := slices.Contains([]string{"purpose", "municipality_code", "code"}, field)
		switch {
		case slices.Contains(codeFields(), field):
			hasWords(t, value, from+", "+field)
		case notAnInstant != nil && notADay != nil && !isID && !resolved && !slices.Contains(freeTexts(), field):
			t.Errorf("%s of %s, such as %q, is in neither codeFields nor freeTexts", field, from, value)
		}
	}
}

func TestEveryClosedValueHasWordsInEveryLanguage(t *testing.T) {
	t.Parallel()
	closed := []string{
		"Role", "Language", "Channel", "Basis", "RequestKind", "RequestStatus", "Ground", "Remnant", "Operation",
		"Scope", "Status",
	}
	found := 0

	inSources(t, "../domain", func(n ast.Node) {
		spec, is := n.(*ast.ValueSpec)
		if !is || len(spec.Values) != 1 {
			return
		}
		name, of := spec.Names[0].Name, ""
		if typed, is := spec.Type.(*ast.Ident); is {
			of = typed.Name
		}
		prefixed := slices.ContainsFunc([]string{"Cause", "Scope", "By", "Role"}, func(p string) bool {
			return strings.HasPrefix(name, p)
		})
		if value := literal(spec.Values[0]); value != "" && (slices.Contains(closed, of) || of == "" && prefixed) {
			hasWords(t, value, "domain."+name)
			found++
		}
	})

	if found < 50 {
		t.Errorf("found %d constants, want those of %v, causes, scopes and roles", found, closed)
	}

	for _, eventType := range domain.EventTypes() {
		operation, table := domain.OperationOf(eventType)
		hasWords(t, string(operation), eventType)
		hasWords(t, table, eventType)
	}
	for _, value := range slices.Concat(
		domain.Provinces(), []string{"A", "B", "C"}, []string{domain.PlatformRegistrationCode, "consents, profile"},
		// The causes of a failed sign-in.
		[]string{"password", "account_inactive", "municipality_inactive"},
		[]string{string(reports.MatchedSubject), string(reports.MatchedList)},
		[]string{"matched_filter", "sealed", "erased", "given"},
	) {
		hasWords(t, value, "a closed list")
	}
}

func TestEveryFilterAndGroupOfFieldsOfEveryReadHasWordsInEveryLanguage(t *testing.T) {
	t.Parallel()
	filters, groups := 0, 0
	known := textsOfConsole(t)
	isNamed := func(filter, from string) {
		hasWords(t, filter, from)
		if !known["part_"+filter] {
			t.Errorf("console/texts has no part_%s, %s", filter, from)
		}
	}
	for name := range (reports.ReplayQuery{}).Named() {
		isNamed(name, "the filter of an export")
	}

	inSources(t, ".", func(n ast.Node) {
		switch n := n.(type) {
		case *ast.FuncDecl:
			// Filters are made where a read is recorded, or in a method of the input.
			if n.Name.Name != "named" && !records(n) {
				return
			}
			ast.Inspect(n, func(n ast.Node) bool {
				if pair, is := n.(*ast.KeyValueExpr); is && literal(pair.Key) != "" {
					isNamed(literal(pair.Key), "a filter")
					filters++
				}
				return true
			})
		case *ast.CallExpr:
			if recording(n) && literal(n.Args[2]) != "" {
				hasWords(t, literal(n.Args[2]), "a group of fields")
				groups++
			}
		}
	})

	if filters < 15 || groups < 8 {
		t.Errorf("found %d names of filters and %d groups of fields", filters, groups)
	}
}

func TestEveryWordThatThePageUsesIsInEveryLanguage(t *testing.T) {
	t.Parallel()
	found := 0

	inSources(t, ".", func(n ast.Node) {
		call, is := n.(*ast.CallExpr)
		if !is {
			return
		}
		by, is := call.Fun.(*ast.SelectorExpr)
		if !is {
			return
		}
		if w, is := by.X.(*ast.Ident); !is || w.Name != "w" || by.Sel.Name != "of" && by.Sel.Name != "facts" {
			return
		}

		for i := 0; i < len(call.Args); i += 2 {
			if code := literal(call.Args[i]); code != "" {
				hasWords(t, code, "the page")
				found++
			}
		}
	})

	if found < 60 {
		t.Errorf("found %d words, want at least 60", found)
	}
}

// inSources visits every node of the sources in a folder, except tests.
func inSources(t *testing.T, folder string, visit func(ast.Node)) {
	t.Helper()
	names, err := fs.Glob(os.DirFS(folder), "*.go")
	if err != nil {
		t.Fatal(err)
	}

	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}

		file, err := parser.ParseFile(token.NewFileSet(), folder+"/"+name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool { visit(n); return true })
	}
}

// literal returns the text of a string literal, empty for anything else.
func literal(of ast.Expr) string {
	if text, is := of.(*ast.BasicLit); is && text.Kind == token.STRING {
		if value, err := strconv.Unquote(text.Value); err == nil {
			return value
		}
	}
	return ""
}

// recording tells whether a call records a read.
func recording(call *ast.CallExpr) bool {
	of, is := call.Fun.(*ast.SelectorExpr)
	return is && slices.Contains([]string{"recordRead", "recordReadOfAll", "recordHourly"}, of.Sel.Name)
}

// records tells whether a function records a read.
func records(f *ast.FuncDecl) (does bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, is := n.(*ast.CallExpr)
		does = does || is && recording(call)
		return true
	})
	return does
}

// activityPage returns the page, in Afrikaans, of a person with this activity.
func activityPage(t *testing.T, activity ...auditBody) string {
	t.Helper()
	page, err := renderMyData(myDataBody{Activity: activity}, domain.Afrikaans,
		map[string]string{"sms": "Om SMS'e te stuur."}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestAValueOnThePageThatReadsLikeAStateOrACodeIsPrintedAsItIs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"given", "sealed", "erased", "admin", "2026-01-01", "", "yes", uuid.NewString()} {
		for _, field := range []string{"full_name", "reason", "details", "relation", "note"} {
			page := activityPage(t, auditBody{EventType: "user.registered.v1", Changes: map[string]changeBody{
				field: {New: name, Personal: stateOf(domain.Open)},
			}})
			if name != "" && !strings.Contains(page, "<dd>"+name+"</dd>") {
				t.Errorf("%s %q is missing: %s", field, name, page)
			}
		}
	}

	agent := activityPage(t, auditBody{
		EventType: "session.started.v1", IPAddress: new("192.0.2.1"), UserAgent: new("sealed"),
	})
	if !strings.Contains(agent, "<dd>sealed</dd>") {
		t.Errorf("a program that calls itself sealed is missing: %s", agent)
	}
}

func TestTheStateOfAHiddenValueIsOnThePageOnce(t *testing.T) {
	t.Parallel()
	for state, word := range map[domain.PersonalState]string{domain.Withheld: "sealed", domain.Erased: "erased"} {
		hidden := stateOf(state)
		page := activityPage(t, auditBody{
			EventType: "user.email_changed.v1", IPAddress: new(string(hidden)), UserAgent: new(string(hidden)),
			Changes: map[string]changeBody{"email": {Old: hidden, New: hidden, Personal: hidden}},
		})

		want := "<dd>" + vocabulary[domain.Afrikaans][word] + "</dd>"
		if n := strings.Count(page, want); n != 3 {
			t.Errorf("%s: %q is there %d times, want 3, for the e-mail address, the network and the program: %s",
				hidden, want, n, page)
		}
	}
}

func TestTheFilterOfAReadIsOnThePageInWords(t *testing.T) {
	t.Parallel()
	filter := map[string]string{
		"q": "given", "operation": "CREATE", "table_name": "users", "from": "2026-03-06T06:00:00Z",
		"is_active": "true", "purpose": "sms", "role": "field_worker", "position": "1043",
	}
	page := activityPage(t, auditBody{
		EventType: "personal_data.read.v1", Changes: map[string]changeBody{"filter": {New: filter}},
	})

	for _, text := range []string{
		"Deel van die naam of e-posadres: Gegee", "Wat gedoen is: Geskep", "Soort rekord: Rekeninge",
		"Vanaf: 6 Maart 2026, 08:00:00 SAST", "Rekening is oop: Ja",
		"Doel: Om SMS&#39;e te stuur.", "Rol: Veldwerker", "Plek in die logboek: 1043",
	} {
		if !strings.Contains(page, text) {
			t.Errorf("%q is missing: %s", text, page)
		}
	}
}

func TestTheTextsOfANoticeAreOnThePageLetterByLetter(t *testing.T) {
	t.Parallel()
	page := activityPage(t, auditBody{EventType: "purpose.notice_published.v1", Changes: map[string]changeBody{
		"code":  {New: "sms"},
		"texts": {New: map[domain.Language]string{domain.English: "to send_you SMS. Often."}},
	}})

	for _, text := range []string{"Engels: to send_you SMS. Often.", "<dd>Om SMS&#39;e te stuur.</dd>"} {
		if !strings.Contains(page, text) {
			t.Errorf("%q is missing: %s", text, page)
		}
	}
}
