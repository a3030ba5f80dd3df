package http

import (
	"bytes"
	"embed"
	"html/template"
	"time"

	"github.com/salga-trust/engine/domain"
)

//go:embed my_data.html
var pages embed.FS

// myDataPage is the template of the page.
var myDataPage = template.Must(template.New("my_data.html").Funcs(template.FuncMap{ //nolint:gochecknoglobals // parsed once, never written
	"when": localTime,
	"maybe": func(t *instant) string {
		if t == nil {
			return ""
		}
		return localTime(*t)
	},
}).ParseFS(pages, "my_data.html"))

// localTime is an instant as a clock in South Africa showed it.
func localTime(t instant) string {
	return time.Time(t).In(time.FixedZone("SAST", 2*60*60)).Format("2006-01-02 15:04")
}

// renderMyData makes the page in a language. Everything of the person is escaped by the template.
func renderMyData(data myDataBody, language domain.Language) ([]byte, error) {
	var out bytes.Buffer
	err := myDataPage.Execute(&out, struct {
		Language domain.Language
		Words    map[string]string
		Data     myDataBody
	}{language, words(language), data})
	return out.Bytes(), err
}

// words gives the page's texts in a language. The isiZulu and Afrikaans ones need a mother-tongue reader.
func words(language domain.Language) map[string]string {
	texts := map[domain.Language]map[string]string{
		domain.English: {
			"title": "Your personal data", "made": "Made", "position": "Position in the log", "profile": "Your details", "name": "Name",
			"email": "E-mail address", "phone": "Phone", "language": "Language", "municipality": "Municipality", "role": "Role", "since": "Registered",
			"consents": "What you agreed to", "purpose": "Purpose", "words": "In these words", "decision": "Your decision", "yes": "agreed", "no": "refused",
			"withdrawn": "taken back", "given": "You said so", "recorded": "Recorded", "channel": "Channel", "reads": "Who looked at your data",
			"who": "Who", "operator": "an operator", "route": "How", "fields": "What", "requests": "What you asked for", "kind": "Kind", "status": "Status",
			"due": "Due on", "holds": "Why some of it must be kept", "reason": "Reason", "activity": "What you did, and what was done about you",
			"table": "Where", "operation": "What happened", "you": "you", "none": "Nothing.",
			"rights": "You may ask that this is corrected or erased, object, and complain to the Information Regulator (POPIA s18, s24, s74).",
		},
		domain.Zulu: {
			"title": "Imininingwane yakho yomuntu siqu", "made": "Kwenziwe", "position": "Indawo kulogi", "profile": "Imininingwane yakho", "name": "Igama",
			"email": "Ikheli le-imeyili", "phone": "Ucingo", "language": "Ulimi", "municipality": "Umasipala", "role": "Indima", "since": "Ubhaliswe",
			"consents": "Lokho ovume kukho", "purpose": "Inhloso", "words": "Ngalawa mazwi", "decision": "Isinqumo sakho", "yes": "uvumile", "no": "unqabile",
			"withdrawn": "uhoxisile", "given": "Ukushilo", "recorded": "Kurekhodiwe", "channel": "Umzila", "reads": "Obani ababheke imininingwane yakho",
			"who": "Ubani", "operator": "umqhubi wohlelo", "route": "Kanjani", "fields": "Ini", "requests": "Okucelile", "kind": "Uhlobo", "status": "Isimo",
			"due": "Kumele ngo", "holds": "Kungani okunye kumele kugcinwe", "reason": "Isizathu", "activity": "Okwenzile, nokwenziwe ngawe",
			"table": "Kuphi", "operation": "Kwenzekeni", "you": "wena", "none": "Lutho.",
			"rights": "Ungacela ukuthi lokhu kulungiswe noma kususwe, uphikise, futhi ukhalaze kuMlawuli Wolwazi (POPIA s18, s24, s74).",
		},
		domain.Afrikaans: {
			"title": "U persoonlike data", "made": "Gemaak", "position": "Plek in die logboek", "profile": "U besonderhede", "name": "Naam",
			"email": "E-posadres", "phone": "Telefoon", "language": "Taal", "municipality": "Munisipaliteit", "role": "Rol", "since": "Geregistreer",
			"consents": "Waartoe u ingestem het", "purpose": "Doel", "words": "In hierdie woorde", "decision": "U besluit", "yes": "ingestem", "no": "geweier",
			"withdrawn": "teruggetrek", "given": "U het dit gesê", "recorded": "Aangeteken", "channel": "Kanaal", "reads": "Wie na u data gekyk het",
			"who": "Wie", "operator": "'n operateur", "route": "Hoe", "fields": "Wat", "requests": "Wat u gevra het", "kind": "Soort", "status": "Status",
			"due": "Verskuldig op", "holds": "Waarom party daarvan gehou moet word", "reason": "Rede", "activity": "Wat u gedoen het, en wat oor u gedoen is",
			"table": "Waar", "operation": "Wat gebeur het", "you": "u", "none": "Niks.",
			"rights": "U mag vra dat dit reggestel of uitgewis word, beswaar maak, en by die Inligtingsreguleerder kla (POPIA s18, s24, s74).",
		},
	}
	return texts[language]
}
