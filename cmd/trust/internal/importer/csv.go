package importer

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
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

// BadRow is a record that cannot be imported, and why. The reason repeats no value.
type BadRow struct {
	Line   int
	Reason string
}

// maxRecordLines bounds the search for the end of a quoted field: no text has more lines,
// and a quote that was never closed must not swallow the rest of the file.
const maxRecordLines = 200

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

// Parse reads records as in RFC 4180, in UTF-8 with or without a byte order mark. The
// standard library's reader would lose everything after a quote that is not closed, so it
// gets one record at a time.
func Parse(text []byte, required []string) ([]Row, []BadRow, error) {
	if bytes.HasPrefix(text, []byte{0xff, 0xfe}) || bytes.HasPrefix(text, []byte{0xfe, 0xff}) {
		return nil, nil, errors.New("the file is UTF-16; save it as UTF-8")
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	lines := strings.Split(string(text), "\n")

	columns, next, err := readHeader(lines, required)
	if err != nil {
		return nil, nil, err
	}

	var rows []Row
	var bad []BadRow
	for next < len(lines) {
		start := next
		if strings.TrimSpace(lines[start]) == "" {
			next++
			continue
		}

		fields, used, err := readRecord(lines[start:], len(columns))
		next += used
		if err != nil {
			bad = append(bad, BadRow{start + 1, err.Error()})
			continue
		}

		row := Row{Line: start + 1, Fields: map[string]string{}}
		for i, column := range columns {
			row.Fields[column] = strings.TrimSpace(fields[i])
		}
		rows = append(rows, row)
	}
	return rows, bad, nil
}

// readHeader returns the columns' names in lower case, and the number of lines they take.
func readHeader(lines, required []string) ([]string, int, error) {
	first := 0
	for first < len(lines) && strings.TrimSpace(lines[first]) == "" {
		first++
	}
	if first == len(lines) {
		return nil, 0, errors.New("the file is empty; its first line has the names of the columns")
	}

	columns, err := readFields(lines[first])
	if err != nil {
		return nil, 0, fmt.Errorf("line %d, the names of the columns: %w", first+1, err)
	}

	for i, column := range columns {
		columns[i] = strings.ToLower(strings.TrimSpace(column))
		if columns[i] != "" && slices.Contains(columns[:i], columns[i]) {
			return nil, 0, fmt.Errorf("the column %s is there twice", columns[i])
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
		return nil, 0, errors.New("the columns are separated by semicolons; separate them by commas")
	case len(missing) > 0:
		return nil, 0, fmt.Errorf("the column %s is missing", strings.Join(missing, ", "))
	}
	return columns, first + 1, nil
}

// readRecord reads the record that starts at the first of lines, and returns how many
// lines it takes: more than one when a quoted field has line breaks. If the result is not
// a record of the right width, the quote counts as a mistake in this line.
func readRecord(lines []string, width int) ([]string, int, error) {
	record, used := lines[0], 1
	for strings.Count(record, `"`)%2 == 1 {
		if used == len(lines) || used == maxRecordLines {
			return nil, 1, errors.New("a quotation mark is opened and not closed")
		}
		record += "\n" + lines[used]
		used++
	}

	fields, err := readFields(record)
	switch {
	case err != nil && used > 1:
		return nil, 1, errors.New("a quotation mark is opened and not closed")
	case err != nil:
		return nil, used, err
	case len(fields) != width && used > 1:
		return nil, 1, errors.New("a quotation mark is opened and not closed")
	case len(fields) != width:
		return nil, used, fmt.Errorf("it has %d fields instead of %d", len(fields), width)
	default:
		return fields, used, nil
	}
}

// readFields splits one complete record.
func readFields(record string) ([]string, error) {
	if !utf8.ValidString(record) {
		return nil, errors.New("it is not UTF-8")
	}

	reader := csv.NewReader(strings.NewReader(record))
	reader.FieldsPerRecord = -1
	fields, err := reader.Read()
	if err != nil {
		return nil, errors.New("a quotation mark is in the wrong place; put a field with quotation marks in " +
			"quotation marks, and double those inside")
	}
	return fields, nil
}
