package client

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Error is an answer that is not a success: the problem that the API sent, and the
// headers it came with.
type Error struct {
	Problem
	Header http.Header
}

// Error implements error.
func (e *Error) Error() string {
	message := fmt.Sprintf("%d %s: %s", e.Status, cmp.Or(string(e.Code), e.Title), e.Detail)
	for _, f := range e.Errors {
		message += fmt.Sprintf("; %s: %s", f.Field, f.Message)
	}
	return message
}

// RetryAfter tells when to try again what failed for a passing reason; 0: it did not fail
// for one.
func (e *Error) RetryAfter() time.Duration {
	seconds, _ := strconv.Atoi(e.Header.Get("Retry-After")) // absent: 0
	return time.Duration(seconds) * time.Second
}

// CodeOf gives the code of an error that the API answered with; empty: it is none of
// these.
func CodeOf(err error) ProblemCode {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

const maxProblem = 1 << 20 // bytes; what is larger is no problem of this API

// errorOf reads a problem. What is none, as from a proxy in between, has a status and no
// code.
func errorOf(response *http.Response) *Error {
	e := &Error{Header: response.Header}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxProblem))
	if err != nil || json.Unmarshal(body, &e.Problem) != nil || e.Code == "" {
		e.Problem = Problem{Title: http.StatusText(response.StatusCode), Detail: "This answer is not from the API."}
	}
	e.Status = int64(response.StatusCode)
	return e
}
