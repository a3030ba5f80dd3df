package http

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/salga-trust/engine/domain"
)

// Format is how an export of consents is written.
type Format string

// The formats of an export.
const (
	// JSON is one object: position, as_of, items, count.
	JSON Format = "json"
	// CSV is for spreadsheets, see csvDescription; its last record is
	// end,COUNT,POSITION,AS_OF.
	CSV Format = "csv"
	// NDJSON is one object per line; the last is
	// {"end":true,"count":…,"position":…,"as_of":…}.
	NDJSON Format = "ndjson"
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
		return &huma.Schema{Type: huma.TypeString, Description: csvDescription}
	case NDJSON:
		return &huma.Schema{
			Type:        huma.TypeString,
			Description: `One consent per line; the last line is {"end":true,"count":…,"position":…,"as_of":…}.`,
		}
	default:
		return &huma.Schema{
			Type: huma.TypeObject, AdditionalProperties: false,
			Required: []string{"position", "as_of", "items", "count"},
			Properties: map[string]*huma.Schema{
				"position": whole(1050),
				"as_of": {
					Type: huma.TypeString, Format: "date-time", Nullable: true, Description: "As requested.",
				},
				"items": {Type: huma.TypeArray, Items: consent},
				"count": whole(1),
			},
		}
	}
}

const csvDescription = "For spreadsheets: UTF-8 with a byte order mark, lines ending in CR LF, every text quoted, " +
	"and an apostrophe before a text that a spreadsheet would run as a formula. A header, one line per consent, and " +
	"a last record of four fields: end, the number of consents, the position, and as_of as requested. A file " +
	"without that record was cut off."

// ConsentExport writes the consents of a replay as one document, each as it arrives. The
// same consents at the same position produce the same bytes, over HTTP and on the command
// line. In every format, a document that Close did not end can be seen to be cut off. It
// fails as the underlying writer fails.
type ConsentExport struct {
	of      ConsentDocument
	out     *bufio.Writer
	json    *json.Encoder // writes to out
	columns []csvColumn
	count   int64
}

// ConsentDocument says which document of consents to write.
type ConsentDocument struct {
	Format       Format
	Municipality string    // its code, a column of CSV
	Position     int64     // as known at this position
	AsOf         time.Time // the state at this instant; zero: at the end of what was known
	People       bool      // each row names its subject
}

// Revealed is the identity of a consent's subject. If their data was erased, each field
// says so.
type Revealed struct {
	FullName string `json:"full_name"`
	Email    string `json:"email"`
	Phone    string `json:"phone"`
}

// exportRow is one line of an export.
type exportRow struct {
	consentBody
	Person *Revealed `json:"person,omitempty"`
}

// NewConsentExport begins a document.
func NewConsentExport(w io.Writer, of ConsentDocument) (*ConsentExport, error) {
	x := &ConsentExport{of: of, out: bufio.NewWriterSize(w, exportBuffer), columns: csvColumns(of)}
	x.json = json.NewEncoder(x.out)
	x.json.SetEscapeHTML(false)

	switch of.Format {
	case JSON:
		_, err := fmt.Fprintf(x.out, "{%s,\"items\":[\n", x.clocks())
		return x, err
	case CSV:
		return x, x.header()
	case NDJSON:
		return x, nil
	default:
		return nil, fmt.Errorf("unknown format: %q", of.Format)
	}
}

// exportBuffer is how much is written at once: large enough for few calls on a slow line.
const exportBuffer = 32 << 10

// Write adds one consent, and its subject if the document names people.
func (x *ConsentExport) Write(c domain.Decided, person Revealed) error {
	row := exportRow{consentBody: consentOf(c)}
	if x.of.People {
		row.Person = &person
	}
	x.count++

	switch {
	case x.of.Format == CSV:
		cells := make([]string, len(x.columns))
		for i, column := range x.columns {
			cells[i] = column.of(row)
		}
		return x.line(cells...)
	case x.of.Format == JSON && x.count > 1:
		if err := x.out.WriteByte(','); err != nil {
			return err
		}
	}
	return x.json.Encode(row) // which adds a line break
}

// Close ends the document and flushes the buffer. It does not close the underlying
// writer.
func (x *ConsentExport) Close() error {
	var err error
	switch x.of.Format {
	case JSON:
		_, err = fmt.Fprintf(x.out, "],\"count\":%d}\n", x.count)
	case NDJSON:
		_, err = fmt.Fprintf(x.out, "{\"end\":true,\"count\":%d,%s}\n", x.count, x.clocks())
	case CSV:
		err = x.line("end", strconv.FormatInt(x.count, 10), position(x.of.Position), printed(instantOrNull(x.of.AsOf)))
	}
	if err != nil {
		return err
	}
	return x.out.Flush()
}

