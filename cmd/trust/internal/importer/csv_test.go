package importer

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/salga-trust/engine/domain"
)

func TestCSVNamesBrokenRowsAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	const unclosed = "a quotation mark is opened and not closed"
	cases := map[string]struct {
		text string
		rows []string // line:code:name
		bad  []string // line:reason, or its beginning
	}{
		"plain":                    {"code,name\nA,Alpha\nB,Beta\n", []string{"2:A:Alpha", "3:B:Beta"}, nil},
		"no line break at the end": {"code,name\nA,Alpha", []string{"2:A:Alpha"}, nil},
		"byte order mark":          {"\ufeffcode,name\nA,Alpha\n", []string{"2:A:Alpha"}, nil},
		"Windows line breaks": {
			"code,name\r\nA,Alpha\r\nB,\"Be,ta\"\r\n",
			[]string{"2:A:Alpha", "3:B:Be,ta"},
			nil,
		},
		"another order and column": {"x,NAME , Code\n1,Alpha,A\n", []string{"2:A:Alpha"}, nil},
		"quotes and line breaks": {
			"code,name\nA,\"Al\n\"\"pha\"\"\"\nB,Beta\n",
			[]string{"2:A:Al\n\"pha\"", "4:B:Beta"},
			nil,
		},
		"empty lines":          {"\ncode,name\n\nA,Alpha\n   \nB,Beta\n\n", []string{"4:A:Alpha", "6:B:Beta"}, nil},
		"blanks around fields": {"code,name\n A , Alpha \n", []string{"2:A:Alpha"}, nil},
		"too few fields": {
			"code,name\nA\nB,Beta\n",
			[]string{"3:B:Beta"},
			[]string{"2:it has 1 fields instead of 2"},
		},
		"too many fields": {
			"code,name\nA,Alpha,more\nB,Beta\n",
			[]string{"3:B:Beta"},
			[]string{"2:it has 3 fields instead of 2"},
		},
		"a quote never closed": {
			"code,name\nA,\"Alpha\nB,Beta\nC,Gamma\n",
			[]string{"3:B:Beta", "4:C:Gamma"},
			[]string{"2:" + unclosed},
		},
		"closed by another row": {
			"code,name\nA,\"Alpha\nB,Beta\nC,\"Gam,ma\"\nD,Delta\n",
			[]string{"3:B:Beta", "4:C:Gam,ma", "5:D:Delta"},
			[]string{"2:" + unclosed},
		},
		"two quotes never closed": {
			"code,name\nA,\"Alpha\nB,\"Beta\nC,Gamma\n",
			[]string{"4:C:Gamma"},
			[]string{"2:" + unclosed, "3:" + unclosed},
		},
		"a quote within a field": {
			"code,name\nA,Al\"ph\"a\nB,Beta\n",
			[]string{"3:B:Beta"},
			[]string{"2:a quotation mark is in the wrong place"},
		},
		"text after a quoted field": {
			"code,name\nA,\"Alpha\"x\nB,Beta\n",
			[]string{"3:B:Beta"},
			[]string{"2:a quotation mark is in the wrong place"},
		},
		"not UTF-8": {
			"code,name\nA,Al\xffpha\nB,Beta\n",
			[]string{"3:B:Beta"},
			[]string{"2:it is not UTF-8"},
		},
		"a NUL": {"code,name\nA,Al\x00pha\nB,Beta\n", []string{"3:B:Beta"}, []string{"2:it has a NUL character"}},
		"a line too long": {
			"code,name\nA,\"" + strings.Repeat("x", 2<<20) + "\nB,Beta\n",
			[]string{"3:B:Beta"},
			[]string{"2:it is too long to be a record"},
		},
		"a quote before a line too long": {
			"code,name\nA,\"Alpha\n" + strings.Repeat("x", 2<<20) + "\nB,Beta\n",
			[]string{"4:B:Beta"},
			[]string{"2:" + unclosed, "3:it is too long to be a record"},
		},
		"only names of columns": {"code,name\n", nil, nil},
	}

	for name, c := range cases {
		rows, bad, err := Parse([]byte(c.text), []string{"code", "name"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}

		var gotRows, gotBad []string
		for _, r := range rows {
			gotRows = append(gotRows, strconv.Itoa(r.Line)+":"+r.Fields["code"]+":"+r.Fields["name"])
		}
		for i, b := range bad {
			text := strconv.Itoa(b.Line) + ":" + b.Reason
			if i < len(c.bad) && strings.HasPrefix(text, c.bad[i]) {
				text = c.bad[i]
			}
			gotBad = append(gotBad, text)
		}

		if diff := cmp.Diff(c.rows, gotRows); diff != "" {
			t.Errorf("%s: rows: %s", name, diff)
		}
		if diff := cmp.Diff(c.bad, gotBad); diff != "" {
			t.Errorf("%s: bad rows: %s", name, diff)
		}
	}
}

