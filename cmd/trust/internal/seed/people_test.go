package seed

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/salga-trust/engine/cmd/trust/internal/importer"
	"github.com/salga-trust/engine/domain"
)

func TestSpreadIsExactAndByPopulation(t *testing.T) {
	t.Parallel()
	rows, _, err := importer.Parse([]byte(strings.Join([]string{
		"code,name,province,category,district_code,population",
		"AA1,Alpha,Gauteng,A,,500",
		"DC1,District,Gauteng,C,,500", // the sum of its municipalities, so it does not count
		"BB1,Beta,Gauteng,B,DC1,300",
		"BB2,Gamma,Gauteng,B,DC1,100",
		"BB3,Delta,Gauteng,B,DC1,100",
	}, "\n")), []string{"code"})
	if err != nil {
		t.Fatal(err)
	}

	cases := map[int][]share{
		1:  {{"AA1", 1}},
		2:  {{"AA1", 1}, {"BB1", 1}},
		3:  {{"AA1", 2}, {"BB1", 1}},
		4:  {{"AA1", 2}, {"BB1", 1}, {"BB2", 1}}, // equal remainders: the first
		10: {{"AA1", 5}, {"BB1", 3}, {"BB2", 1}, {"BB3", 1}},
		13: {{"AA1", 7}, {"BB1", 4}, {"BB2", 1}, {"BB3", 1}},
	}

	for people, want := range cases {
		got, err := spread(rows, people)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(share{})); diff != "" {
			t.Errorf("%d people: %s", people, diff)
		}
	}
}

// Over the real municipalities, for any number: the sum is exact, and no share is off by
// one person or more.
func TestSpreadOverTheCountryHasNoShareOffByOne(t *testing.T) {
	t.Parallel()
	rows := embeddedRows(t, "municipalities", []string{"code"})

	populations, total := map[string]int{}, 0
	for _, row := range rows {
		m, err := importer.Municipality(row)
		if err != nil {
			t.Fatal(err)
		}
		if m.Category != "C" {
			populations[m.Code] = *m.Population
			total += *m.Population
		}
	}
	// The total of Statistics South Africa's table of provinces.
	if len(populations) != 213 || total != 62_027_506 {
		t.Errorf("%d municipalities, %d people", len(populations), total)
	}

	for _, people := range []int{1, 7, 60, 213, 5000, 99_999, MaxPeople} {
		shares, err := spread(rows, people)
		if err != nil {
			t.Fatal(err)
		}

		sum := 0
		for _, s := range shares {
			sum += s.people
			if off := s.people*total - people*populations[s.municipality]; off <= -total || off >= total ||
				s.people == 0 {
				t.Errorf("%d people: %s has %d", people, s.municipality, s.people)
			}
		}
		if sum != people {
			t.Errorf("%d people are spread as %d", people, sum)
		}
	}
}

func TestTheSameSeedMakesUpTheSamePeople(t *testing.T) {
	t.Parallel()
	names := testNames(t)
	crowd := func(seed uint64) map[int]resident {
		all := map[int]resident{}
		for i := range 200 {
			n := (i*7 + int(seed)) % 200 // another order for each seed, which must not matter
			all[n] = names.madeUp(seed%2, "CPT", n)
		}
		return all
	}

	same := cmp.AllowUnexported(resident{}, decision{}, form{})
	one, again, other := crowd(1), crowd(3), crowd(2)
	if diff := cmp.Diff(one, again, same); diff != "" {
		t.Error(diff)
	}

	alike := 0
	for n := range one {
		if one[n].email == other[n].email {
			t.Errorf("number %d has the address of the other seed's", n)
		}
		if one[n].name == other[n].name {
			alike++
		}
	}
	if alike > 10 {
		t.Errorf("%d of 200 have the name of the other seed's", alike)
	}

	// Pinned, because a program that made up others would not know the people of a system
	// that was seeded before.
	if got := one[17].name + " " + one[17].email; got != "Lesetja Mašishi lesetja.masishi.cpt.1-17@example.org" {
		t.Errorf("number 17 of Cape Town is %q", got)
	}
}

