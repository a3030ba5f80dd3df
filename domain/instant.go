package domain

import (
	"errors"
	"regexp"
	"time"
)

// instantPattern is stricter than time.Parse, which takes a comma for the point, an hour
// of one digit, and zones of a day and more.
var instantPattern = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// errNotAnInstant is an error of ParseInstant.
var errNotAnInstant = errors.New("not a date and time in RFC 3339, in a year from 1 to 9999")

// ParseInstant reads an instant that somebody gave: RFC 3339, in UTC of a year from 1 to
// 9999, which is what can be written again.
//
// What it returns is never the zero time, which stands for "not given" in questions. The
// zero instant itself comes back as the nanosecond after it: the log's unit is the
// microsecond, so that is the same instant in every comparison, and is printed as it was
// given.
func ParseInstant(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || !instantPattern.MatchString(text) {
		return time.Time{}, errNotAnInstant
	}
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, errNotAnInstant
	}
	if t.IsZero() {
		t = t.Add(time.Nanosecond)
	}
	return t, nil
}
