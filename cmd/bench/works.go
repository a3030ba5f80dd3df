package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// scale is how much is measured: make bench-quick ends within 5 minutes, make bench takes
// as long as the figures need.
type scale struct {
	Quick      bool
	Rounds     int
	Each       time.Duration // of a run of appends or requests
	ReadEvents int
	ReadFor    time.Duration // at most
	FoldEvents int
	FoldFor    time.Duration // at most
	WatchFor   time.Duration
	People     int // at the counter
}

func quickly() scale {
	return scale{
		Quick: true, Rounds: 3, Each: 300 * time.Millisecond, ReadEvents: 50_000, ReadFor: 1500 * time.Millisecond,
		FoldEvents: 10_000, FoldFor: 1500 * time.Millisecond, WatchFor: time.Second, People: 3_000,
	}
}

func thoroughly() scale {
	return scale{
		Rounds: 5, Each: 3 * time.Second, ReadEvents: 1_000_000, ReadFor: 15 * time.Second,
		FoldEvents: 100_000, FoldFor: 15 * time.Second, WatchFor: 5 * time.Second, People: 60_000,
	}
}

// work is one thing that several sides do, in turn.
type work struct {
	name     string
	baseline string // the side that the others are compared with
	latency  bool   // the figure is how long each took, not how many a second
	sides    []side
}

// side is one contender's part in a work.
type side struct {
	name    string
	missing string // why it is not measured
	run     func(ctx context.Context) (sample, error)
}

// measured is the result of a work.
type measured struct {
	Work     string   `json:"work"`
	Baseline string   `json:"baseline"`
	Latency  bool     `json:"latency"`
	Sides    []result `json:"sides"`
}

// result is the result of a side: its rounds, and their medians.
type result struct {
	Name    string   `json:"name"`
	Missing string   `json:"missing,omitempty"` // why there is none
	Rate    float64  `json:"rate,omitempty"`    // a second: median of the rounds
	Least   float64  `json:"least,omitempty"`   // the slowest round
	Most    float64  `json:"most,omitempty"`    // the fastest
	P50     float64  `json:"p50_ms,omitempty"`
	P99     float64  `json:"p99_ms,omitempty"`
	Ratio   float64  `json:"ratio,omitempty"` // to the baseline; more is better
	Rounds  []sample `json:"rounds,omitempty"`
}

// turns returns the order of the sides in a round, counted from 0. It differs from round
// to round, so that nobody always runs after the same one, and is the same in each run.
func turns(round, sides int) []int {
	order := make([]int, sides)
	for i := range order {
		step := (i + 1) / 2 // 0, +1, -1, +2, -2: neighbours are at different distances
		if i%2 == 0 {
			step = -step
		}
		order[i] = (step + round + sides) % sides
	}

	if sides%2 == 1 && round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

// takeTurns runs a work's sides in turn, A B C, B C A, so that other load on the machine
// falls on all of them. A side that fails is missing from then on, unless it is ours.
func takeTurns(ctx context.Context, e *env, w work, rounds int) (measured, error) {
	m := measured{Work: w.name, Baseline: w.baseline, Latency: w.latency}
	for _, s := range w.sides {
		m.Sides = append(m.Sides, result{Name: s.name, Missing: s.missing})
	}

	for round := range rounds {
		for _, i := range turns(round, len(w.sides)) {
			s := w.sides[i]
			if m.Sides[i].Missing != "" {
				continue
			}

			// So that no run pays for writes which the one before it has left.
			if err := e.server.exec(ctx, "postgres", "checkpoint"); err != nil {
				return m, err
			}

			sample, err := s.run(ctx)
			if err != nil && (s.name == oursName || ctx.Err() != nil) {
				return m, fmt.Errorf("%s, %s: %w", w.name, s.name, err)
			}
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s, %s: %v\n", w.name, s.name, err)
				m.Sides[i].Missing = firstLine(err)
				continue
			}
			m.Sides[i].Rounds = append(m.Sides[i].Rounds, sample)
		}
	}

	for i := range m.Sides {
		m.Sides[i].summarise()
	}
	m.compare()
	return m, nil
}