// clocks returns the fields of JSON that name what the document was answered at: with
// both, the same question has the same bytes.
func (x *ConsentExport) clocks() string {
	when := "null"
	if at := instantOrNull(x.of.AsOf); at != nil {
		when = strconv.Quote(at.String())
	}
	return fmt.Sprintf("\"position\":%d,\"as_of\":%s", x.of.Position, when)
}

// header begins CSV with a byte order mark, which tells a spreadsheet that it is UTF-8,
// and the names of the columns.
func (x *ConsentExport) header() error {
	const byteOrderMark = "\ufeff"
	if _, err := x.out.WriteString(byteOrderMark); err != nil {
		return err
	}

	names := make([]string, len(x.columns))
	for i, column := range x.columns {
		names[i] = quoted(column.name)
	}
	return x.line(names...)
}

// line writes one record of CSV.
func (x *ConsentExport) line(cells ...string) error {
	_, err := x.out.WriteString(strings.Join(cells, ",") + "\r\n")
	return err
}

// csvColumns returns the columns of CSV: the municipality, then the fields of a consent
// and of a person, under their names in JSON.
func csvColumns(of ConsentDocument) []csvColumn {
	columns := []csvColumn{
		text("municipality", func(exportRow) string { return of.Municipality }),
		text("id", func(r exportRow) string { return r.ID.String() }),
		text("subject_id", func(r exportRow) string { return r.SubjectID.String() }),
		text("purpose", func(r exportRow) string { return r.Purpose }),
		text("purpose_description", func(r exportRow) string { return printed(r.PurposeDescription) }),
		text("language", func(r exportRow) string { return printed(r.Language) }),
		{"consented", func(r exportRow) string { return strconv.FormatBool(r.Consented) }},
		text("consented_at", func(r exportRow) string { return printed(r.ConsentedAt) }),
		{"withdrawn", func(r exportRow) string { return strconv.FormatBool(r.Withdrawn) }},
		text("withdrawn_at", func(r exportRow) string { return printed(r.WithdrawnAt) }),
		text("valid_until", func(r exportRow) string { return printed(r.ValidUntil) }),
		text("lapses_at", func(r exportRow) string { return printed(r.LapsesAt) }),
		text("status", func(r exportRow) string { return string(r.Status) }),
		{"in_force", func(r exportRow) string { return strconv.FormatBool(r.InForce) }},
		text("annulled_at", func(r exportRow) string { return printed(r.AnnulledAt) }),
		text("moved_to", func(r exportRow) string { return printed(r.MovedTo) }),
		text("channel", func(r exportRow) string { return printed(r.Channel) }),
		text("given_at", func(r exportRow) string { return printed(&r.GivenAt) }),
		text("recorded_at", func(r exportRow) string { return printed(&r.RecordedAt) }),
		{"notice_version", func(r exportRow) string { return printed(r.NoticeVersion) }},
		text("sha256", func(r exportRow) string { return printed(r.SHA256) }),
		text("given_by", func(r exportRow) string { return r.GivenBy }),
		text("recorded_by", func(r exportRow) string { return printed(r.RecordedBy) }),
		text("evidence_sha256", func(r exportRow) string { return printed(r.EvidenceSHA256) }),
		text("evidence_grade", func(r exportRow) string { return printed(r.EvidenceGrade) }),
		text("source", func(r exportRow) string { return printed(r.Source) }),
		text("created_by", func(r exportRow) string { return printed(r.CreatedBy) }),
		text("updated_at", func(r exportRow) string { return printed(&r.UpdatedAt) }),
		text("updated_by", func(r exportRow) string { return printed(r.UpdatedBy) }),
		{"position", func(r exportRow) string { return position(r.Position) }},
	}

	if of.People {
		columns = append(columns,
			text("full_name", func(r exportRow) string { return r.Person.FullName }),
			text("email", func(r exportRow) string { return r.Person.Email }),
			text("phone", func(r exportRow) string { return r.Person.Phone }))
	}
	return columns
}

// csvColumn is a column of CSV; of returns its cell in a row.
type csvColumn struct {
	name string
	of   func(exportRow) string
}

// text is a column whose cells are texts.
func text(name string, of func(exportRow) string) csvColumn {
	return csvColumn{name, func(r exportRow) string { return quoted(harmless(of(r))) }}
}

// quoted returns a text as a cell of CSV. Every text is quoted, so that a spreadsheet
// which splits cells at semicolons does not split it.
func quoted(cell string) string { return `"` + strings.ReplaceAll(cell, `"`, `""`) + `"` }

// harmless puts an apostrophe before a cell that a spreadsheet would run as a formula
// (OWASP, CSV injection), including one that begins with a full-width sign.
func harmless(cell string) string {
	first, _ := utf8.DecodeRuneInString(cell)
	if cell != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + cell
	}
	return cell
}

// printed returns a value as text, empty for null.
func printed[T any](v *T) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(*v)
}
