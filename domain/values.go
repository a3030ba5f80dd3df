package domain

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Role says what an account may do. A municipality's manager is its information officer
// (POPIA s55).
type Role string

// The five roles. Platform admins are admins of the platform tenant.
const (
	Citizen     Role = "citizen"
	FieldWorker Role = "field_worker"
	Manager     Role = "manager"
	Admin       Role = "admin"
	SAPSLiaison Role = "saps_liaison"
)

// Roles lists every role, least powerful first.
func Roles() []Role { return []Role{Citizen, FieldWorker, Manager, Admin, SAPSLiaison} }

// Valid reports whether the role is one of the five.
func (r Role) Valid() bool { return slices.Contains(Roles(), r) }

// Language is a language in which a person is addressed and a notice is shown.
type Language string

// The three languages of the platform.
const (
	English   Language = "en"
	Zulu      Language = "zu"
	Afrikaans Language = "af"
)

// Languages lists every language.
func Languages() []Language { return []Language{English, Zulu, Afrikaans} }

// Valid reports whether the language is one of the three.
func (l Language) Valid() bool { return slices.Contains(Languages(), l) }

// Channel is the way a decision reached us.
type Channel string

// The channels on which a person can decide.
const (
	Web      Channel = "web"
	Counter  Channel = "counter"
	Phone    Channel = "phone"
	WhatsApp Channel = "whatsapp"
	USSD     Channel = "ussd"
	Paper    Channel = "paper"
)

// Channels lists every channel.
func Channels() []Channel { return []Channel{Web, Counter, Phone, WhatsApp, USSD, Paper} }

// Valid reports whether the channel is one of the six.
func (c Channel) Valid() bool { return slices.Contains(Channels(), c) }

// Provinces lists the nine provinces by their official English names.
func Provinces() []string {
	return []string{
		"Eastern Cape", "Free State", "Gauteng", "KwaZulu-Natal", "Limpopo", "Mpumalanga",
		"Northern Cape", "North West", "Western Cape",
	}
}

// Limits on lengths, in characters. MaxEmail is RFC 5321 §4.5.3.1.3 less the angle
// brackets.
const (
	MaxEmail          = 254
	MaxName           = 100
	MinName           = 2
	MinPassword       = 8
	MaxPassword       = 128
	MaxReason         = 1000
	MaxIdempotencyKey = 128
	MaxUserAgent      = 200
	MaxNotice         = 5000
	MaxRetention      = 500
	MaxPurposeCode    = 64
	MaxReference      = 500

	MaxMunicipalityCode = 10

	// MaxMunicipalPeople is the largest population of a municipality.
	MaxMunicipalPeople = 100_000_000
)

var (
	// One @, no spaces, a dotted domain whose labels are letters (of any script, with
	// their marks), digits and hyphens; the last label starts with a letter. The pattern
	// does not say whether an address can be delivered to.
	emailPattern = regexp.MustCompile(`^[^\s@<>"(),:;\\\[\]\x00-\x1f\x7f]{1,64}@` +
		`(?:[\p{L}\p{N}](?:[\p{L}\p{M}\p{N}-]{0,61}[\p{L}\p{M}\p{N}])?\.)+` +
		`\p{L}[\p{L}\p{M}\p{N}-]{0,61}[\p{L}\p{M}\p{N}]$`)

	codePattern    = regexp.MustCompile(`^[A-Z0-9]{2,10}$`)
	purposePattern = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	sha256Pattern  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Email checks the syntax of an e-mail address, and that its domain can be one.
func (f *Faults) Email(field, email string) {
	local, host, _ := strings.Cut(email, "@")

	switch {
	case email == "":
		f.Add(field, "required", "Give an e-mail address.")
	case utf8.RuneCountInString(email) > MaxEmail, utf8.RuneCountInString(CanonicalEmail(email)) > MaxEmail:
		f.Add(field, "too_long", "An e-mail address has at most 254 characters.")
	case !visible(email), !emailPattern.MatchString(email),
		strings.HasPrefix(local, "."), strings.HasSuffix(local, "."), strings.Contains(email, ".."):
		f.Add(field, "invalid", "This is not an e-mail address.")
	default:
		if _, ok := asciiHost(host); !ok {
			f.Add(field, "invalid", "This is not an e-mail address.")
		}
	}
}

// Name checks the name of a person or place: minLen to 100 characters, some of them
// letters or digits, no angle brackets, no control and no invisible characters. A name
// that does not show what it contains would falsify an audit entry.
func (f *Faults) Name(field, name string, minLen int) {
	switch {
	case utf8.RuneCountInString(TidyName(name)) < minLen:
		f.Add(field, "too_short", "Give at least "+strconv.Itoa(minLen)+" characters.")
	case utf8.RuneCountInString(name) > MaxName:
		f.Add(field, "too_long", "Give at most 100 characters.")
	case strings.ContainsAny(name, "<>"), !printable(name), !written(name), !strings.ContainsFunc(name, letterOrDigit):
		f.Add(field, "invalid",
			"A name has letters or digits, no control or invisible characters and no angle brackets.")
	}
}

// Password checks a new password. Its length is counted in characters (code points) of
// its canonical form, which is what is hashed.
func (f *Faults) Password(field, password string) {
	n := utf8.RuneCountInString(CanonicalPassword(password))

	switch {
	case !utf8.ValidString(password):
		f.Add(field, "invalid", "A password must be valid UTF-8.")
	case n < MinPassword:
		f.Add(field, "too_short", "A password has at least 8 characters.")
	case n > MaxPassword:
		f.Add(field, "too_long", "A password has at most 128 characters.")
	}
}

// Phone checks a phone number in its canonical form; empty is allowed.
func (f *Faults) Phone(field, phone string) {
	if e164, valid := parsePhone(phone); phone != "" && (!valid || e164 != phone) {
		f.Add(field, "invalid", "Give a phone number like +27821234567 or 082 123 4567.")
	}
}

// Text checks free text: at most limit characters, printable.
func (f *Faults) Text(field, text string, limit int) {
	switch {
	case utf8.RuneCountInString(text) > limit:
		f.Add(field, "too_long", "Give at most "+strconv.Itoa(limit)+" characters.")
	// Each becomes a blank: removed, they could join two halves of a character.
	case !printable(strings.NewReplacer("\n", " ", "\t", " ", "\r", " ").Replace(text)):
		f.Add(field, "invalid", "Control characters are not allowed.")
	}
}

// OneOf checks that a value is in a closed list.
func OneOf[T ~string](f *Faults, field string, value T, allowed []T) {
	if slices.Contains(allowed, value) {
		return
	}

	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}

	f.Add(field, "invalid", "Give one of: "+strings.Join(names, ", ")+".")
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == '\ufffd'
	})
}

// visible reports whether every character can be seen: no blanks of any script, nothing
// of zero width.
func visible(s string) bool {
	return printable(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || invisible(r) })
}

func letterOrDigit(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
