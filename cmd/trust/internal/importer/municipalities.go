package importer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// MunicipalityColumns are the columns without which a municipality cannot be registered.
func MunicipalityColumns() []string { return []string{"code", "name", "province"} }

// Municipalities registers rows, through the same command as HTTP.
func Municipalities(handler *commands.Handler, rows []Row, bad []BadRow) Import {
	wishes, bad := municipalityWishes(handler, rows, bad)
	return Import{What: "municipalities", verb: "registered", wishes: wishes, bad: bad}
}

// municipalityWishes reads the rows. A municipality whose code exists stays unchanged,
// whatever else its row says: details are changed over HTTP.
func municipalityWishes(handler *commands.Handler, rows []Row, bad []BadRow) ([]wish, []BadRow) {
	names := uniqueNames(rows)
	seen := map[string]int{}
	var wishes []wish
	for _, row := range rows {
		c, err := Municipality(row)
		if err != nil {
			bad = append(bad, BadRow{Line: row.Line, Reason: err.Error()})
			continue
		}
		if first, twice := seen[c.Code]; twice {
			bad = append(bad, BadRow{Line: row.Line, Reason: fmt.Sprintf("code: it is on line %d already", first)})
			continue
		}

		seen[c.Code] = row.Line
		c.Name = names[row.Line]
		wishes = append(wishes, wish{
			line: row.Line, standing: domain.CodeCodeTaken,
			do: func(ctx context.Context) error {
				_, err := handler.RegisterMunicipality(ctx, commands.System(domain.PlatformTenant()), c)
				return err
			},
		})
	}
	return wishes, bad
}

// Municipality reads one row. The command checks its values.
func Municipality(row Row) (domain.RegisterMunicipality, error) {
	c := domain.RegisterMunicipality{
		Code: domain.CanonicalMunicipalityCode(row.Fields["code"]), Name: row.Fields["name"],
		Province: row.Fields["province"], Category: row.Fields["category"],
		DistrictCode: row.Fields["district_code"], ContactEmail: row.Fields["contact_email"],
	}

	if c.Code == "" {
		return c, errors.New("code: it is empty")
	}
	if c.Code == domain.PlatformCode {
		return c, fmt.Errorf("code: %s is the platform itself", domain.PlatformCode)
	}

	if text := row.Fields["population"]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return c, errors.New("population: it is not a whole number")
		}
		c.Population = &n
	}
	return c, nil
}

// uniqueNames returns each row's name by its line. Names are unique in the registry but
// not in the country: Emalahleni is a municipality in two provinces. Like the Municipal
// Demarcation Board, it then writes "Name (CODE)" for both of them, so that neither
// depends on the order of the file.
func uniqueNames(rows []Row) map[int]string {
	codes := map[string][]string{}
	for _, row := range rows {
		name, code := domain.CanonicalName(row.Fields["name"]), domain.CanonicalMunicipalityCode(row.Fields["code"])
		if !slices.Contains(codes[name], code) {
			codes[name] = append(codes[name], code)
		}
	}

	names := map[int]string{}
	for _, row := range rows {
		name := row.Fields["name"]
		if len(codes[domain.CanonicalName(name)]) > 1 && name != "" {
			name += " (" + domain.CanonicalMunicipalityCode(row.Fields["code"]) + ")"
		}
		names[row.Line] = name
	}
	return names
}
