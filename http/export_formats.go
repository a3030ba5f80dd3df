package http

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/salga-trust/engine/domain"
)

// Format is how an export of consents is written.
type Format string

// The formats of an export.
const (
	JSON   Format = "json"   // one object: position, as_of, items, count
	CSV    Format = "csv"    // RFC 4180, UTF-8, with a header line; what a spreadsheet would take for a formula is quoted
	NDJSON Format = "ndjson" // one object a line; the last line is {"end":true,"count":…,"position":…}
)

func (f Format) mediaType() string {
	switch f {
	case CSV:
		return "text/csv; charset=utf-8; header=present"
	case NDJSON:
		return "application/x-ndjson"
	default:
		return "application/json"
	}
}

// schema describes the document to clients.
func (f Format) schema() *huma.Schema {
	consent := &huma.Schema{Ref: schemaPrefix + "ConsentBody"}
	whole := func(example int) *huma.Schema {
		return &huma.Schema{Type: huma.TypeInteger, Format: "int64", Examples: []any{example}}
	}
	switch f {
	case CSV:
		return &huma.Schema{Type: huma.TypeString, Description: "A header line with the names of a consent's fields, and a line for each consent."}
	case NDJSON:
		return &huma.Schema{Type: huma.TypeString, Description: `A consent a line; the last line is {"end":true,"count":…,"position":…}.`}
	default:
		return &huma.Schema{
			Type: huma.TypeObject, AdditionalProperties: false, Required: []string{"position", "as_of", "items", "count"},
			Properties: map[string]*huma.Schema{
				"position": whole(1050), "as_of": {Type: huma.TypeString, Format: "date-time", Nullable: true, Description: "As asked for."},
				"items": {Type: huma.TypeArray, Items: consent}, "count": whole(1),
			},
		}
	}
}

// ConsentExport writes the consents of a replay as one document, each as it comes. The same consents at the same position give
// the same bytes, over HTTP and on the command line. A document that was not ended by Close is recognisably cut off in JSON and
// NDJSON. It fails as the writer below fails.
type ConsentExport struct {
	format   Format
	position int64
	people   bool // each row tells who the subject is
	out      *bufio.Writer
	json     *json.Encoder // onto out
	csv      *csv.Writer   // onto out
	columns  []csvColumn
	count    int64
}

// Revealed is who the subject of a consent is; of somebody whose data was erased, each field says so.
type Revealed struct {
	FullName string `json:"full_name"`
	Email    string `json:"email"`
	Phone    string `json:"phone"`
}

// exportRow is one consent of an export.
type exportRow struct {
	consentBody
	Person *Revealed `json:"person,omitempty"`
}

// NewConsentExport begins a document about the state at a position, as of an instant; the zero instant is the end of what was
// known. With people, every row tells who the subject is.
func NewConsentExport(w io.Writer, format Format, position int64, asOf time.Time, people bool) (*ConsentExport, error) {
	x := &ConsentExport{format: format, position: position, people: people, out: bufio.NewWriterSize(w, exportBuffer)}
	x.json, x.csv, x.columns = json.NewEncoder(x.out), csv.NewWriter(x.out), csvColumns(people)
	x.json.SetEscapeHTML(false)
	switch format {
	case JSON:
		when, err := json.Marshal(whenever(asOf))
		if err != nil {
			return nil, err
		}
		_, err = fmt.Fprintf(x.out, "{\"position\":%d,\"as_of\":%s,\"items\":[\n", position, when)
		return x, err
	case CSV:
		return x, x.csv.Write(x.cells(func(c csvColumn) string { return c.name }))
	case NDJSON:
		return x, nil
	default:
		return nil, fmt.Errorf("no such format: %q", format)
	}
}

// exportBuffer is how much is written at once: large enough that a slow line costs few calls.
const exportBuffer = 32 << 10

// Write adds one consent; who its subject is only if the export was begun with people.
func (x *ConsentExport) Write(c domain.Consent, person Revealed) error {
	row := exportRow{consentBody: consentOf(c)}
	if x.people {
		row.Person = &person
	}
	x.count++
	switch {
	case x.format == CSV:
		return x.csv.Write(x.cells(func(c csvColumn) string { return harmless(c.of(row)) }))
	case x.format == JSON && x.count > 1:
		if err := x.out.WriteByte(','); err != nil {
			return err
		}
	}
	return x.json.Encode(row) // and a line break
}

func (x *ConsentExport) cells(of func(csvColumn) string) []string {
	cells := make([]string, len(x.columns))
	for i, c := range x.columns {
		cells[i] = of(c)
	}
	return cells
}

// Close ends the document and writes what is buffered. It does not close the writer below.
func (x *ConsentExport) Close() error {
	var err error
	switch x.format {
	case JSON:
		_, err = fmt.Fprintf(x.out, "],\"count\":%d}\n", x.count)
	case NDJSON:
		_, err = fmt.Fprintf(x.out, "{\"end\":true,\"count\":%d,\"position\":%d}\n", x.count, x.position)
	case CSV:
		x.csv.Flush()
		err = x.csv.Error()
	}
	if err != nil {
		return err
	}
	return x.out.Flush()
}

// csvColumns are the columns of CSV: the fields of a consent, and of a person, under their names in JSON.
func csvColumns(people bool) []csvColumn {
	columns := []csvColumn{
		{"id", func(r exportRow) string { return r.ID.String() }},
		{"subject_id", func(r exportRow) string { return r.SubjectID.String() }},
		{"purpose", func(r exportRow) string { return r.Purpose }},
		{"purpose_description", func(r exportRow) string { return r.PurposeDescription }},
		{"language", func(r exportRow) string { return string(r.Language) }},
		{"consented", func(r exportRow) string { return strconv.FormatBool(r.Consented) }},
		{"consented_at", func(r exportRow) string { return printed(r.ConsentedAt) }},
		{"withdrawn", func(r exportRow) string { return strconv.FormatBool(r.Withdrawn) }},
		{"withdrawn_at", func(r exportRow) string { return printed(r.WithdrawnAt) }},
		{"channel", func(r exportRow) string { return string(r.Channel) }},
		{"given_at", func(r exportRow) string { return printed(&r.GivenAt) }},
		{"recorded_at", func(r exportRow) string { return printed(&r.RecordedAt) }},
		{"notice_version", func(r exportRow) string { return strconv.Itoa(r.NoticeVersion) }},
		{"sha256", func(r exportRow) string { return r.SHA256 }},
		{"given_by", func(r exportRow) string { return r.GivenBy }},
		{"recorded_by", func(r exportRow) string { return printed(r.RecordedBy) }},
		{"evidence_sha256", func(r exportRow) string { return printed(r.EvidenceSHA256) }},
		{"position", func(r exportRow) string { return position(r.Position) }},
	}
	if people {
		columns = append(columns,
			csvColumn{"full_name", func(r exportRow) string { return r.Person.FullName }},
			csvColumn{"email", func(r exportRow) string { return r.Person.Email }},
			csvColumn{"phone", func(r exportRow) string { return r.Person.Phone }})
	}
	return columns
}

type csvColumn struct {
	name string
	of   func(exportRow) string
}

// harmless quotes a cell that a spreadsheet would run as a formula (OWASP, CSV injection).
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// printed gives a value, nothing for null.
func printed[T any](v *T) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(*v)
}
