package main

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

// importAtOnce is how many rows are on their way at the same time: enough for the log's appender to write several in one
// transaction, few enough to leave the machine to others.
const importAtOnce = 16

// wish is one row, understood.
type wish struct {
	line int
	do   func(context.Context) error
	// standing is the refusal that means that the row went in before.
	standing domain.Code
}

// tally counts what became of the rows.
type tally struct {
	added, unchanged int
	bad              []badRow
}

// carryOut imports what was read, with a progress bar, and tells what became of it and of the bad rows.
func carryOut(p *program, what, verb string, wishes []wish, bad []badRow) error {
	bar := newProgress(p.stderr, int64(len(wishes)), what)
	t, err := runImport(p.ctx, wishes, bad, func() { _ = bar.Add(1) })
	_ = bar.Finish() // drawing is all it does
	if err != nil {
		return exit.Unreachable(err, "the import stopped after %d %s; repeat it", t.added+t.unchanged, what)
	}
	return t.tell(p.stdout, p.stderr, what, verb)
}

// runImport carries out the wishes, importAtOnce at a time, and adds those that are refused to bad. It fails when the database
// stays away; what went in until then stays, and the import can be repeated.
func runImport(ctx context.Context, wishes []wish, bad []badRow, step func()) (tally, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t := tally{bad: slices.Clone(bad)}
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
			t.bad = append(t.bad, badRow{w.line, exit.Reason(refusal)})
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
	slices.SortFunc(t.bad, func(a, b badRow) int { return a.line - b.line })
	return t, context.Cause(ctx)
}

// tell names the bad rows on standard error and the sums on standard output.
func (t tally) tell(stdout, stderr io.Writer, what, verb string) error {
	for _, b := range t.bad {
		if _, err := fmt.Fprintf(stderr, "line %d: %s\n", b.line, b.reason); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(stdout, "%s: %d %s, %d unchanged, %d refused\n", what, t.added, verb, t.unchanged, len(t.bad)); err != nil {
		return err
	}
	if len(t.bad) > 0 {
		return exit.NotSo("%d rows were refused; correct them and import the file again", len(t.bad))
	}
	return nil
}