func TestCSVRefusesFilesAsAWhole(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ text, want string }{
		"empty":              {"", "the file is empty"},
		"blank":              {"\n \n", "the file is empty"},
		"a column missing":   {"code,province\nA,Gauteng\n", "the column name is missing"},
		"columns missing":    {"x\n", "the column code, name is missing"},
		"a column twice":     {"code,name,Code\n", "the column code is there twice"},
		"semicolons":         {"code;name\nA;Alpha\n", "separated by semicolons"},
		"tabs":               {"code\tname\nA\tAlpha\n", "separated by tabs"},
		"UTF-16":             {"\xff\xfec\x00o\x00", "UTF-16"},
		"a quote in a name":  {"code,\"name\nA,Alpha\n", "line 1"},
		"another encoding":   {"code,name,\xe9\n", "not UTF-8"},
		"names on line two":  {"\ncode\n", "the column name is missing"},
		"a spreadsheet file": {"PK\x03\x04\x14\x00", "a spreadsheet"},
	}

	for name, c := range cases {
		_, _, err := Parse([]byte(c.text), []string{"code", "name"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// In any file, each line ends up in at most one record, and records stay in order.
func FuzzCSV(f *testing.F) {
	f.Add("code,name\nA,\"Al\npha\"\nB,Beta\n")
	f.Add("code,name\n\"\n\"\n\"\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		rows, bad, err := Parse([]byte(text), []string{"code"})
		if err != nil {
			return
		}

		lines := strings.Count(text, "\n") + 1
		if len(rows)+len(bad) > lines {
			t.Fatalf("%d records in %d lines", len(rows)+len(bad), lines)
		}
		last := 0
		for _, r := range rows {
			if r.Line <= last || r.Line > lines {
				t.Fatalf("line %d after %d of %d", r.Line, last, lines)
			}
			last = r.Line
		}
	})
}

func TestEmbeddedMunicipalitiesAreAllValidAndUnique(t *testing.T) {
	t.Parallel()
	rows := embeddedRows(t, "municipalities", []string{"code", "name", "province"})
	wishes, bad := municipalityWishes(nil, rows, nil)
	if len(bad) > 0 || len(wishes) != 257 {
		t.Fatalf("%d wishes, bad %v", len(wishes), bad)
	}

	names := uniqueNames(rows)
	taken := map[string]string{}
	for _, row := range rows {
		c, err := Municipality(row)
		if err != nil {
			t.Fatal(err)
		}
		c.Name = names[row.Line]
		if _, err := c.Decide(); err != nil {
			t.Errorf("%s: %v", c.Code, err)
		}

		if other := taken[domain.CanonicalName(c.Name)]; other != "" {
			t.Errorf("%s and %s have one name", other, c.Code)
		}
		taken[domain.CanonicalName(c.Name)] = c.Code
	}

	for name, code := range map[string]string{
		"emalahleni (ec136)": "EC136", "emalahleni (mp312)": "MP312", "!kheis": "NC084",
	} {
		if taken[name] != code {
			t.Errorf("%s is %q, want %s", name, taken[name], code)
		}
	}
}

func TestEmbeddedPurposesAreAllValid(t *testing.T) {
	t.Parallel()
	rows := embeddedRows(t, "purposes", PurposeColumns())

	bases := map[domain.Basis]int{}
	var special, children []string
	for _, row := range rows {
		c, err := Purpose(row)
		if err != nil {
			t.Fatalf("line %d: %v", row.Line, err)
		}
		if _, err := c.Decide(domain.Purpose{}, time.Now()); err != nil {
			t.Errorf("line %d: %v", row.Line, err)
		}

		bases[c.Basis]++
		if c.Special {
			special = append(special, c.Code)
		}
		if c.CompetentPerson {
			children = append(children, c.Code)
		}
	}

	// As the README of the data says: six rest on consent, fourteen do not.
	if bases[domain.ConsentBasis] != 6 || len(rows) != 20 {
		t.Errorf("%d rows, bases %v", len(rows), bases)
	}
	if diff := cmp.Diff([]string{"child_programme"}, children); diff != "" {
		t.Error(diff)
	}
	if len(special) != 6 {
		t.Errorf("special personal information: %v", special)
	}
}

func TestLawfulBasis(t *testing.T) {
	t.Parallel()
	cases := []struct {
		text  string
		basis domain.Basis
		child bool
	}{
		{"s11(1)(a) consent", domain.ConsentBasis, false},
		{"s11(1)(a) consent, with s35(1)(a) consent of a competent person", domain.ConsentBasis, true},
		{"s11(1)(b) contract", domain.ContractBasis, false},
		{"s11(1)(c) obligation imposed by law", domain.LegalObligation, false},
		{"s11(1)(d) legitimate interest of the data subject", domain.SubjectInterest, false},
		{"S 11(1)(E) public-law duty", domain.PublicLawDuty, false},
		{"s11(1)(f) legitimate interest of the responsible party", domain.LegitimateInterest, false},
		{"consent", "", false},
		{"", "", false},
		{"s11(1)(g) whatever", "", false},
		{"s11(1)(a) or s11(1)(b)", "", false},
	}

	for _, c := range cases {
		basis, child, err := lawfulBasis(c.text)
		if basis != c.basis || child != c.child || (err == nil) != (c.basis != "") {
			t.Errorf("%q: got %q, %v, %v", c.text, basis, child, err)
		}
	}
}

func embeddedRows(t *testing.T, name string, columns []string) []Row {
	t.Helper()
	rows, bad, err := Embedded(name, columns)
	if err != nil || len(bad) > 0 {
		t.Fatal(err, bad)
	}
	return rows
}
