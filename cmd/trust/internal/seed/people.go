package seed

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"

	"github.com/salga-trust/engine/domain"
)

// resident is a made-up person with all their decisions: the same for the same seed,
// municipality and number.
type resident struct {
	municipality string
	number       int // within the municipality, from 1
	name         string
	email        string
	phone        string // as people write it; may be empty
	language     domain.Language
	decisions    []decision // in order; each becomes one event of the resident's consents
}

// decision is one decision of a resident, made on the web unless there is a form.
type decision struct {
	purpose string
	kind    decisionKind
	reason  string // of a withdrawal; may be empty
	form    *form
}

type decisionKind int

const (
	grants decisionKind = iota
	refuses
	withdraws
)

func (k decisionKind) String() string { return [...]string{"grant", "refuse", "withdraw"}[k] }

// form is a paper form, signed some days before a field worker of the municipality types
// it in.
type form struct {
	daysAgo   int
	reference string
	givenBy   *domain.CompetentPerson // nil: the resident
}

// signed returns when the form was signed: at ten in the morning in South Africa.
func (f form) signed(now time.Time) time.Time {
	return now.Truncate(24*time.Hour).AddDate(0, 0, -f.daysAgo).Add(8 * time.Hour)
}

// sha256 takes the place of the hash of a scan, which does not exist.
func (f form) sha256() string {
	sum := sha256.Sum256([]byte(f.reference))
	return hex.EncodeToString(sum[:])
}

// habit says how many residents grant and refuse a purpose, in percent. The others were
// never asked.
type habit struct {
	purpose       string
	grant, refuse int
}

// habits returns those about the default purposes that rest on consent, except
// childProgramme. The numbers are guesses: people like what is useful to them, and not
// what only serves others.
func habits() []habit {
	return []habit{
		{"sms_alert", 45, 3},
		{"whatsapp_care", 20, 4},
		{"newsletter", 15, 6},
		{"research_statistics", 10, 7},
		{"direct_marketing", 4, 12},
	}
}

// childProgramme needs the consent of a competent person, since the resident is a child
// (POPIA s35).
const childProgramme = "child_programme"

// More of the same guesses, in percent.
const (
	phoned    = 80 // have a telephone
	onPaper   = 10 // of the grants
	withdrawn = 8  // of the grants
	reasoned  = 50 // of the withdrawals
	enrolled  = 2  // are a child in a programme
	leaving   = 1  // withdraw the consent that the account rests on, which closes it
)

// madeUp makes up the resident of a municipality with a number. It has a random source of
// its own, so that it does not matter who else is made up, or when.
func (n nameList) madeUp(seed uint64, municipality string, number int) resident {
	which := fnv.New64a()
	which.Write(fmt.Appendf(nil, "%s:%d", municipality, number))
	//nolint:gosec // made-up people, who are the same for the same seed
	chance := rand.New(rand.NewPCG(seed, which.Sum64()))

	given := n.given[chance.IntN(len(n.given))]
	surname := pick(chance, n.surnames[given.language])
	r := resident{
		municipality: municipality, number: number, name: given.text + " " + surname.text, language: spoken(given.code),
		email: fmt.Sprintf("%s.%s.%s.%d-%d@example.org", local(given.ascii), local(surname.ascii),
			strings.ToLower(municipality), seed, number),
	}
	if percent(chance, phoned) {
		r.phone = mobile(chance)
	}

	r.decide(chance, n, surname)
	return r
}

// decide makes up what the resident grants, refuses and withdraws.
func (r *resident) decide(chance *rand.Rand, n nameList, surname name) {
	var later []decision
	for _, h := range habits() {
		dice := chance.IntN(100)
		switch {
		case dice < h.grant:
			d := decision{purpose: h.purpose, kind: grants}
			if percent(chance, onPaper) {
				d.form = r.form(chance, h.purpose)
			}
			r.decisions = append(r.decisions, d)
			if percent(chance, withdrawn) {
				later = append(later, decision{purpose: h.purpose, kind: withdraws, reason: reason(chance)})
			}
		case dice < h.grant+h.refuse:
			r.decisions = append(r.decisions, decision{purpose: h.purpose, kind: refuses})
		}
	}

	if percent(chance, enrolled) {
		d := decision{purpose: childProgramme, kind: grants, form: r.form(chance, childProgramme)}
		d.form.givenBy = n.competentPerson(chance, surname)
		r.decisions = append(r.decisions, d)
	}

	if percent(chance, leaving) {
		d := decision{purpose: domain.PlatformRegistrationCode, kind: withdraws, reason: reason(chance)}
		later = append(later, d)
	}

	r.decisions = append(r.decisions, later...)
}

func (r *resident) form(chance *rand.Rand, purpose string) *form {
	reference := fmt.Sprintf("form %s/%d/%s", r.municipality, r.number, purpose)
	return &form{daysAgo: 1 + chance.IntN(30), reference: reference}
}

// competentPerson makes up a relative with the same surname.
func (n nameList) competentPerson(chance *rand.Rand, surname name) *domain.CompetentPerson {
	var family []name
	for _, g := range n.given {
		if g.language == surname.language {
			family = append(family, g)
		}
	}
	return &domain.CompetentPerson{
		Name:      pick(chance, family).text + " " + surname.text,
		Relation:  pick(chance, []string{"parent", "parent", "grandparent", "guardian"}),
		Authority: "birth certificate or court order, seen at the counter",
	}
}

// reason returns why somebody withdraws a consent; half give no reason, as they may.
func reason(chance *rand.Rand) string {
	if !percent(chance, reasoned) {
		return ""
	}
	return pick(chance, []string{
		"too many messages", "I am moving away", "no longer interested",
		"I did not understand what it was for",
	})
}

// spoken returns the language that a person is addressed in: that of their name if it is
// one of the three, or else English.
func spoken(code string) domain.Language {
	if l := domain.Language(code); l.Valid() {
		return l
	}
	return domain.English
}

// local returns a name as a part of an e-mail address: letters only.
func local(ascii string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, ascii)
}

// mobile returns a valid South African mobile number in national form. Somebody may have
// it; nothing is ever sent there.
func mobile(chance *rand.Rand) string {
	prefix := pick(chance, []string{
		"060", "061", "063", "071", "072", "073", "074", "076", "078", "079", "082", "083",
		"084",
	})
	return fmt.Sprintf("%s %03d %04d", prefix, chance.IntN(1000), chance.IntN(10_000))
}

func percent(chance *rand.Rand, n int) bool { return chance.IntN(100) < n }

func pick[T any](chance *rand.Rand, from []T) T { return from[chance.IntN(len(from))] }
