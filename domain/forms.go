package domain

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// This file defines the canonical form of each kind of text. Whatever stores, claims,
// limits, compares or searches a text takes it in this form, so that two spellings of one
// thing are one thing. The form of a form is itself. Text that is not of its kind keeps a
// stable form too, for the checks of Faults to refuse; what is Oversize stays as it is.
//
//	e-mail address        CanonicalEmail; in answers ShownEmail
//	phone number          CanonicalPhone
//	name                  TidyName; to compare names CanonicalName
//	password              CanonicalPassword
//	municipality's code   CanonicalMunicipalityCode, also for districts
//	purpose's code        CanonicalPurposeCode
//	free text             TidyText: reasons, notes, references, wordings

// maxSpelled bounds, in bytes, what is examined as an e-mail address: a character takes
// at most four.
const maxSpelled = 4 * MaxEmail

// typed is how many bytes a character may take as typed: four, three times as many in
// Unicode form D, and some for blanks that are trimmed.
const typed = 16

// Oversize reports, from the number of bytes alone, that a text cannot become one of so
// many characters. It comes before any tidying, whose cost grows with the text: oversize
// text stays as it is, for the checks of Faults to refuse.
func Oversize(text string, characters int) bool { return len(text) > typed*characters }

// CanonicalEmail trims an address, puts it in Unicode form C and lower case, and its
// domain in A-labels (UTS 46).
func CanonicalEmail(email string) string {
	email = spelledEmail(email)
	if len(email) > maxSpelled { // work on a domain grows with the square of its length
		return email
	}

	local, host, found := cutEmail(email)
	if ascii, ok := asciiHost(host); found && ok {
		return local + "@" + ascii
	}
	return email
}

// ShownEmail returns an address as people read it, with a domain of A-labels in Unicode.
// Everything else stays as it is, for the sake of addresses in the log that are older
// than the canonical form.
func ShownEmail(email string) string {
	local, host, found := cutEmail(email)
	if !found || len(email) > maxSpelled || !isASCII(host) || !strings.Contains(strings.ToLower(host), "xn--") {
		return email
	}

	shown, err := hosts().ToUnicode(host)
	if err != nil {
		return email
	}
	if back, ok := asciiHost(shown); !ok || back != strings.ToLower(host) { // another address
		return email
	}
	return local + "@" + shown
}

// EmailSpellings lists the values that an address may be claimed and found by: as it was
// given, in canonical form, and with the domain in Unicode. Releases before the canonical
// form keyed an address by the spelling they were given. Most addresses have one
// spelling; how many depends on the text alone, never on what is stored.
func EmailSpellings(email string) []string {
	canonical := CanonicalEmail(email)

	var spellings []string
	for _, s := range []string{spelledEmail(email), canonical, spelledEmail(ShownEmail(canonical))} {
		if !slices.Contains(spellings, s) {
			spellings = append(spellings, s)
		}
	}
	return spellings
}

// FormerEmail returns the form in which an address was claimed and found before domains
// had a canonical form.
func FormerEmail(email string) string { return spelledEmail(email) }

// FormerName returns the form in which a municipality's name was claimed before names had
// a canonical form.
func FormerName(name string) string { return strings.ToLower(strings.Join(strings.Fields(name), " ")) }

// spelledEmail returns the form that addresses were keyed by before domains had a
// canonical form.
func spelledEmail(email string) string {
	if Oversize(email, MaxEmail) {
		return email
	}
	return lower(strings.TrimSpace(email))
}

func cutEmail(email string) (local, host string, found bool) {
	at := strings.LastIndexByte(email, '@')
	if at < 0 {
		return email, "", false
	}
	return email[:at], email[at+1:], true
}

// asciiHost returns a domain in A-labels, if it is a domain and has only this form.
func asciiHost(host string) (string, bool) {
	ascii, err := hosts().ToASCII(host)
	if err != nil || !isASCII(ascii) {
		return "", false
	}

	shown, err := hosts().ToUnicode(ascii)
	if err != nil {
		return "", false
	}
	again, err := hosts().ToASCII(shown)
	return ascii, err == nil && again == ascii
}

// hosts processes domains by UTS 46, nontransitional. Hyphens in the third and fourth
// place are allowed, since some domains have them.
func hosts() *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(false), idna.VerifyDNSLength(true))
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII })
}

// phoneTyped matches a number as people write it, without letters or any sign of an
// extension.
var phoneTyped = regexp.MustCompile(`^\(?[+\x{FF0B}]?[\p{Nd}\p{Zs}()./\x{2010}-\x{2015}-]+$`)

// CanonicalPhone returns a number in E.164 form; without a country code it is South
// African. Its length alone does not make it valid: it must be of a range that its
// country's numbering plan assigns to subscribers. Anything else is returned as it came,
// trimmed.
func CanonicalPhone(phone string) string {
	if Oversize(phone, maxPhone) {
		return phone
	}
	if e164, valid := parsePhone(phone); valid {
		return e164
	}
	return strings.TrimSpace(phone)
}

// maxPhone is how many characters are examined as a phone number. E.164 has 15 digits;
// people put blanks, brackets and hyphens between them.
const maxPhone = 64

func parsePhone(phone string) (e164 string, valid bool) {
	if Oversize(phone, maxPhone) {
		return "", false
	}

	phone = strings.TrimSpace(phone)
	if !phoneTyped.MatchString(phone) {
		return "", false
	}

	n, err := phonenumbers.Parse(phone, "ZA")
	if err != nil || !phonenumbers.IsValidNumber(n) {
		return "", false
	}
	e164 = phonenumbers.Format(n, phonenumbers.E164)

	// The South African plan also has shorter numbers, for services.
	return e164, !strings.HasPrefix(e164, "+27") || len(e164) == len("+27")+9 && typedWhole(phone)
}

