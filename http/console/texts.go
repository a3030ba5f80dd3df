package console

import (
	"embed"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/language"
)

// Lang is a language of the pages.
type Lang string

// The languages, the first of which is for whoever understands none of them.
const (
	English   Lang = "en"
	Zulu      Lang = "zu"
	Afrikaans Lang = "af"
)

// Langs lists the languages in the order of the columns of the texts.
func Langs() []Lang { return []Lang{English, Zulu, Afrikaans} }

// known returns a language of ours, or none.
func known(text string) Lang {
	for _, lang := range Langs() {
		if text == string(lang) {
			return lang
		}
	}
	return ""
}

// languageOf returns the language of a page: that in its address, then the session's,
// which began with the account's, then what the browser asks for.
func languageOf(r *http.Request, chosen Lang) Lang {
	if lang := known(r.URL.Query().Get("lang")); lang != "" {
		return lang
	}
	if chosen != "" {
		return chosen
	}

	asked, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil || len(asked) == 0 {
		return English
	}
	matcher := language.NewMatcher([]language.Tag{language.English, language.Zulu, language.Afrikaans})
	_, index, _ := matcher.Match(asked...)
	return Langs()[index]
}

//go:embed texts/*.txt
var textFiles embed.FS

// texts holds every text by language and key.
type texts map[Lang]map[string]string

// vocabulary reads the files of texts once: lines of a key and its texts in English,
// isiZulu and Afrikaans, separated by " | ". A "%s" in a text stands for what the page
// puts there; "#" begins a comment.
//
//nolint:gochecknoglobals // read once, never written
var vocabulary = sync.OnceValues(func() (texts, error) {
	all := texts{English: {}, Zulu: {}, Afrikaans: {}}
	files, err := textFiles.ReadDir("texts")
	if err != nil {
		return nil, err
	}

	for _, file := range files {
		content, err := textFiles.ReadFile("texts/" + file.Name())
		if err != nil {
			return nil, err
		}
		number := 0
		for line := range strings.Lines(string(content)) {
			number++
			if err := all.add(strings.TrimSpace(line)); err != nil {
				return nil, fmt.Errorf("console: texts/%s, line %d: %w", file.Name(), number, err)
			}
		}
	}
	return all, nil
})

func (t texts) add(line string) error {
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}

	columns := strings.Split(line, "|")
	if len(columns) != 1+len(Langs()) {
		return fmt.Errorf("%d columns instead of a key and %d texts", len(columns), len(Langs()))
	}
	for i := range columns {
		columns[i] = strings.TrimSpace(columns[i])
		if columns[i] == "" {
			return fmt.Errorf("%s: a text is missing", columns[0])
		}
	}

	for i, lang := range Langs() {
		if _, twice := t[lang][columns[0]]; twice {
			return fmt.Errorf("%s: there are two such lines", columns[0])
		}
		t[lang][columns[0]] = columns[1+i]
	}
	return nil
}

// isText reports whether all of a form is text that the database can hold.
func isText(form url.Values) bool {
	for name, values := range form {
		for _, value := range append(values, name) {
			if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
				return false
			}
		}
	}
	return true
}
