package importer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
)

// Report is a file that names the refused rows by line and code. Its last record holds
// the totals; without it, the import did not end.
type Report struct {
	file *os.File
	out  *bufio.Writer
	csv  bool
}

// CreateReport begins a report in the form that the file's name ends with: CSV for
// spreadsheets, or ndjson.
func CreateReport(path string) (*Report, error) {
	r := &Report{}
	switch ending := strings.ToLower(filepath.Ext(path)); ending {
	case ".csv":
		r.csv = true
	case ".ndjson":
	default:
		return nil, exit.WrongUsage("the name of the report ends in neither .csv nor .ndjson; nothing was imported")
	}

	var err error
	if r.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err != nil {
		return nil, exit.Unreachable(err, "cannot write the report; nothing was imported")
	}
	r.out = bufio.NewWriter(r.file)
	if r.csv {
		const byteOrderMark = "\ufeff"
		_, err = io.WriteString(r.out, byteOrderMark+"line,code,reason\r\n")
	}
	return r, err
}

// Write adds a refused row.
func (r *Report) Write(b BadRow) error {
	if r.csv {
		_, err := fmt.Fprintf(r.out, "%d,%s,\"%s\"\r\n", b.Line, b.Code, strings.ReplaceAll(b.Reason, `"`, `""`))
		return err
	}
	return json.NewEncoder(r.out).Encode(map[string]any{"line": b.Line, "code": b.Code, "reason": b.Reason})
}

// End writes the totals.
func (r *Report) End(t ConsentTally) error {
	var err error
	if r.csv {
		_, err = fmt.Fprintf(r.out, "end,%d,%d,%d\r\n", t.Recorded, t.Unchanged, t.Refused)
	} else {
		_, err = fmt.Fprintf(r.out, "{\"end\":true,\"recorded\":%d,\"unchanged\":%d,\"refused\":%d}\n",
			t.Recorded, t.Unchanged, t.Refused)
	}
	if err != nil {
		return err
	}
	return r.out.Flush()
}

// Close closes the file.
func (r *Report) Close() error { return r.file.Close() }
