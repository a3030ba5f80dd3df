package importer

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// ConsentColumns are the columns without which no claim can be recorded.
func ConsentColumns() []string { return []string{"purpose", "decision", "given_at"} }

// personColumns are the columns that say who decided; a file has at least one of them.
func personColumns() []string { return []string{"subject_id", "external_id", "email", "phone"} }

// otherColumns are the columns that a file may have besides.
func otherColumns() []string {
	return []string{
		"municipality", "channel", "language", "notice_version", "wording_sha256", "evidence_grade",
		"evidence_sha256", "evidence_reference", "given_by_name", "given_by_relation", "given_by_authority",
		"full_name", "preferred_language", "record",
	}
}

// ConsentFile is a file of claims that was looked through once.
type ConsentFile struct {
	SHA256  string // of its bytes
	Lines   int64
	file    *os.File
	columns []string
}

// OpenConsents looks through a file, and refuses one that is not CSV, lacks a column, or
// has one that is not known: a misspelt column would be left out in silence.
func OpenConsents(path string) (*ConsentFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, exit.Unreachable(err, "cannot read the file; nothing was imported")
	}

	f := &ConsentFile{file: file}
	if err := f.survey(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close closes the file.
func (f *ConsentFile) Close() { _ = f.file.Close() } // it was only read

// Has reports whether the file has a column.
func (f *ConsentFile) Has(column string) bool { return slices.Contains(f.columns, column) }

// IsAt reports whether a path names the file itself.
func (f *ConsentFile) IsAt(path string) bool {
	own, err := f.file.Stat()
	if err != nil {
		return false
	}
	other, err := os.Stat(path)
	return err == nil && os.SameFile(own, other)
}

// survey reads the file from beginning to end.
func (f *ConsentFile) survey() error {
	if info, err := f.file.Stat(); err == nil && !info.Mode().IsRegular() {
		return exit.WrongUsage("this is not a file that can be read twice; give a regular file; nothing was imported")
	}

	records, err := f.records()
	if err != nil {
		return exit.WrongUsage("%s: %v; nothing was imported", f.file.Name(), err)
	}
	f.columns = records.columns
	if err := f.knowsColumns(); err != nil {
		return err
	}

	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return exit.Unreachable(err, "cannot read the file; nothing was imported")
	}
	lines, hash := &lineCounter{}, sha256.New()
	if _, err := io.Copy(io.MultiWriter(hash, lines), f.file); err != nil {
		return exit.Unreachable(err, "cannot read the file; nothing was imported")
	}
	f.SHA256, f.Lines = hex.EncodeToString(hash.Sum(nil)), lines.n
	return nil
}

// knowsColumns names a strange column by its place alone: if the first line is missing,
// what stands there is somebody's data.
func (f *ConsentFile) knowsColumns() error {
	known := slices.Concat(ConsentColumns(), personColumns(), otherColumns())
	for i, column := range f.columns {
		if !slices.Contains(known, column) {
			return exit.WrongUsage("column %d has a name that is not known; the columns are %s; nothing was imported",
				i+1, strings.Join(known, ", "))
		}
	}

	if !slices.ContainsFunc(personColumns(), f.Has) {
		return exit.WrongUsage("no column says who decided; give at least one of %s; nothing was imported",
			strings.Join(personColumns(), ", "))
	}
	return nil
}

// records reads the file from its beginning.
func (f *ConsentFile) records() (*records, error) {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return readRecords(f.file, ConsentColumns())
}

// lineCounter counts line feeds.
type lineCounter struct{ n int64 }

func (c *lineCounter) Write(text []byte) (int, error) {
	for _, b := range text {
		if b == '\n' {
			c.n++
		}
	}
	return len(text), nil
}

// claim is a row that was understood: who decided, and what.
type claim struct {
	line         int
	municipality string // its code
	who          identity
	what         commands.ClaimConsent
}

// identity is how a row names a person. An empty field does not.
type identity struct {
	id       domain.UserID
	external domain.ExternalID
	email    string // in canonical form, as the phone
	phone    string

	name     string // of a resident to be recorded, and to tell two people of one phone apart
	language domain.Language
}

// String returns the same text for rows that name a person in the same way.
func (i identity) String() string {
	switch {
	case !i.id.IsZero():
		return i.id.String()
	case i.external.Value != "":
		return string(i.external.Type) + ":" + i.external.Value
	case i.email != "":
		return i.email
	default:
		return i.phone
	}
}

