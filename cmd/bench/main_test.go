package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/internal/pgtest"
)

// few is little enough of each work for a test.
func few() params { return params{callers: 4, howLong: 50 * time.Millisecond, events: 2_000} }

// contend runs the works of some contenders, and counts the rows in their databases
// afterwards. Timings decide nothing.
func contend(t *testing.T, e *env, which func(contender) bool) {
	t.Helper()
	found := false
	for _, c := range contenders() {
		if !which(c) {
			continue
		}
		found = true
		t.Run(c.name, func(t *testing.T) {
			writesWhatItClaims(t, e, c)
			if c.read != nil {
				readsAndProjectsAll(t, e, c)
			}
			if c.visible != nil {
				seesAll(t, e, c)
			}
		})
	}

	if !found {
		t.Error("there is no such contender")
	}
}

func testEnv(t *testing.T) *env {
	t.Helper()
	scratch := t.TempDir()
	if err := os.Chmod(filepath.Dir(scratch), 0o755); err != nil { // Postgres may be another user
		t.Fatal(err)
	}
	server, err := startServer(t.Context(), scratch)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	return &env{server: server, connections: 8, scratch: scratch}
}

func prepared(t *testing.T, e *env, c contender, database string, events int) string {
	t.Helper()
	if err := prepare(t.Context(), e, c, database, events); err != nil {
		t.Fatal(err)
	}
	return database
}

func counts(t *testing.T, e *env, database, sql string, want int64) {
	t.Helper()
	n, err := e.server.count(t.Context(), database, sql)
	if err != nil || n != want || want == 0 {
		t.Errorf("%s: %d, %v; the run claims %d", sql, n, err, want)
	}
}

func writesWhatItClaims(t *testing.T, e *env, c contender) {
	t.Helper()
	database := prepared(t, e, c, "appended", 0)
	got, err := c.append(t.Context(), e, database, few())
	if err != nil {
		t.Fatal(err)
	}
	counts(t, e, database, c.appended, got.Wrote)
	if got.Events > got.Wrote {
		t.Errorf("%d events were timed, and %d written", got.Events, got.Wrote)
	}
}

func readsAndProjectsAll(t *testing.T, e *env, c contender) {
	t.Helper()
	p := few()
	p.howLong = pgtest.Patience // all of them, however slow the machine is
	database := prepared(t, e, c, "filled", p.events)
	got, err := c.read(t.Context(), e, database, p)
	if err != nil || got.Events != int64(p.events) {
		t.Errorf("read %d of %d: %v", got.Events, p.events, err)
	}

	project := projectAndCount(c) // fails if the table has another number of events than it claims
	got, err = project(t.Context(), e, database, p)
	if err != nil || got.Events != int64(p.events) || got.Wrote != int64(p.events) {
		t.Errorf("projected %d of %d, and %d are in the table: %v", got.Events, p.events, got.Wrote, err)
	}

	p.howLong = 100 * time.Millisecond // cut off somewhere within a page
	if got, err = project(t.Context(), e, database, p); err != nil {
		t.Errorf("cut off after %d events: %v", got.Events, err)
	}
}

func TestAProjectionThatClaimsMoreThanItsTableHasIsNoResult(t *testing.T) {
	t.Parallel()
	for claimed, fails := range map[int64]bool{999: true, 1000: false, 1001: true} {
		project := projectAndCount(contender{
			project: func(context.Context, *env, string, params) (sample, error) {
				return sample{Events: claimed}, nil
			},
			projected: func(context.Context, *env, string) (int64, error) { return 1000, nil },
		})
		if got, err := project(t.Context(), nil, "", params{}); (err != nil) != fails || got.Wrote != 1000 {
			t.Errorf("%d claimed and 1000 there: %d, %v", claimed, got.Wrote, err)
		}
	}
}

func seesAll(t *testing.T, e *env, c contender) {
	t.Helper()
	p := few()
	p.howLong = 200 * time.Millisecond
	got, err := c.visible(t.Context(), e, prepared(t, e, c, "watched", 0), p)
	if err != nil || got.Events == 0 || got.Wrote != got.Events {
		t.Errorf("of %d events %d were seen: %v", got.Events, got.Wrote, err)
	}
}

