package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// report is everything on the page, as the JSON file holds it.
type report struct {
	Quick       bool       `json:"quick"`
	Note        string     `json:"note,omitempty"`
	Day         string     `json:"day"`
	Seconds     float64    `json:"seconds"`
	Rounds      int        `json:"rounds"`
	Connections int        `json:"connections"`
	EventBytes  int        `json:"event_bytes,omitempty"` // of each event, as JSON
	Reordered   bool       `json:"reordered,omitempty"`   // the order of turns was another in each round
	Machine     []fact     `json:"machine"`
	Versions    []fact     `json:"versions"`
	Contenders  []fact     `json:"contenders"`
	Works       []measured `json:"works"`
}

// fact is one line about what was measured, or where.
type fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// describe records the machine and the versions that are measured.
func describe(ctx context.Context, e *env, size scale, note string) (*report, error) {
	payload, err := encoded()
	if err != nil {
		return nil, err
	}
	r := &report{
		Quick: size.Quick, Note: note, Day: time.Now().UTC().Format(time.DateOnly), Rounds: size.Rounds,
		Connections: e.connections, EventBytes: len(payload), Reordered: true,
	}

	synced, err := timeSync(e.scratch)
	if err != nil {
		return nil, err
	}
	r.Machine = []fact{
		{"processor", fmt.Sprintf("%s, %d cores", lineOf("/proc/cpuinfo", "model name"), runtime.NumCPU())},
		{"memory", lineOf("/proc/meminfo", "MemTotal")},
		{"write and fsync of 8 KiB", synced.Round(10 * time.Microsecond).String()},
		{"load before the run", e.load},
	}

	postgres, err := e.server.setting(ctx, "server_version")
	if err != nil {
		return nil, err
	}
	r.Versions = append(r.Versions, fact{"PostgreSQL", postgres})
	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes", "shared_buffers"} {
		value, err := e.server.setting(ctx, name)
		if err != nil {
			return nil, err
		}
		r.Versions = append(r.Versions, fact{name, value})
	}

	r.Versions = append(r.Versions, buildFacts()...)
	if e.modules != "" {
		node, err := exec.CommandContext(ctx, "node", "--version").Output()
		if err != nil {
			return nil, fmt.Errorf("node: %w", err)
		}
		r.Versions = append(r.Versions, fact{"Node", strings.TrimSpace(string(node))})
		for _, name := range []string{"@event-driven-io/emmett-postgresql", "@eventide/message-db"} {
			r.Versions = append(r.Versions, fact{name, moduleVersion(e.modules, name)})
		}
	}

	for _, c := range contenders() {
		r.Contenders = append(r.Contenders, fact{c.name, c.about})
	}
	r.Contenders = append(r.Contenders, fact{
		bareHTTPName,
		fmt.Sprintf("the baseline over HTTP: no account, no permission, no rate limit, no idempotency key, no record "+
			"of who read; one INSERT or SELECT for each request, %d connections", e.connections),
	})
	return r, nil
}

// buildFacts returns the versions that this program was built with.
func buildFacts() []fact {
	facts := []fact{{"Go", runtime.Version()}}
	info, known := debug.ReadBuildInfo()
	if !known {
		return facts
	}

	if revision := revisionOf(info.Settings); revision != "" {
		facts = append(facts, fact{"this repository", revision})
	}

	for _, name := range []string{"github.com/jackc/pgx/v5", "github.com/ThreeDotsLabs/watermill-sql/v3"} {
		i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == name })
		if i >= 0 {
			facts = append(facts, fact{name, info.Deps[i].Version})
		}
	}
	return facts
}

// revisionOf returns the commit that a program was built from, and says whether more than
// that commit was in it; "" if the build does not know.
func revisionOf(settings []debug.BuildSetting) (revision string) {
	changed := ""
	for _, setting := range settings {
		switch {
		case setting.Key == "vcs.revision":
			revision = setting.Value[:min(12, len(setting.Value))]
		case setting.Key == "vcs.modified" && setting.Value == "true":
			changed = ", with changes that are not committed"
		}
	}

	if revision == "" {
		return ""
	}
	return revision + changed
}