// claimOf reads one row, and returns all its faults at once.
func (c *Consents) claimOf(row Row) (claim, error) {
	var f domain.Faults
	is := claim{line: row.Line, who: identityOf(&f, row)}
	is.municipality = domain.CanonicalMunicipalityCode(row.Fields["municipality"])
	whole := domain.CanonicalMunicipalityCode(c.Municipality)
	switch {
	case is.municipality == "":
		is.municipality = whole
	case whole != "" && is.municipality != whole:
		return claim{}, &fault{codeOtherMunicipality, "it is of another municipality than --municipality"}
	}
	if is.municipality == "" {
		f.Add("municipality", "required", "Give its code, or --municipality for the whole file.")
	}

	given, dayOnly := givenAt(row.Fields["given_at"])
	is.what = commands.ClaimConsent{
		Purpose: row.Fields["purpose"], Decided: domain.Outcome(strings.ToLower(row.Fields["decision"])),
		GivenAt: given, DayOnly: dayOnly, Language: domain.Language(strings.ToLower(row.Fields["language"])),
		Channel: domain.Channel(strings.ToLower(row.Fields["channel"])), NoticeVersion: version(row),
		WordingSHA256: strings.ToLower(row.Fields["wording_sha256"]),
		Grade:         domain.Grade(strings.ToLower(row.Fields["evidence_grade"])), Source: c.Source,
		Record: row.Fields["record"], FileSHA256: c.File.SHA256, Line: row.Line,
	}
	if is.what.Grade == "" {
		is.what.Grade = domain.GradeClaimed
	}
	if hash, kept := row.Fields["evidence_sha256"], row.Fields["evidence_reference"]; hash != "" || kept != "" {
		is.what.Evidence = &domain.Evidence{SHA256: strings.ToLower(hash), Reference: kept}
	}
	by := domain.CompetentPerson{
		Name: row.Fields["given_by_name"], Relation: row.Fields["given_by_relation"],
		Authority: row.Fields["given_by_authority"],
	}
	if by != (domain.CompetentPerson{}) {
		is.what.GivenBy = &by
	}

	is.what.Wish().Check(&f)
	return is, f.Err()
}

// identityOf reads who decided.
func identityOf(f *domain.Faults, row Row) (who identity) {
	id, external := row.Fields["subject_id"], row.Fields["external_id"]
	email, phone := row.Fields["email"], row.Fields["phone"]
	if id+external+email+phone == "" {
		f.Add("person", "required", "Say who decided: "+strings.Join(personColumns(), ", ")+".")
	}

	if id != "" {
		parsed, err := uuid.Parse(id)
		if err != nil || parsed == uuid.Nil || len(id) != len(parsed.String()) {
			f.Add("subject_id", "invalid", "Give an id, such as 01890a5d-ac96-774b-bcce-b302099a8057.")
		}
		who.id = domain.UserID{UUID: parsed}
	}
	if external != "" {
		kind, value, _ := strings.Cut(external, ":")
		who.external = domain.ExternalID{
			Type:  domain.ExternalIDType(strings.ToLower(strings.TrimSpace(kind))),
			Value: domain.CanonicalExternalID(value),
		}
		f.ExternalID("external_id", who.external)
	}
	if email != "" {
		who.email = domain.CanonicalEmail(email)
		f.Email("email", who.email)
	}
	who.phone = domain.CanonicalPhone(phone)
	f.Phone("phone", who.phone)

	who.name = row.Fields["full_name"]
	who.language = domain.Language(strings.ToLower(row.Fields["preferred_language"]))
	return who
}

// version reads the version of the notice; one that is not a number is refused as -1.
func version(row Row) int {
	text := row.Fields["notice_version"]
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n == 0 {
		return -1
	}
	return n
}

// givenAt reads when a person decided: a day, which stands for its beginning in South
// Africa, or a date and time, which without a zone is South African too. Anything else is
// the zero time, which is refused: 03/04/2019 is not the same day everywhere.
func givenAt(text string) (at time.Time, dayOnly bool) {
	southAfrica := time.FixedZone("SAST", 2*60*60)
	if day, err := time.ParseInLocation(time.DateOnly, text, southAfrica); err == nil {
		return day, true
	}

	if len(text) > len(time.DateOnly) && text[len(time.DateOnly)] == ' ' { // as databases write it
		text = text[:len(time.DateOnly)] + "T" + text[len(time.DateOnly)+1:]
	}
	for _, clock := range []string{"T15:04:05", "T15:04"} {
		for _, zone := range []string{"", "Z07:00", "Z07"} {
			at, err := time.ParseInLocation(time.DateOnly+clock+zone, text, southAfrica)
			if err == nil {
				return at, false
			}
		}
	}
	return time.Time{}, false
}