// typedWhole reports whether a South African number was typed as E.164 or in national
// form: nine digits after 27, a 0 between them only in brackets, or nine digits after a
// 0.
func typedWhole(phone string) bool {
	digits := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Nd, r) {
			return r
		}
		return -1
	}, strings.Replace(phone, "(0)", "", 1))

	n := utf8.RuneCountInString(digits)
	if strings.HasPrefix(phone, "+") || strings.HasPrefix(phone, "\uFF0B") {
		return n == len("27")+9
	}
	return n == len("0")+9 || n == len("27")+9 || n == len("0027")+9
}

// TidyName puts a name in Unicode form C, trims it and makes every run of blanks one.
func TidyName(name string) string { return tidyBlanks(name, MaxName) }

// tidyWording is TidyName for a text as long as a notice.
func tidyWording(text string) string { return tidyBlanks(text, MaxNotice) }

func tidyBlanks(text string, limit int) string {
	if Oversize(text, limit) {
		return text
	}
	return strings.Join(strings.Fields(norm.NFC.String(text)), " ")
}

// CanonicalName returns the form in which names are compared: letter case and joiners do
// not matter.
func CanonicalName(name string) string {
	if Oversize(name, MaxName) {
		return name
	}

	return TidyName(lower(strings.Map(func(r rune) rune {
		if isJoiner(r) {
			return -1
		}
		return r
	}, TidyName(name))))
}

// CanonicalPassword returns the form of a password that is hashed: Unicode form C,
// because keyboards differ in how they write "ë".
func CanonicalPassword(password string) string {
	if Oversize(password, MaxPassword) {
		return password
	}
	return norm.NFC.String(password)
}

// CanonicalMunicipalityCode trims a code and puts it in upper case. Letters outside ASCII
// stay, and are refused: some of them would otherwise become a letter of another code.
func CanonicalMunicipalityCode(code string) string {
	if Oversize(code, MaxMunicipalityCode) {
		return code
	}
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, strings.TrimSpace(code))
}

// CanonicalPurposeCode trims a code and puts it in lower case; letters outside ASCII
// stay.
func CanonicalPurposeCode(code string) string {
	if Oversize(code, MaxPurposeCode) {
		return code
	}
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, strings.TrimSpace(code))
}

// TidyText puts free text in Unicode form C, ends its lines with \n, makes tabs blanks,
// and trims it.
func TidyText(text string) string {
	if Oversize(text, MaxNotice) { // the longest there is
		return text
	}
	return strings.TrimSpace(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\t", " ").Replace(norm.NFC.String(text)))
}

// lower puts text in lower case. Form C before that keeps marks from counting as letters;
// form C after it restores the form.
func lower(text string) string { return norm.NFC.String(strings.ToLower(norm.NFC.String(text))) }

// IsBlank reports whether a text shows nothing.
func IsBlank(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsSpace(r) && !invisible(r) })
}

// invisible reports whether a character cannot be seen or known: control, format, private
// use and unassigned characters, those that Unicode says to ignore where they are not
// supported (Default_Ignorable_Code_Point), and two that are drawn as nothing.
func invisible(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Zs) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) ||
		r == '\u2800' || r == '\U0001d159'
}

// isJoiner reports whether a character is ZWNJ or ZWJ.
func isJoiner(r rune) bool { return r == '\u200c' || r == '\u200d' }

// joins reports whether the joiner at this place is between two letters of one script
// whose letters join: there it changes how they are written. Anywhere else it is
// invisible.
func joins(text []rune, place int) bool {
	before := place - 1
	for before > 0 && unicode.Is(unicode.Mn, text[before]) && unicode.Is(unicode.Inherited, text[before]) {
		before--
	}
	if before < 0 || place == len(text)-1 {
		return false
	}

	is := func(r rune, script *unicode.RangeTable) bool {
		return unicode.Is(script, r) && (unicode.IsLetter(r) || unicode.IsMark(r))
	}

	return slices.ContainsFunc(joiningScripts(), func(script *unicode.RangeTable) bool {
		return is(text[before], script) && is(text[place+1], script)
	})
}

// joiningScripts are written joined, or by conjuncts (RFC 5892, appendix A.1 and A.2).
func joiningScripts() []*unicode.RangeTable {
	return []*unicode.RangeTable{
		unicode.Adlam, unicode.Arabic, unicode.Hanifi_Rohingya, unicode.Mandaic, unicode.Mongolian, unicode.Nko,
		unicode.Phags_Pa, unicode.Syriac,

		unicode.Bengali, unicode.Devanagari, unicode.Gujarati, unicode.Gurmukhi, unicode.Kannada, unicode.Khmer,
		unicode.Malayalam, unicode.Myanmar, unicode.Oriya, unicode.Sinhala, unicode.Tamil, unicode.Telugu,
	}
}

// written reports whether all of a name can be seen, and every mark in it is on a
// character.
func written(name string) bool {
	text := []rune(name)
	for i, r := range text {
		switch {
		case isJoiner(r):
			if !joins(text, i) {
				return false
			}
		case invisible(r):
			return false
		case unicode.IsMark(r) && (i == 0 || unicode.IsSpace(text[i-1])):
			return false
		}
	}
	return true
}
