package importer

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// PurposeColumns are the columns without which a purpose cannot be defined.
func PurposeColumns() []string {
	return []string{
		"code", "lawful_basis", "special_personal_information", "retention", "description_en", "description_zu",
		"description_af",
	}
}

// Purposes defines rows as defaults for all municipalities, through the same command as
// HTTP.
func Purposes(handler *commands.Handler, rows []Row, bad []BadRow) Import {
	wishes, bad := purposeWishes(handler, rows, bad)
	return Import{What: "purposes", verb: "defined", wishes: wishes, bad: bad}
}

// purposeWishes reads the rows. A purpose whose code exists stays unchanged, even if it
// was retired: new wording is published over HTTP.
func purposeWishes(handler *commands.Handler, rows []Row, bad []BadRow) ([]wish, []BadRow) {
	seen := map[string]int{}
	var wishes []wish
	for _, row := range rows {
		c, err := Purpose(row)
		if err != nil {
			bad = append(bad, BadRow{Line: row.Line, Reason: err.Error()})
			continue
		}
		if first, twice := seen[c.Code]; twice {
			bad = append(bad, BadRow{Line: row.Line, Reason: fmt.Sprintf("code: it is on line %d already", first)})
			continue
		}

		seen[c.Code] = row.Line
		wishes = append(wishes, wish{
			line: row.Line, standing: domain.CodePurposeTaken,
			do: func(ctx context.Context) error {
				_, err := handler.DefinePurpose(ctx, commands.System(domain.PlatformTenant()), c)
				return err
			},
		})
	}
	return wishes, bad
}

// Purpose reads one row. The command checks its values.
func Purpose(row Row) (domain.DefinePurpose, error) {
	c := domain.DefinePurpose{
		Code: domain.CanonicalPurposeCode(row.Fields["code"]), Retention: row.Fields["retention"],
		// Defaults are older than any log.
		Texts: map[domain.Language]string{}, InUseSince: &time.Time{},
	}
	if c.Code == "" {
		return c, errors.New("code: it is empty")
	}

	var err error
	if c.Basis, c.CompetentPerson, err = lawfulBasis(row.Fields["lawful_basis"]); err != nil {
		return c, err
	}

	switch strings.ToLower(row.Fields["special_personal_information"]) {
	case "yes":
		c.Special = true
	case "no":
	default:
		return c, errors.New("special_personal_information: it is neither yes nor no")
	}

	for _, l := range domain.Languages() {
		if c.Texts[l] = row.Fields["description_"+string(l)]; c.Texts[l] == "" {
			return c, fmt.Errorf("description_%s: it is empty", l)
		}
	}
	return c, nil
}

var (
	groundPattern = regexp.MustCompile(`(?i)\bs\.?\s*11\s*\(1\)\s*\(([a-f])\)`)
	childPattern  = regexp.MustCompile(`(?i)\bs\.?\s*35\b`)
)

// lawfulBasis reads a text such as "s11(1)(a) consent, with s35(1)(a) consent of a
// competent person" (POPIA): the ground by its letter, and whether the data is a child's.
// A text with two grounds is refused, because the effect of a withdrawal depends on the
// ground.
func lawfulBasis(text string) (domain.Basis, bool, error) {
	grounds := groundPattern.FindAllStringSubmatch(text, -1)
	if len(grounds) != 1 {
		return "", false, errors.New("lawful_basis: it does not name one ground of POPIA s11(1), such as s11(1)(a)")
	}
	letter := strings.ToLower(grounds[0][1])[0]
	return domain.Bases()[letter-'a'], childPattern.MatchString(text), nil
}
