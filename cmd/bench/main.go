package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bareDatabase is the variable that names the database to the bare handler, because every
// user of a machine can read its processes' arguments.
const bareDatabase = "BENCH_BARE_DATABASE"

// options are the flags of the command line.
type options struct {
	quick, fromJSON bool
	note, only      string
	trust, cache    string
	docs, readme    string
	serveBare       string
	connections     int
}

func main() {
	var o options
	flag.BoolVar(&o.quick, "quick", false, "measure less of everything, in under 5 minutes")
	flag.BoolVar(&o.fromJSON, "from-json", false, "measure nothing; write the page anew from the JSON file")
	flag.StringVar(&o.note, "note", "", "a sentence about this run, for the page")
	flag.StringVar(&o.only, "only", "", "measure only these chapters, separated by commas, and print them without "+
		"writing the page: append, read, project, visible, HTTP")
	flag.StringVar(&o.trust, "trust", "bin/trust", "the built program")
	flag.StringVar(&o.cache, "cache", ".bin/bench", "the folder that keeps the packages from npm")
	flag.StringVar(&o.docs, "docs", "docs", "the folder of benchmarks.md, benchmarks.svg and benchmarks.json")
	flag.StringVar(&o.readme, "readme", "README.md", "the file with the short table, between its two marks")
	flag.StringVar(&o.serveBare, "serve-bare", "", "run the bare handler at this address; used by this program itself")
	flag.IntVar(&o.connections, "connections", 16, "database connections of the bare handler; likewise")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	if o.serveBare != "" {
		return serveBare(ctx, os.Getenv(bareDatabase), o.serveBare, o.connections)
	}
	if o.fromJSON {
		r, err := readReport(o.docs)
		if err != nil {
			return err
		}
		return r.write(o.docs, o.readme)
	}

	r, err := o.measure(ctx)
	if err != nil {
		return err
	}
	if o.only != "" {
		return nil
	}
	return r.write(o.docs, o.readme)
}

// measure runs all chapters on a server of its own.
func (o options) measure(ctx context.Context) (_ *report, err error) {
	size := thoroughly()
	if o.quick {
		size = quickly()
	}

	began := time.Now()
	e := &env{load: firstWord("/proc/loadavg")}
	if e.scratch, err = os.MkdirTemp("", "trust-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(e.scratch)) }()
	//nolint:gosec // Postgres runs as another user when root runs this
	if err := os.Chmod(e.scratch, 0o755); err != nil {
		return nil, err
	}

	if e.trust, err = filepath.Abs(o.trust); err != nil {
		return nil, err
	}
	if e.bench, err = os.Executable(); err != nil {
		return nil, err
	}
	cache, err := filepath.Abs(o.cache)
	if err != nil {
		return nil, err
	}
	if e.modules, e.noModules = installModules(ctx, cache); e.noModules != "" {
		fmt.Fprintln(os.Stderr, "without the packages from npm:", e.noModules)
	}

	if e.server, err = startServer(ctx, e.scratch); err != nil {
		return nil, err
	}
	defer e.server.stop()

	if err := calibrate(ctx, e, size); err != nil {
		return nil, err
	}
	r, err := describe(ctx, e, size, o.note)
	if err != nil {
		return nil, err
	}

	for _, plan := range plans(e, size) {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), plan.title) {
			continue
		}
		if err := r.measure(ctx, e, plan, size.Rounds); err != nil {
			return nil, err
		}
	}
	r.Seconds = time.Since(began).Round(time.Second).Seconds()
	return r, nil
}

// measure adds one chapter to the report, and prints each work when it is done, in the
// form of go test -bench.
func (r *report) measure(ctx context.Context, e *env, p plan, rounds int) error {
	if p.end != nil {
		defer p.end()
	}

	began := time.Now()
	works, err := p.begin(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", p.title, err)
	}
	fmt.Fprintf(os.Stderr, "%s: prepared in %s\n", p.title, time.Since(began).Round(time.Millisecond))

	for _, w := range works {
		m, err := takeTurns(ctx, e, w, rounds)
		if err != nil {
			return err
		}
		r.Works = append(r.Works, m)
		m.print()
	}
	return nil
}

// print prints a line for each side that benchstat can read.
func (m measured) print() {
	plain := strings.NewReplacer(" ", "_", ",", "", "→", "to", ":", "")
	for _, s := range m.Sides {
		if s.Missing != "" {
			fmt.Printf("# %s, %s: not measured: %s\n", m.Work, s.Name, s.Missing)
			continue
		}
		for _, round := range s.Rounds {
			fmt.Printf("BenchmarkBeside/%s/%s 1 %.1f events/s %.3f p50-ms %.3f p99-ms\n",
				plain.Replace(m.Work), plain.Replace(s.Name), round.rate(), round.P50, round.P99)
		}
	}
}
