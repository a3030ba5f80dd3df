package console

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestQuestionsAreAskedTogetherAndTheFirstRefusalIsTheAnswer(t *testing.T) {
	t.Parallel()
	first, second := errors.New("first"), errors.New("second")
	met := make(chan bool)
	err := together(
		func() error { <-met; return nil }, // waits for the next one
		func() error { met <- true; return first },
		func() error { return second },
	)
	if !errors.Is(err, first) {
		t.Errorf("%v", err)
	}
	if err := together(func() error { return nil }); err != nil {
		t.Errorf("%v", err)
	}
}

func TestAQuestionThatPanicsDoesSoInTheRequestForThePage(t *testing.T) {
	t.Parallel()
	caughtFrom := func(cause any) (got any) {
		defer func() { got = recover() }()
		_ = together(func() error { return nil }, func() error { panic(cause) })
		return nil
	}

	got := fmt.Sprint(caughtFrom("out of paper"))
	if !strings.HasPrefix(got, "out of paper\n") || !strings.Contains(got, "together_internal_test.go") {
		t.Errorf("%s", got)
	}
	if caughtFrom(http.ErrAbortHandler) != http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
		t.Error("a request is not cut off")
	}
}
