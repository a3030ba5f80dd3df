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

// Error is an answer that is not a success: the problem that the API sent, and its
// headers.
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

// RetryAfter returns how long to wait before retrying after a temporary failure; 0: the
// failure is not temporary.
func (e *Error) RetryAfter() time.Duration {
	seconds, _ := strconv.Atoi(e.Header.Get("Retry-After")) // 0 if absent
	return time.Duration(seconds) * time.Second
}

// CodeOf returns the code of an error that the API answered with; empty for any other
// error.
func CodeOf(err error) ProblemCode {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// maxProblem is the largest problem that is read, in bytes: the API sends none that
// large.
const maxProblem = 1 << 20

// errorOf reads a problem, or a refusal of RFC 6749 §5.2. Any other answer, as from a
// proxy, becomes an error with a status and no code.
func errorOf(response *http.Response) *Error {
	e := &Error{Header: response.Header}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxProblem))
	var refusal struct {
		Name        string `json:"error"`
		Description string `json:"error_description"`
	}
	switch {
	case err == nil && json.Unmarshal(body, &e.Problem) == nil && e.Code != "":
	case err == nil && json.Unmarshal(body, &refusal) == nil && refusal.Name != "":
		e.Code, e.Detail = ProblemCode(refusal.Name), refusal.Description
	default:
		e.Problem = Problem{Title: http.StatusText(response.StatusCode), Detail: "This answer is not from the API."}
	}
	e.Status = int64(response.StatusCode)
	return e
}