func TestEachContenderWritesReadsAndProjectsWhatItClaims(t *testing.T) {
	t.Parallel()
	contend(t, testEnv(t), func(c contender) bool { return !c.npm })
}

// A writer that takes 20 ms can write 5 of the events that are due within 100 ms. The
// last of them was due after 20 ms at the latest, and is done after 100 ms at the
// earliest.
func TestAnEventIsTimedFromWhenItWasDue(t *testing.T) {
	t.Parallel()
	w, writes := newWay(), int64(0)
	got, err := w.time(t.Context(), params{howLong: 100 * time.Millisecond},
		func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		func(_ context.Context, id uuid.UUID) error {
			<-time.After(20 * time.Millisecond)
			writes++
			w.seen(id)
			return nil
		})

	// One comes before the clock.
	if err != nil || got.Events != writes-1 || got.Wrote != writes-1 {
		t.Errorf("of %d events %d were timed and %d arrived: %v", writes, got.Events, got.Wrote, err)
	}
	if got.Events > 5 || got.P99 < 80 {
		t.Errorf("%d events took up to %.0f ms", got.Events, got.P99)
	}

	late := measured{Latency: true}.figure(result{Name: "slow", P50: 50, P99: 80, Rate: got.rate()})
	if !strings.Contains(late, "80.0 ms at ") {
		t.Errorf("the page says %q, without the pace", late)
	}
}

func TestNobodyAlwaysRunsAfterTheSameOne(t *testing.T) {
	t.Parallel()
	const rounds = 5
	for _, sides := range []int{2, 5, 7} {
		after, first := map[[2]int]int{}, map[int]int{}
		for round := range rounds {
			order := turns(round, sides)
			if sorted := slices.Sorted(slices.Values(order)); len(slices.Compact(sorted)) != sides {
				t.Errorf("round %d of %d sides: %v", round, sides, order)
			}
			first[order[0]]++
			for i := 1; i < sides; i++ {
				after[[2]int{order[i-1], order[i]}]++
			}
		}

		for pair, n := range after {
			if n > 3 {
				t.Errorf("of %d sides, %d runs after %d in %d of %d rounds", sides, pair[1], pair[0], n, rounds)
			}
		}
		for side, n := range first {
			if n > 3 {
				t.Errorf("of %d sides, %d is the first in %d of %d rounds", sides, side, n, rounds)
			}
		}
	}
}

func TestTheServerThatIsMeasuredSyncsToDisk(t *testing.T) {
	t.Parallel()
	e := testEnv(t)
	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		if value, err := e.server.setting(t.Context(), name); err != nil || value != "on" {
			t.Errorf("%s is %q, %v", name, value, err)
		}
	}
}

func TestTheBareTableRefusesAWrongVersion(t *testing.T) {
	t.Parallel()
	e := testEnv(t)
	database := prepared(t, e, bareInsert(), "bare", 0)
	const insert = "insert into appended values ('00000000-0000-0000-0000-000000000001', 1, 'x', '{}')"
	if err := e.server.exec(t.Context(), database, insert, insert); err == nil ||
		!strings.Contains(err.Error(), "23505") {
		t.Errorf("a version that is taken is answered with %v", err)
	}
}

func example() *report {
	m := measured{Work: "append, 64 callers", Baseline: baselineName, Sides: []result{
		{Name: baselineName, Rounds: []sample{
			{Events: 100, Seconds: 1},
			{Events: 300, Seconds: 1},
			{Events: 200, Seconds: 1},
		}},
		{Name: "Emmett", Missing: "npm is not installed"},
		{Name: oursName, Rounds: []sample{
			{Events: 500, Seconds: 1},
			{Events: 400, Seconds: 1},
			{Events: 100, Seconds: 1},
		}},
	}}

	for i := range m.Sides {
		m.Sides[i].summarise()
	}
	m.compare()
	return &report{
		Quick: true, Note: "On a busy machine.", Day: "2026-11-27", Seconds: 60, Rounds: 3,
		EventBytes: 337, Reordered: true, Works: []measured{m},
	}
}

