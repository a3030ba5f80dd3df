package importer

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/salga-trust/engine/cmd/trust/data"
	"github.com/salga-trust/engine/cmd/trust/internal/exit"
)

// Row is one record of a CSV file: its fields by the names of the columns, without the
// blanks around them.
type Row struct {
	Line   int // in the file, from 1; the first one if it has several
	Fields map[string]string
}

// BadRow is a record that cannot be imported, and why: a code that does not change, and a
// reason that repeats no value.
type BadRow struct {
	Line   int
	Code   string
	Reason string
}

const (
	// maxRecordLines bounds the search for the end of a quoted field: no text has more
	// lines, and a quote that was never closed must not swallow the rest of the file.
	maxRecordLines = 200
	// maxLine is how many bytes of a line are held: more than the longest notices take.
	maxLine = 1 << 20
)

// The codes of records that are not CSV.
const (
	codeNotUTF8     = "not_utf8"
	codeNUL         = "nul_character"
	codeUnclosed    = "unclosed_quote"
	codeStrayQuote  = "stray_quote"
	codeWrongWidth  = "wrong_number_of_fields"
	codeLineTooLong = "line_too_long"
)

// fault is what is wrong with the form of a record.
type fault struct{ code, reason string }

func (f *fault) Error() string { return f.reason }

func unclosed() *fault { return &fault{codeUnclosed, "a quotation mark is opened and not closed"} }

// ReadFile reads a whole file. It fails for a file that cannot be read or lacks a column,
// but not for a broken row.
func ReadFile(path string, required []string) ([]Row, []BadRow, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, exit.Unreachable(err, "cannot read the file; nothing was imported")
	}
	rows, bad, err := Parse(text, required)
	if err != nil {
		return nil, nil, exit.WrongUsage("%s: %v; nothing was imported", path, err)
	}
	return rows, bad, nil
}

// Embedded reads a file that is built into the program.
func Embedded(name string, required []string) ([]Row, []BadRow, error) {
	text, err := data.Files.ReadFile(name + ".csv")
	if err != nil {
		return nil, nil, err
	}
	return Parse(text, required)
}

// Parse reads all records of a text.
func Parse(text []byte, required []string) ([]Row, []BadRow, error) {
	records, err := readRecords(bytes.NewReader(text), required)
	if err != nil {
		return nil, nil, err
	}

	var rows []Row
	var bad []BadRow
	for {
		row, broken, err := records.next()
		switch {
		case errors.Is(err, io.EOF):
			return rows, bad, nil
		case err != nil:
			return nil, nil, err
		case broken != nil:
			bad = append(bad, *broken)
		default:
			rows = append(rows, row)
		}
	}
}

// records reads a CSV file one record at a time, as in RFC 4180, in UTF-8 with or without
// a byte order mark. It holds one record in memory. The standard library's reader would
// lose everything after a quote that is not closed, so it gets one record at a time.
type records struct {
	lines   lines
	columns []string
}

// readRecords reads the names of the columns. It fails for a file that is not CSV or
// lacks a column.
func readRecords(from io.Reader, required []string) (*records, error) {
	r := &records{lines: lines{from: bufio.NewReaderSize(from, 64<<10)}}
	start, err := r.lines.from.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}

	switch {
	case bytes.HasPrefix(start, []byte{0xff, 0xfe}), bytes.HasPrefix(start, []byte{0xfe, 0xff}):
		return nil, errors.New("the file is UTF-16; save it as UTF-8")
	case bytes.HasPrefix(start, []byte("PK\x03\x04")):
		return nil, errors.New("the file is a spreadsheet or an archive; save it as CSV in UTF-8")
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		if _, err := r.lines.from.Discard(3); err != nil {
			return nil, err
		}
	}

	return r, r.readHeader(required)
}

// next returns the next record, or why it is none. At the end it fails with io.EOF.
func (r *records) next() (Row, *BadRow, error) {
	start, err := r.lines.skipBlank()
	if err != nil {
		return Row{}, nil, err
	}

	fields, used, err := r.readRecord()
	r.lines.drop(used)
	if broken, is := errors.AsType[*fault](err); is {
		return Row{}, &BadRow{start, broken.code, broken.reason}, nil
	}
	if err != nil {
		return Row{}, nil, err
	}

	row := Row{Line: start, Fields: make(map[string]string, len(fields))}
	for i, column := range r.columns {
		row.Fields[column] = strings.TrimSpace(fields[i])
	}
	return row, nil, nil
}

