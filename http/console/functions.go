package console

import (
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // for machines without time zones
	"unicode"
)

// functions are what templates may call.
func (t texts) functions(lang Lang) template.FuncMap {
	words := words{lang: lang, texts: t[lang]}
	return template.FuncMap{
		"t":        words.text,
		"has":      words.has,
		"word":     words.word,
		"purpose":  words.purpose,
		"known":    words.known,
		"when":     words.when,
		"day":      words.day,
		"asset":    assetLink,
		"langs":    Langs,
		"short":    short,
		"plain":    plain,
		"link":     link,
		"list":     func(items ...any) []any { return items },
		"dict":     dict,
		"daymonth": words.dayOfMonth,
		"moment":   words.moment,
		"zone":     formField,
		"percent":  percent,
		"next":     func(i int) int { return i + 1 },
	}
}

// words says things in one language.
type words struct {
	lang  Lang
	texts map[string]string
}

// text returns the text of a key. A key without a text is a fault of ours.
func (w words) text(key string, args ...any) (string, error) {
	text, is := w.texts[key]
	if !is {
		return "", fmt.Errorf("console: there is no text %s", key)
	}
	if len(args) == 0 {
		return text, nil
	}

	plainly := make([]any, len(args))
	for i, arg := range args {
		plainly[i] = plain(arg)
	}
	return fmt.Sprintf(text, plainly...), nil
}

func (w words) has(key string) bool {
	_, is := w.texts[key]
	return is
}

// word returns the text of a code of some group, such as a status. A code that is newer
// than the texts is at least written like a word.
func (w words) word(group string, code any) string {
	name := plain(code)
	if text, is := w.texts[group+"_"+name]; is {
		return text
	}
	return strings.ReplaceAll(strings.TrimSuffix(name, ".v1"), "_", " ")
}

// words says things in the page's language.
func (v *Visit) words() (words, error) {
	all, err := vocabulary()
	return words{lang: v.Lang, texts: all[v.Lang]}, err
}

// purpose returns the name of a purpose. Only SALGA's have one; that of a municipality's
// own is made of the words of its code.
func (w words) purpose(code any) string {
	name := []rune(w.word("purpose_name", code))
	if len(name) > 0 {
		name[0] = unicode.ToUpper(name[0])
	}
	return string(name)
}

// known returns the text of a value that may be a code of some group, and the value
// itself if the group has no such code.
func (w words) known(group, value string) string {
	if text, is := w.texts[group+"_"+value]; is {
		return text
	}
	return value
}

// when writes an instant as a clock in South Africa showed it.
func (w words) when(at any) string {
	local, is := inSouthAfrica(at)
	if !is {
		return ""
	}
	return w.date(local) + local.Format(", 15:04")
}

// moment is when, to the second.
func (w words) moment(at any) string {
	local, is := inSouthAfrica(at)
	if !is {
		return ""
	}
	return w.date(local) + local.Format(", 15:04:05")
}

// day writes the date of an instant in South Africa, or a date.
func (w words) day(at any) string {
	if text, is := at.(string); is {
		parsed, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return text
		}
		return w.date(parsed)
	}
	local, is := inSouthAfrica(at)
	if !is {
		return ""
	}
	return w.date(local)
}

// dayOfMonth writes a date without its year, where there is little room.
func (w words) dayOfMonth(date string) string {
	at, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return date
	}
	month := []rune(w.texts[fmt.Sprintf("month_%d", at.Month())])
	return fmt.Sprintf("%d %s", at.Day(), string(month[:min(len(month), 3)]))
}

func (w words) date(at time.Time) string {
	return fmt.Sprintf("%d %s %d", at.Day(), w.texts[fmt.Sprintf("month_%d", at.Month())], at.Year())
}

// southAfrica has had no summer time since 1944. It is looked up once: that reads a file.
//
//nolint:gochecknoglobals // read once, never written
var southAfrica = sync.OnceValue(func() *time.Location {
	zone, err := time.LoadLocation("Africa/Johannesburg")
	if err != nil {
		return time.FixedZone("SAST", 2*60*60)
	}
	return zone
})

func inSouthAfrica(at any) (time.Time, bool) {
	switch at := at.(type) {
	case time.Time:
		return at.In(southAfrica()), !at.IsZero()
	case *time.Time:
		if at == nil {
			return time.Time{}, false
		}
		return at.In(southAfrica()), !at.IsZero()
	default:
		return time.Time{}, false
	}
}

// fieldLayout is that of <input type="datetime-local">, in South African time.
const fieldLayout = "2006-01-02T15:04"

// formField writes an instant as the value of a form's field.
func formField(at any) string {
	local, is := inSouthAfrica(at)
	if !is {
		return ""
	}
	return local.Format(fieldLayout)
}

// instantIn reads a field that holds an instant: as <input type="datetime-local"> sends
// it, a date alone (the end of that day, so that all of it counts), or as the API writes
// it.
func instantIn(text string) (time.Time, bool) {
	for _, layout := range []string{fieldLayout, "2006-01-02T15:04:05", time.DateOnly + " 15:04"} {
		if at, err := time.ParseInLocation(layout, text, southAfrica()); err == nil {
			return at, true
		}
	}
	if at, err := time.ParseInLocation(time.DateOnly, text, southAfrica()); err == nil {
		return at.AddDate(0, 0, 1).Add(-time.Microsecond), true
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	return at, err == nil
}

// plain returns what a pointer points to; nothing, for nil.
func plain(value any) string {
	v := reflect.ValueOf(value)
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	if !v.IsValid() {
		return ""
	}
	return fmt.Sprint(v.Interface())
}

// short returns enough of an id to tell two apart, and to read out over the phone.
func short(id any) string {
	text := plain(id)
	return text[max(0, len(text)-8):]
}

// link returns an address with the given pairs of parameters; empty ones are left out.
func link(path string, pairs ...any) string {
	query := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := plain(pairs[i+1]); value != "" {
			query.Set(plain(pairs[i]), value)
		}
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// dict makes a map of pairs, for parts that need several values.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("console: dict takes pairs")
	}
	made := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		made[plain(pairs[i])] = pairs[i+1]
	}
	return made, nil
}

// percent returns a share in words, without pretending to more digits than it has.
func percent(part, whole int64) string {
	if whole == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*float64(part)/float64(whole))
}