// timeSync returns how long a commit waits for this disk: the median of 50 writes.
func timeSync(dir string) (_ time.Duration, err error) {
	file, err := os.Create(filepath.Join(dir, "synced"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()

	page, took := make([]byte, 8192), make([]time.Duration, 50)
	for i := range took {
		began := time.Now()
		if _, err := file.WriteAt(page, 0); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// lineOf returns the value of a name in a file of the Linux kernel; "unknown" elsewhere.
func lineOf(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if before, after, found := strings.Cut(line, ":"); found && strings.TrimSpace(before) == name {
			return strings.TrimSpace(after)
		}
	}
	return "unknown"
}

func firstWord(path string) string {
	text, err := os.ReadFile(path)
	if err != nil || len(strings.Fields(string(text))) == 0 {
		return "unknown"
	}
	return strings.Fields(string(text))[0]
}

const (
	jsonName  = "benchmarks.json"
	pageName  = "benchmarks.md"
	chartName = "benchmarks.svg"
)

func readReport(docs string) (*report, error) {
	text, err := os.ReadFile(filepath.Join(docs, jsonName))
	if err != nil {
		return nil, err
	}
	var r report
	return &r, json.Unmarshal(text, &r)
}

// write writes the JSON file, the chart and the page into a folder, and the short table
// into the README between its marks.
func (r *report) write(docs, readme string) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(r); err != nil {
		return err
	}

	before, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	after, err := between(string(before), r.short())
	if err != nil {
		return fmt.Errorf("%s: %w", readme, err)
	}

	for path, text := range map[string]string{
		filepath.Join(docs, jsonName):  text.String(),
		filepath.Join(docs, pageName):  r.page(),
		filepath.Join(docs, chartName): r.chart(),
		readme:                         after,
	} {
		//nolint:gosec // documents, for everybody
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

const (
	tableBegins = "<!-- make bench writes what follows -->\n"
	tableEnds   = "<!-- make bench wrote what precedes -->\n"
)

// between replaces the text between the two marks.
func between(document, text string) (string, error) {
	head, rest, found := strings.Cut(document, tableBegins)
	_, tail, ends := strings.Cut(rest, tableEnds)
	if !found || !ends {
		return "", errors.New("the marks of the table of benchmarks are missing")
	}
	return head + tableBegins + text + tableEnds + tail, nil
}

// lineWidth is where lines of a document end; a row of a table may be longer.
const lineWidth = 120

// wrapped breaks a text into lines between words.
func wrapped(text string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		length := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case column+1+length > lineWidth:
			b.WriteString("\n")
			column = 0
		default:
			b.WriteString(" ")
			column++
		}

		b.WriteString(word)
		column += length
	}
	return b.String()
}

// when describes the run that the figures come from.
func (r *report) when() string {
	kind := "Measured"
	if r.Quick {
		kind = "A quick run, not for quoting: measured"
	}
	text := fmt.Sprintf("%s on %s in %s, medians of %d rounds.", kind, r.Day,
		time.Duration(r.Seconds*float64(time.Second)), r.Rounds)
	if r.Note != "" {
		text += " " + r.Note
	}
	return wrapped(text)
}

// short returns the table of the README.
func (r *report) short() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.when())
	r.table(&b)
	return b.String()
}

// rivals returns the other contenders with a column in the short table, in order.
func rivals() []string { return []string{"watermill-sql/v3", "message-db", "Emmett"} }

// table writes a row for each work: ours, the baseline, their ratio, and the rivals.
func (r *report) table(b *strings.Builder) {
	b.WriteString("| | ours | baseline | ours ÷ baseline | watermill-sql | message-db | Emmett |\n" +
		"|---|---:|---:|---:|---:|---:|---:|\n")
	for _, m := range r.Works {
		own, base := m.side(oursName), m.side(m.Baseline)
		fmt.Fprintf(b, "| %s | %s | %s | %s |", m.Work, m.figure(own), m.figure(base), ratio(own))
		for _, name := range rivals() {
			fmt.Fprintf(b, " %s |", m.figure(m.side(name)))
		}
		b.WriteString("\n")
	}
}

// side returns a side by its name, or an empty one if the work has none.
func (m measured) side(name string) result {
	if i := slices.IndexFunc(m.Sides, func(r result) bool { return r.Name == name }); i >= 0 {
		return m.Sides[i]
	}
	return result{}
}

// figure returns the figure of a side that counts.
func (m measured) figure(r result) string {
	switch {
	case r.Missing != "":
		return "not measured"
	case r.Name == "":
		return "–"
	case m.Latency:
		text := fmt.Sprintf("%s / %s ms", digits(r.P50), digits(r.P99))
		if r.Rate < 0.99*writesASecond { // its appends do not keep the pace
			text += fmt.Sprintf(" at %s/s", digits(r.Rate))
		}
		return text
	default:
		return digits(r.Rate) + "/s"
	}
}

func ratio(r result) string {
	if r.Ratio == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f ×", r.Ratio)
}

// digits writes a number with about three significant digits, and a space between
// thousands.
func digits(v float64) string {
	switch {
	case v >= 1000:
		n := int(v + 0.5)
		text := fmt.Sprintf("%d %03d", n/1000%1000, n%1000)
		if n >= 1_000_000 {
			text = fmt.Sprintf("%d %03d %03d", n/1_000_000, n/1000%1000, n%1000)
		}
		return text
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