// readHeader reads the columns' names, in lower case.
func (r *records) readHeader(required []string) error {
	number, err := r.lines.skipBlank()
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty; its first line has the names of the columns")
	}
	if err != nil {
		return err
	}

	columns, err := readFields(r.lines.ahead[0])
	if err != nil {
		return fmt.Errorf("line %d, the names of the columns: %w", number, err)
	}
	r.lines.drop(1)

	for i, column := range columns {
		columns[i] = strings.ToLower(strings.TrimSpace(column))
		if columns[i] != "" && slices.Contains(columns[:i], columns[i]) {
			return fmt.Errorf("the column %s is there twice", columns[i])
		}
	}

	var missing []string
	for _, column := range required {
		if !slices.Contains(columns, column) {
			missing = append(missing, column)
		}
	}

	switch {
	case len(missing) > 0 && len(columns) == 1 && strings.Contains(columns[0], ";"):
		return errors.New("the columns are separated by semicolons; separate them by commas")
	case len(missing) > 0 && len(columns) == 1 && strings.Contains(columns[0], "\t"):
		return errors.New("the columns are separated by tabs; separate them by commas")
	case len(missing) > 0:
		return fmt.Errorf("the column %s is missing", strings.Join(missing, ", "))
	}

	r.columns = columns
	return nil
}

// readRecord reads the record that starts at the next line, and returns how many lines it
// takes: more than one when a quoted field has line breaks. If the result is not a record
// of the right width, the quote counts as a mistake in this line.
func (r *records) readRecord() ([]string, int, error) {
	record, used := r.lines.ahead[0], 1
	for strings.Count(record.text, `"`)%2 == 1 {
		more, err := r.lines.peek(used)
		if errors.Is(err, io.EOF) || used == maxRecordLines || more.long || len(record.text) > maxLine {
			return nil, 1, unclosed()
		}
		if err != nil {
			return nil, 0, err
		}
		record.text += "\n" + more.text
		used++
	}

	fields, err := readFields(record)
	wrong := err != nil || len(fields) != len(r.columns)
	switch {
	case wrong && used > 1:
		return nil, 1, unclosed()
	case err != nil:
		return nil, used, err
	case wrong:
		return nil, used, &fault{
			codeWrongWidth, fmt.Sprintf("it has %d fields instead of %d", len(fields), len(r.columns)),
		}
	default:
		return fields, used, nil
	}
}

// readFields splits one complete record.
func readFields(record line) ([]string, error) {
	switch {
	case record.long:
		return nil, &fault{codeLineTooLong, "it is too long to be a record"}
	case !utf8.ValidString(record.text):
		return nil, &fault{codeNotUTF8, "it is not UTF-8"}
	case strings.ContainsRune(record.text, 0):
		return nil, &fault{codeNUL, "it has a NUL character"}
	}

	reader := csv.NewReader(strings.NewReader(record.text))
	reader.FieldsPerRecord = -1
	fields, err := reader.Read()
	if err != nil {
		return nil, &fault{
			codeStrayQuote, "a quotation mark is in the wrong place; put a field with quotation marks in " +
				"quotation marks, and double those inside",
		}
	}
	return fields, nil
}

// line is one line of a file, without its line feed.
type line struct {
	text string
	long bool // too long to be held: text is empty
}

// lines reads lines, and holds those that were looked at and not taken.
type lines struct {
	from  *bufio.Reader
	ahead []line
	taken int // how many came before ahead
}

// peek returns a line that was not taken, the next one being 0. After the last it fails
// with io.EOF.
func (l *lines) peek(n int) (line, error) {
	for len(l.ahead) <= n {
		next, err := readLine(l.from)
		if err != nil {
			return line{}, err
		}
		l.ahead = append(l.ahead, next)
	}
	return l.ahead[n], nil
}

// drop takes lines that were looked at.
func (l *lines) drop(n int) {
	l.taken += n
	l.ahead = slices.Delete(l.ahead, 0, n)
}

// skipBlank takes blank lines, looks at the one after them, and returns its number.
func (l *lines) skipBlank() (number int, err error) {
	for {
		next, err := l.peek(0)
		if err != nil {
			return 0, err
		}
		if next.long || strings.TrimSpace(next.text) != "" {
			return l.taken + 1, nil
		}
		l.drop(1)
	}
}

// readLine reads up to the next line feed or the end. Of a line that is too long it keeps
// nothing.
func readLine(from *bufio.Reader) (line, error) {
	var text []byte
	var long bool
	for {
		part, err := from.ReadSlice('\n')
		if long = long || len(text)+len(part) > maxLine; long {
			text = nil
		} else {
			text = append(text, part...)
		}

		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (len(text) > 0 || long):
		case err != nil:
			return line{}, err
		}
		return line{strings.TrimSuffix(string(text), "\n"), long}, nil
	}
}