func (r *result) summarise() {
	if r.Missing != "" || len(r.Rounds) == 0 {
		return
	}

	of := func(value func(sample) float64) []float64 {
		values := make([]float64, len(r.Rounds))
		for i, s := range r.Rounds {
			values[i] = value(s)
		}
		return values
	}

	rates := of(sample.rate)
	r.Rate, r.Least, r.Most = median(rates), slices.Min(rates), slices.Max(rates)
	r.P50, r.P99 = median(of(func(s sample) float64 { return s.P50 })),
		median(of(func(s sample) float64 { return s.P99 }))
}

// compare computes the ratios to the baseline.
func (m *measured) compare() {
	at := slices.IndexFunc(m.Sides, func(r result) bool { return r.Name == m.Baseline })
	if at < 0 {
		return
	}

	base := m.Sides[at]
	for i := range m.Sides {
		r := &m.Sides[i]
		switch {
		case r.Missing != "" || base.Missing != "":
		case m.Latency && r.P50 > 0:
			r.Ratio = base.P50 / r.P50
		case !m.Latency && base.Rate > 0:
			r.Ratio = r.Rate / base.Rate
		}
	}
}

// plan is one chapter: works that share databases or processes, which begin starts and
// end stops.
type plan struct {
	title string
	begin func(ctx context.Context) ([]work, error)
	end   func()
}

// plans lists all chapters.
func plans(e *env, size scale) []plan {
	return []plan{
		{title: "append", begin: func(ctx context.Context) ([]work, error) { return appendWorks(ctx, e, size) }},
		{title: "read", begin: func(ctx context.Context) ([]work, error) { return readWorks(ctx, e, size) }},
		{title: "project", begin: func(ctx context.Context) ([]work, error) { return projectWorks(ctx, e, size) }},
		{title: "visible", begin: func(ctx context.Context) ([]work, error) { return visibleWorks(ctx, e, size) }},
		overHTTP(e, size),
	}
}

const baselineName = "pgx: one INSERT, one transaction"

