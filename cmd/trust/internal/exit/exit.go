// Package exit is how a command ends: its exit code, and the one line that says what to
// do next.
//
// Owns: the exit codes, the error that carries one, and the sentences that explain errors
// of the database.
//
// Guarantees: every error has a code. An error of this package repeats no secret, unless
// its cause does.
//
// Fails how: an unknown error counts as "could not reach what it needs".
//
// Not here: printing the line and ending the process (package main).
package exit

import (
	"errors"
	"fmt"
	"strings"

	"github.com/salga-trust/engine/domain"
)

// The exit codes of every command.
const (
	CodeDone        = 0
	CodeNotSo       = 1 // the thing asked about is not so
	CodeUsage       = 2 // wrong usage, wrong configuration
	CodeUnreachable = 3 // could not reach what it needs
)

// CodeRefused replaces CodeUsage in a part of trust up, which has its name in
// PartVariable in its environment. It is EX_CONFIG of sysexits.h. The Go runtime ends a
// program that panics with 2, and a part that crashed has to be started again, while
// one that refuses its configuration must not be.
const (
	CodeRefused  = 78
	PartVariable = "TRUST_PART"
)

// Error is an error that knows its exit code. Its text is one line that says what to do
// next.
type Error struct {
	Code int
	text string
	err  error // the cause, shown after the text; may be nil
}

// Error implements error.
func (f *Error) Error() string {
	if f.err == nil {
		return f.text
	}
	return f.text + ": " + f.err.Error()
}

// Unwrap returns the cause.
func (f *Error) Unwrap() error { return f.err }

// NotSo says that the thing asked about is not so.
func NotSo(format string, args ...any) error {
	return &Error{Code: CodeNotSo, text: fmt.Sprintf(format, args...)}
}

// WrongUsage says that the command line or the configuration has to change.
func WrongUsage(format string, args ...any) error {
	return &Error{Code: CodeUsage, text: fmt.Sprintf(format, args...)}
}

// Unreachable says that something outside is missing, with its cause if that helps.
func Unreachable(err error, format string, args ...any) error {
	return &Error{Code: CodeUnreachable, text: fmt.Sprintf(format, args...), err: err}
}

// CodeOf returns the exit code of an error: its own, or else that of its kind.
func CodeOf(err error) int {
	if err == nil {
		return CodeDone
	}

	if f, ok := errors.AsType[*Error](err); ok {
		return f.Code
	}

	if refusal, ok := errors.AsType[*domain.Error](err); ok {
		switch refusal.Code {
		case domain.CodeInvalid, domain.CodeUnknownPosition, domain.CodeNewerLog:
			return CodeUsage
		case domain.CodeUnavailable, domain.CodeTimeout, domain.CodeOverloaded, domain.CodeOutcomeUnknown,
			domain.CodeBusy, domain.CodeClockDiffers:
			return CodeUnreachable
		default:
			return CodeNotSo
		}
	}
	return CodeUnreachable
}

// OneLine returns an error's text on one line.
func OneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}

// Reason explains a refusal to a person: by its faulty fields, or by its sentence.
func Reason(refusal *domain.Error) string {
	if len(refusal.Fields) == 0 {
		return refusal.Message
	}

	text := ""
	for _, f := range refusal.Fields {
		if text != "" {
			text += " "
		}
		text += f.Field + ": " + f.Message
	}
	return text
}
