package main

import (
	"fmt"
	"math"
	"strings"
)

// page returns docs/benchmarks.md.
func (r *report) page() string {
	var b strings.Builder
	made := wrapped("Made by `make bench` (`make bench-quick`: under 5 minutes), which starts a Postgres of its own " +
		"with fsync on, and writes this page, the chart and [" + jsonName + "](" + jsonName + "). Run it yourself: " +
		"the figures are worth what others can measure.")
	fmt.Fprintf(&b, "# Benchmarks\n\n%s\n\n%s\n\n![How each contender compares with its baseline](%s)\n\n",
		made, r.when(), chartName)

	r.table(&b)
	b.WriteString(`
Figures are events or requests a second; for append → visible, the milliseconds within which half of the events, and
99 of 100, arrive. The baseline is bare pgx or, over HTTP, a bare net/http handler: not a rival but a measure, because
it lacks what the others are for.
`)
	r.hits(&b)
	r.details(&b)
	r.method(&b)
	return b.String()
}

// hits lists all targets, including the missed ones.
func (r *report) hits(b *strings.Builder) {
	b.WriteString("\n## Targets\n\n| target | at least | measured | |\n|---|---:|---:|---|\n")
	for _, t := range targets() {
		got, known := t.got(r)
		verdict, text := "missed", fmt.Sprintf("%.2f %s", got, t.unit)
		switch {
		case !known:
			verdict, text = "not measured", "–"
		case got >= t.least:
			verdict = "met"
		}
		fmt.Fprintf(b, "| %s | %v %s | %s | %s |\n", t.what, t.least, t.unit, text, verdict)
	}
}

// details has a table for each work, with the spread of its rounds.
func (r *report) details(b *strings.Builder) {
	b.WriteString(`
## Each work

The rate a second is the median of the rounds, beside the slowest and the fastest round. p50 and p99 are of one answer,
and also medians of the rounds.
`)
	for _, m := range r.Works {
		fmt.Fprintf(b, "\n### %s\n\n"+
			"| | a second | slowest – fastest | p50 ms | p99 ms | ÷ baseline |\n"+
			"|---|---:|---:|---:|---:|---:|\n", m.Work)
		for _, s := range m.Sides {
			if s.Missing != "" {
				fmt.Fprintf(b, "| %s | not measured: %s | | | | |\n", s.Name, strings.ReplaceAll(s.Missing, "|", "/"))
				continue
			}
			p50, p99 := "–", "–"
			if s.P50 > 0 {
				p50, p99 = digits(s.P50), digits(s.P99)
			}
			fmt.Fprintf(b, "| %s | %s | %s – %s | %s | %s | %s |\n", s.Name, digits(s.Rate), digits(s.Least),
				digits(s.Most), p50, p99, ratio(s))
		}
	}
}

func (r *report) method(b *strings.Builder) {
	fmt.Fprintf(b, `
## Method

- One Postgres, fsync on, with the settings that trust up gives its own. Clients and server share the machine.
- The contenders of a work take turns, round by round (%s), with a checkpoint before each run. Figures are
  medians.
- Everybody appends the same event%s to a stream that must be empty.
- A run does each thing once without the clock, so that connections and plans are ready. Then callers repeat it for a
  fixed time, each as soon as it has its answer.
- Everybody has as many connections as callers, but at most %d: of 16, 32, 64 and 128, tried before the run, that many
  served the baseline best. Ours appends on 2.
- A run that takes too long is cut off: its rate is that of the part that was done.
- Baselines are what somebody would write well: [ADR 30](adr/0030-benchmarks.md).
- Each run counts what it wrote; a test compares the count with the tables.
`, r.order(), r.event(), r.Connections)
	facts(b, "Contenders", r.Contenders)
	facts(b, "Machine", r.Machine)
	facts(b, "Versions", r.Versions)
}

// order says in which order the contenders took turns; of older files, it is the same in
// each round.
func (r *report) order() string {
	if r.Reordered {
		return "A B C, C B A"
	}
	return "A B C, A B C"
}

// event says how long an event is; older files do not know it.
func (r *report) event() string {
	if r.EventBytes == 0 {
		return ""
	}
	return fmt.Sprintf(", %d bytes of JSON,", r.EventBytes)
}

func facts(b *strings.Builder, title string, facts []fact) {
	fmt.Fprintf(b, "\n## %s\n\n| | |\n|---|---|\n", title)
	for _, f := range facts {
		fmt.Fprintf(b, "| %s | %s |\n", f.Name, f.Value)
	}
}

// Measures of the chart, in pixels.
const (
	chartWidth, rowHeight = 860, 24
	chartLeft, chartRight = 290, 30
	chartTop              = 70
	lowest, highest       = 0.001, 100.0 // times the baseline
)

// colours returns colours that people with colour blindness can tell apart too.
func colours() map[string]string {
	return map[string]string{
		oursName: "#0072b2", "watermill-sql/v3": "#e69f00", "message-db": "#009e73", "Emmett": "#cc79a7",
		"pgx: batches of 100": "#999999", "pgx: COPY of 1 000": "#555555",
	}
}

// chart returns an SVG with a line for each work, and on it a dot for each contender: how
// many times faster than the baseline, on a logarithmic scale.
func (r *report) chart() string {
	var b strings.Builder
	height := chartTop + rowHeight*len(r.Works) + 40
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" `, chartWidth, height)
	b.WriteString(`font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
<text x="10" y="20" font-size="14">How often faster than the baseline (1 ×, the line): more is better</text>
`)

	x := 10
	for _, name := range append([]string{oursName}, append(rivals(), "pgx: batches of 100", "pgx: COPY of 1 000")...) {
		fmt.Fprintf(&b, `<circle cx="%d" cy="40" r="5" fill="%s"/><text x="%d" y="44">%s</text>`+"\n", x+5,
			colours()[name], x+15, name)
		x += 40 + 7*len(name)
	}

	bottom := height - 30
	for at := lowest; at <= highest*1.01; at *= 10 {
		weight := 0.5
		if math.Abs(at-1) < 0.01 {
			weight = 2
		}
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#444" stroke-width="%.1f"/>`, across(at),
			chartTop-10, across(at), bottom, weight)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%g ×</text>`+"\n", across(at), bottom+18,
			math.Round(at*1000)/1000)
	}

	for i, m := range r.Works {
		y := chartTop + rowHeight*i + rowHeight/2
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", chartLeft-10, y+4, m.Work)
		fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#ddd"/>`+"\n", chartLeft, y,
			chartWidth-chartRight, y)
		for _, s := range m.Sides { // ours is the last, and so on top
			if colour := colours()[s.Name]; colour != "" && s.Ratio > 0 {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%d" r="5" fill="%s"><title>%s, %s: %.2f ×</title></circle>`+"\n",
					across(s.Ratio), y, colour, s.Name, m.Work, s.Ratio)
			}
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// across returns the x of a ratio.
func across(ratio float64) float64 {
	bottom, top := math.Log10(lowest), math.Log10(highest)
	share := (math.Log10(min(max(ratio, lowest), highest)) - bottom) / (top - bottom)
	return chartLeft + share*(chartWidth-chartLeft-chartRight)
}
