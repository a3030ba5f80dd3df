package seed

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/salga-trust/engine/cmd/trust/internal/importer"
)

// name is a given name or a surname.
type name struct {
	text, ascii    string
	language, code string // the name of a language or community, and its BCP 47 code
}

// nameList holds the names that people are made up from.
type nameList struct {
	given    []name
	surnames map[string][]name // by the name of the language
}

// embeddedNames reads the built-in names.
func embeddedNames() (nameList, error) {
	n := nameList{surnames: map[string][]name{}}
	rows, bad, err := importer.Embedded("names", []string{"kind", "name", "language", "language_code", "ascii"})
	if err != nil {
		return n, err
	}
	for _, b := range bad {
		return n, fmt.Errorf("the built-in names: line %d: %s", b.Line, b.Reason)
	}

	for _, row := range rows {
		one := name{row.Fields["name"], row.Fields["ascii"], row.Fields["language"], row.Fields["language_code"]}
		if row.Fields["kind"] == "given" {
			n.given = append(n.given, one)
		} else {
			n.surnames[one.language] = append(n.surnames[one.language], one)
		}
	}
	return n, nil
}

// share is how many of the made-up people live in a municipality.
type share struct {
	municipality string
	people       int
}

// embeddedShares spreads people over the built-in municipalities.
func embeddedShares(people int) ([]share, error) {
	rows, _, err := importer.Embedded("municipalities", []string{"code", "category", "population"})
	if err != nil {
		return nil, err
	}
	return spread(rows, people)
}

// spread divides people over the municipalities by population: each gets the whole part
// of its exact share, and the rest goes to those with the largest remainders, among
// equals to the first in the file. It returns only municipalities that get somebody. A
// district's people are those of its local municipalities, so only metropolitan (A) and
// local (B) municipalities count.
func spread(rows []importer.Row, people int) ([]share, error) {
	var shares []share
	var populations []int
	total := 0
	for _, row := range rows {
		m, err := importer.Municipality(row)
		if err != nil {
			return nil, fmt.Errorf("municipalities, line %d: %w", row.Line, err)
		}
		if (m.Category == "A" || m.Category == "B") && m.Population != nil {
			shares = append(shares, share{municipality: m.Code})
			populations = append(populations, *m.Population)
			total += *m.Population
		}
	}

	type claim struct{ index, remainder int }
	left, claims := people, make([]claim, len(shares))
	for i, population := range populations {
		// In units of 1/total of a person. MaxPeople keeps it far from an overflow.
		exact := people * population
		shares[i].people, claims[i] = exact/total, claim{i, exact % total}
		left -= shares[i].people
	}

	slices.SortStableFunc(claims, func(a, b claim) int { return cmp.Compare(b.remainder, a.remainder) })
	for _, c := range claims[:left] {
		shares[c.index].people++
	}

	return slices.DeleteFunc(shares, func(s share) bool { return s.people == 0 }), nil
}
