package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

type importMunicipalitiesCmd struct {
	File string `arg:"" help:"CSV file with the columns code, name, province and, if known, category, district_code, population, contact_email."`
}

// Run registers what the file lists, through the same command as HTTP.
func (i importMunicipalitiesCmd) Run(p *program) error {
	rows, bad, err := readCSVFile(i.File, []string{"code", "name", "province"})
	if err != nil {
		return err
	}
	e, err := openCommandSide(p)
	if err != nil {
		return err
	}
	defer e.close()
	return importMunicipalities(p, e.handler, rows, bad)
}

// importMunicipalities registers rows and tells what became of them.
func importMunicipalities(p *program, handler *commands.Handler, rows []csvRow, bad []badRow) error {
	wishes, bad := municipalityWishes(handler, rows, bad)
	return carryOut(p, "municipalities", "registered", wishes, bad)
}

// municipalityWishes reads the rows. A code that exists is unchanged, whatever else the row says: details are changed over HTTP.
func municipalityWishes(handler *commands.Handler, rows []csvRow, bad []badRow) ([]wish, []badRow) {
	names := uniqueNames(rows)
	seen := map[string]int{}
	var wishes []wish
	for _, row := range rows {
		c, err := municipality(row)
		if err != nil {
			bad = append(bad, badRow{row.line, err.Error()})
			continue
		}
		if first, twice := seen[c.Code]; twice {
			bad = append(bad, badRow{row.line, fmt.Sprintf("code: it stands on line %d already", first)})
			continue
		}
		seen[c.Code] = row.line
		c.Name = names[row.line]
		wishes = append(wishes, wish{line: row.line, standing: domain.CodeCodeTaken, do: func(ctx context.Context) error {
			_, err := handler.RegisterMunicipality(ctx, commands.System(domain.PlatformTenant()), c)
			return err
		}})
	}
	return wishes, bad
}

// municipality understands one row; the rules on its values are the command's.
func municipality(row csvRow) (domain.RegisterMunicipality, error) {
	c := domain.RegisterMunicipality{
		Code: strings.ToUpper(row.fields["code"]), Name: row.fields["name"], Province: row.fields["province"],
		Category: row.fields["category"], DistrictCode: row.fields["district_code"], ContactEmail: row.fields["contact_email"],
	}
	if c.Code == "" {
		return c, errors.New("code: it is empty")
	}
	if c.Code == domain.PlatformCode {
		return c, fmt.Errorf("code: %s is the platform itself", domain.PlatformCode)
	}
	if text := row.fields["population"]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return c, errors.New("population: it is not a whole number")
		}
		c.Population = &n
	}
	return c, nil
}

// uniqueNames gives each row's name by its line. Names are unique in the registry but not in the country: Emalahleni is a
// municipality in two provinces. Like the Municipal Demarcation Board we then write "Name (CODE)", for each of them, so that
// neither depends on the order of the file.
func uniqueNames(rows []csvRow) map[int]string {
	codes := map[string][]string{}
	for _, row := range rows {
		name, code := domain.CanonicalName(row.fields["name"]), strings.ToUpper(row.fields["code"])
		if !slices.Contains(codes[name], code) {
			codes[name] = append(codes[name], code)
		}
	}
	names := map[int]string{}
	for _, row := range rows {
		name := row.fields["name"]
		if len(codes[domain.CanonicalName(name)]) > 1 && name != "" {
			name += " (" + strings.ToUpper(row.fields["code"]) + ")"
		}
		names[row.line] = name
	}
	return names
}