func TestTheReportIsWrittenFromItsJSON(t *testing.T) {
	t.Parallel()
	docs := t.TempDir()
	readme := filepath.Join(docs, "README.md")
	if err := os.WriteFile(readme, []byte("# Before\n\n"+tableBegins+"old\n"+tableEnds+"\nAfter\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	if err := example().write(docs, readme); err != nil {
		t.Fatal(err)
	}

	first := map[string]string{}
	for _, name := range []string{jsonName, pageName, chartName, "README.md"} {
		first[name] = contents(t, filepath.Join(docs, name))
	}
	for _, name := range []string{pageName, chartName} {
		if err := os.Remove(filepath.Join(docs, name)); err != nil {
			t.Fatal(err)
		}
	}

	if err := (options{fromJSON: true, docs: docs, readme: readme}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range first {
		if got := contents(t, filepath.Join(docs, name)); got != want {
			t.Errorf("%s from JSON differs:\n%s\nwant\n%s", name, got, want)
		}
	}
	for _, part := range []string{
		"| append, 64 callers | 400/s | 200/s | 2.00 × | – | – | not measured |",
		"not measured: npm is not installed", "| 100 – 300 |", "A quick run, not for quoting", "On a busy machine.",
		"| 4 × | 2.00 × | missed |", "the same event, 337 bytes of JSON, to a stream", "(A B C, C B A)",
	} {
		if !strings.Contains(first[pageName], part) {
			t.Errorf("the page lacks %q:\n%s", part, first[pageName])
		}
	}
	if text := first["README.md"]; !strings.HasPrefix(text, "# Before\n") || !strings.HasSuffix(text, "\nAfter\n") ||
		!strings.Contains(text, "2.00 ×") || strings.Contains(text, "old") {
		t.Errorf("the README is now\n%s", text)
	}
}

func TestAREADMEWithoutMarksStaysAsItIs(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# Page\n", tableBegins, tableEnds + tableBegins} {
		if got, err := between(text, "table"); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func contents(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The page in docs is the one that its JSON file makes: nobody has changed it by hand.
func TestThePageInDocsIsMadeOfItsJSON(t *testing.T) {
	t.Parallel()
	const docs = "../../docs"
	r, err := readReport(docs)
	if err != nil {
		t.Fatal(err)
	}

	if got := contents(t, filepath.Join(docs, pageName)); got != r.page() {
		t.Error("docs/benchmarks.md is not what docs/benchmarks.json says: bin/bench -from-json")
	}
	if got := contents(t, filepath.Join(docs, chartName)); got != r.chart() {
		t.Error("docs/benchmarks.svg is not what docs/benchmarks.json says: bin/bench -from-json")
	}

	readme := contents(t, "../../README.md")
	if got, err := between(readme, r.short()); err != nil || got != readme {
		t.Errorf("the README's table is not what docs/benchmarks.json says: bin/bench -from-json (%v)", err)
	}
}

func TestTheRevisionSaysWhetherMoreThanItsCommitWasBuilt(t *testing.T) {
	t.Parallel()
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef"}
	for want, settings := range map[string][]debug.BuildSetting{
		"":             {{Key: "vcs.modified", Value: "true"}},
		"0123456789ab": {{Key: "vcs.modified", Value: "false"}, revision},
		"0123456789ab, with changes that are not committed": {revision, {Key: "vcs.modified", Value: "true"}},
	} {
		if got := revisionOf(settings); got != want {
			t.Errorf("%v became %q", settings, got)
		}
	}
}

func TestWhatNodeComplainsOfNamesNoFileOfThisMachine(t *testing.T) {
	t.Parallel()
	const said = "file:///home/somebody/emmett.mjs:157\n    throw new Error(`x`);\n\nError: 3 events never " +
		"arrived\n    at file:///home/somebody/emmett.mjs:157:27\n"
	for said, want := range map[string]string{
		said: "Error: 3 events never arrived", "TypeError: no\n": "TypeError: no", "": "it says no more",
	} {
		if got := complaint(said); got != want {
			t.Errorf("%q became %q", said, got)
		}
	}
}
