package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/domain"
)

// importAtOnce is how many rows are imported at the same time: enough for the log's
// appender to write several in one transaction, few enough to leave the machine to
// others.
const importAtOnce = 16

// wish is one row that was understood.
type wish struct {
	line int
	do   func(context.Context) error
	// standing is the refusal which means that the row was imported before.
	standing domain.Code
}

// Tally counts what became of the rows.
type Tally struct {
	what, verb       string
	added, unchanged int
	bad              []BadRow
}

// Import is what a file asks for: the rows that were understood, and those that were not.
type Import struct {
	What string // the things imported, in the plural

	verb   string // what happens to a row
	wishes []wish
	bad    []BadRow
}

// Len returns how many rows there are to import.
func (i Import) Len() int { return len(i.wishes) }

// CarryOut imports the rows, and calls step after each.
func (i Import) CarryOut(ctx context.Context, step func()) (Tally, error) {
	t, err := runImport(ctx, i.wishes, i.bad, step)
	if err != nil {
		return t, exit.Unreachable(err, "the import stopped after %d %s; repeat it", t.added+t.unchanged, i.What)
	}
	t.what, t.verb = i.What, i.verb
	return t, nil
}

// runImport carries out the wishes, importAtOnce at a time, and adds those that are
// refused to bad. It fails when the database stays away; the rows imported by then stay,
// and the import can be repeated.
func runImport(ctx context.Context, wishes []wish, bad []BadRow, step func()) (Tally, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	t := Tally{bad: slices.Clone(bad)}
	var mu sync.Mutex
	note := func(w wish, err error) {
		mu.Lock()
		defer mu.Unlock()
		step()

		refusal, refused := errors.AsType[*domain.Error](err)
		switch {
		case err == nil:
			t.added++
		case refused && refusal.Code == w.standing:
			t.unchanged++
		case refused && !exit.IsAway(err) && refusal.Code != domain.CodeForbidden:
			t.bad = append(t.bad, BadRow{w.line, string(refusal.Code), exit.Reason(refusal)})
		default:
			stop(err)
		}
	}

	todo := make(chan wish)
	var workers sync.WaitGroup
	for range min(importAtOnce, len(wishes)) {
		workers.Go(func() {
			for w := range todo {
				note(w, retry.WhileAway(ctx, w.do))
			}
		})
	}

	for _, w := range wishes {
		select {
		case todo <- w:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(todo)
	workers.Wait()

	slices.SortFunc(t.bad, func(a, b BadRow) int { return a.Line - b.Line })
	return t, context.Cause(ctx)
}

// Tell prints the bad rows to stderr and the totals to stdout.
func (t Tally) Tell(stdout, stderr io.Writer) error {
	for _, b := range t.bad {
		if _, err := fmt.Fprintf(stderr, "line %d: %s\n", b.Line, b.Reason); err != nil {
			return err
		}
	}

	if _, err := fmt.Fprintf(stdout, "%s: %d %s, %d unchanged, %d refused\n",
		t.what, t.added, t.verb, t.unchanged, len(t.bad)); err != nil {
		return err
	}
	if len(t.bad) > 0 {
		return exit.NotSo("%d rows were refused; correct them and import the file again", len(t.bad))
	}
	return nil
}
