package console

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
)

// together asks several questions at once, so that a page takes as long as the slowest of
// them. It waits for all, and returns the first refusal in the order of the questions. A
// question that panics does so in the request for the page, where that is recovered.
func together(questions ...func() error) error {
	refused, panicked := make([]error, len(questions)), make([]any, len(questions))
	var all sync.WaitGroup
	for i, ask := range questions {
		all.Go(func() {
			defer func() { panicked[i] = caught(recover()) }()
			refused[i] = ask()
		})
	}
	all.Wait()

	for _, cause := range panicked {
		if cause != nil {
			panic(cause)
		}
	}
	for _, err := range refused {
		if err != nil {
			return err
		}
	}
	return nil
}

// caught returns the cause of a panic with the stack that it would lose, except for the
// one by which a request is cut off.
func caught(cause any) any {
	if cause == nil || cause == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
		return cause
	}
	return fmt.Sprintf("%v\n%s", cause, debug.Stack())
}