// sidesOf prepares a database, filled with events, for each contender that has a work. It
// returns a function that makes the sides of that work from its params. A contender that
// cannot be prepared has a side that says so.
func sidesOf(
	ctx context.Context, e *env, prefix string, events int, which func(contender) run,
) (func(params) []side, error) {
	var makers []func(params) side
	missing := func(name, why string) {
		makers = append(makers, func(params) side { return side{name: name, missing: why} })
	}
	for i, c := range contenders() {
		do := which(c)
		if do == nil {
			continue
		}
		if c.npm && e.modules == "" {
			missing(c.name, e.noModules)
			continue
		}

		database := fmt.Sprintf("bench_%s_%d", prefix, i)
		err := prepare(ctx, e, c, database, events)
		if err != nil && (c.name == oursName || ctx.Err() != nil) {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", c.name, err)
			missing(c.name, firstLine(err))
			continue
		}

		makers = append(makers, func(p params) side {
			return side{name: c.name, run: func(ctx context.Context) (sample, error) { return do(ctx, e, database, p) }}
		})
	}

	return func(p params) []side {
		sides := make([]side, len(makers))
		for i, maker := range makers {
			sides[i] = maker(p)
		}
		return sides
	}, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// prepare makes a contender's database.
func prepare(ctx context.Context, e *env, c contender, database string, events int) error {
	if err := e.server.create(ctx, database, "template0"); err != nil {
		return err
	}
	if err := c.setUp(ctx, e, database); err != nil {
		return err
	}
	if events == 0 {
		return nil
	}
	return c.fill(ctx, e, database, events)
}

func appendWorks(ctx context.Context, e *env, size scale) ([]work, error) {
	sides, err := sidesOf(ctx, e, "append", 0, func(c contender) run { return c.append })
	if err != nil {
		return nil, err
	}
	var works []work
	for _, callers := range []int{1, 8, 64, 256} {
		works = append(works, work{
			name: "append, " + counted(callers, "caller"), baseline: baselineName,
			sides: sides(params{callers: callers, howLong: size.Each}),
		})
	}
	return works, nil
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func readWorks(ctx context.Context, e *env, size scale) ([]work, error) {
	sides, err := sidesOf(ctx, e, "read", size.ReadEvents, func(c contender) run { return c.read })
	if err != nil {
		return nil, err
	}
	p := params{callers: 1, howLong: size.ReadFor, events: size.ReadEvents}
	return []work{{
		name: "read " + thousands(size.ReadEvents) + " events in order", baseline: baselineName,
		sides: sides(p),
	}}, nil
}

func projectWorks(ctx context.Context, e *env, size scale) ([]work, error) {
	sides, err := sidesOf(ctx, e, "project", size.FoldEvents, projectAndCount)
	if err != nil {
		return nil, err
	}
	p := params{callers: 1, howLong: size.FoldFor, events: size.FoldEvents}
	return []work{{
		name: "project " + thousands(size.FoldEvents) + " events, with checkpoint", baseline: baselineName,
		sides: sides(p),
	}}, nil
}

// projectAndCount returns a contender's projection with its proof: after the clock has
// stopped, it counts the read table. A run that claims more than it has left there, or
// less, has no rate.
func projectAndCount(c contender) run {
	if c.project == nil {
		return nil
	}

	return func(ctx context.Context, e *env, database string, p params) (sample, error) {
		s, err := c.project(ctx, e, database, p)
		if err != nil {
			return s, err
		}
		if s.Wrote, err = c.projected(ctx, e, database); err == nil && s.Wrote != s.Events {
			err = fmt.Errorf("it claims to have projected %d events, and its table has %d", s.Events, s.Wrote)
		}
		return s, err
	}
}

func visibleWorks(ctx context.Context, e *env, size scale) ([]work, error) {
	sides, err := sidesOf(ctx, e, "visible", 0, func(c contender) run { return c.visible })
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("append → visible, at %d a second", writesASecond)
	return []work{{
		name: name, baseline: baselineName, latency: true,
		sides: sides(params{callers: 1, howLong: size.WatchFor}),
	}}, nil
}

const bareHTTPName = "net/http and pgx, one statement"

// overHTTP is the chapter of requests: ours beside the bare handler. Both run all the
// time, and are asked in turn.
func overHTTP(e *env, size scale) plan {
	var sites []*site
	begin := func(ctx context.Context) ([]work, error) {
		bare, err := startBare(ctx, e)
		if err != nil {
			return nil, err
		}
		sites = append(sites, bare)
		own, err := startOurs(ctx, e, size.People)
		if err != nil {
			return nil, err
		}
		sites = append(sites, own)

		var works []work
		for _, name := range []string{"create", "check", "read", "list", "withdraw"} {
			for _, clients := range []int{8, httpClients} {
				ask := func(s *site) func(context.Context) (sample, error) {
					do := s.operations()[name]
					return func(ctx context.Context) (sample, error) {
						// Without the clock, enough consents to withdraw.
						if name == "withdraw" {
							if _, err := drive(ctx, clients, 3*size.Each/2, s.operations()["create"]); err != nil {
								return sample{}, err
							}
						}

						got, err := drive(ctx, clients, size.Each, do)
						if err == nil && got.Events == 0 {
							err = errors.New("nothing was left to do")
						}
						return got, err
					}
				}

				works = append(works, work{
					name: fmt.Sprintf("HTTP %s, %s", name, counted(clients, "client")), baseline: bareHTTPName,
					sides: []side{{name: bareHTTPName, run: ask(bare)}, {name: oursName, run: ask(own)}},
				})
			}
		}
		return works, nil
	}
	return plan{title: "HTTP", begin: begin, end: func() {
		for _, s := range sites {
			s.stop()
		}
	}}
}

// thousands writes a round number as people write it.
func thousands(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%d M", n/1_000_000)
	case n >= 1_000 && n%1_000 == 0:
		return fmt.Sprintf("%d 000", n/1_000)
	default:
		return fmt.Sprint(n)
	}
}

// calibrate finds how many connections serve the baseline best: many share one wait for
// the disk, too many contend.
func calibrate(ctx context.Context, e *env, size scale) error {
	c := bareInsert()
	const database = "bench_calibrate"
	if err := prepare(ctx, e, c, database, 0); err != nil {
		return err
	}

	tried := []int{16, 32, 64, 128}
	rates := make([][]float64, len(tried))
	for range size.Rounds {
		for i, connections := range tried {
			at := *e
			at.connections = connections
			s, err := c.append(ctx, &at, database, params{callers: 256, howLong: size.Each})
			if err != nil {
				return err
			}
			rates[i] = append(rates[i], s.rate())
		}
	}

	best := 0.0
	for i, connections := range tried {
		if rate := median(rates[i]); rate > best {
			best, e.connections = rate, connections
		}
	}
	return nil
}