func TestNamesKeepTheirMarksAndAddressesAreASCII(t *testing.T) {
	t.Parallel()
	names := testNames(t)
	if n := len(names.given); n != 350 {
		t.Errorf("%d given names", n)
	}

	ascii := regexp.MustCompile(`^[a-z]+\.[a-z]+\.jhb\.1-[0-9]+@example\.org$`)
	var all strings.Builder
	for i := range 5000 {
		r := names.madeUp(1, "JHB", i)
		all.WriteString(r.name + "\n")
		if !ascii.MatchString(r.email) {
			t.Errorf("the address of %s is %s", r.name, r.email)
		}
	}

	for _, mark := range []string{"Ṱ", "ṱ", "Ḓ", "Ṋ", "š", "é", "O'Reilly", "Janse van Vuuren"} {
		if !strings.Contains(all.String(), mark) {
			t.Errorf("of 5000 people nobody has %s", mark)
		}
	}
}

func TestGivenNameAndSurnameAreOfOneLanguage(t *testing.T) {
	t.Parallel()
	names := testNames(t)
	addressed := map[domain.Language]int{}
	for i := range 2000 {
		r := names.madeUp(5, "ETH", i)
		addressed[r.language]++
		together := slices.ContainsFunc(names.given, func(g name) bool {
			surname, ok := strings.CutPrefix(r.name, g.text+" ")
			return ok && spoken(g.code) == r.language &&
				slices.ContainsFunc(names.surnames[g.language], func(s name) bool { return s.text == surname })
		})
		if !together {
			t.Errorf("%s, addressed in %s", r.name, r.language)
		}
	}

	if len(addressed) != len(domain.Languages()) {
		t.Errorf("languages: %v", addressed)
	}
}

// Decisions are about default purposes that rest on consent, and every kind of decision
// happens.
func TestResidentsDecideAboutPurposesThatRestOnConsent(t *testing.T) {
	t.Parallel()
	names := testNames(t)
	var asked []string
	for _, h := range append(habits(), habit{purpose: childProgramme}) {
		asked = append(asked, h.purpose)
		if h.grant+h.refuse > 100 {
			t.Errorf("%s adds up to %d percent", h.purpose, h.grant+h.refuse)
		}
	}

	var consentBased []string
	for _, row := range embeddedRows(t, "purposes", importer.PurposeColumns()) {
		if p, err := importer.Purpose(row); err == nil && p.Basis == domain.ConsentBasis {
			consentBased = append(consentBased, p.Code)
		}
	}
	slices.Sort(asked)
	slices.Sort(consentBased)
	if diff := cmp.Diff(consentBased, asked); diff != "" {
		t.Error(diff)
	}

	seen := map[string]int{}
	phone := regexp.MustCompile(`^\+27[678][0-9]{8}$`)
	for i := range 2000 {
		r := names.madeUp(1, "NMA", i)
		if e164 := domain.CanonicalPhone(r.phone); r.phone == "" {
			seen["no telephone"]++
		} else if !phone.MatchString(e164) {
			t.Errorf("%s becomes %s", r.phone, e164)
		}
		for _, d := range r.decisions {
			seen[d.kind.String()]++
			switch {
			case d.purpose == domain.PlatformRegistrationCode && d.kind == withdraws:
				seen["leaves"]++
			case d.form != nil && d.form.givenBy != nil:
				seen["for a child"]++
			case d.form != nil:
				seen["on paper"]++
			case d.reason != "":
				seen["with a reason"]++
			}
		}
	}
	for _, what := range []string{
		"no telephone", "grant", "refuse", "withdraw", "leaves", "for a child", "on paper", "with a reason",
	} {
		if seen[what] == 0 {
			t.Errorf("among 2000 people this never happens: %s", what)
		}
	}
}

func TestMetropolitanOfficesWithEnoughPeopleHaveCases(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		people map[string]int
		want   []string
	}{
		"every metro with enough people": {
			map[string]int{"JHB": 80, "CPT": busy, "MAN": busy - 1, "KZN225": 300}, []string{"CPT", "JHB"},
		},
		"the largest office, if there is none": {
			map[string]int{"JHB": 5, "KZN225": 6, "MAN": 1}, []string{"KZN225"},
		},
		"the first of equals": {map[string]int{"JHB": 5, "CPT": 5}, []string{"CPT"}},
	} {
		var offices []*office
		for _, code := range slices.Sorted(maps.Keys(c.people)) {
			offices = append(offices, &office{share: share{code, c.people[code]}})
		}

		chosen, err := busyOffices(offices)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range chosen {
			got = append(got, o.municipality)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func testNames(t *testing.T) nameList {
	t.Helper()
	names, err := embeddedNames()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func embeddedRows(t *testing.T, name string, columns []string) []importer.Row {
	t.Helper()
	rows, bad, err := importer.Embedded(name, columns)
	if err != nil || len(bad) > 0 {
		t.Fatal(err, bad)
	}
	return rows
}
