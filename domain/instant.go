package domain

import (
	"errors"
	"regexp"
	"time"
)

// instantPattern is stricter than time.Parse, which accepts a comma for the point, a
// one-digit hour, and zones of a day and more.
var instantPattern = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// errNotAnInstant is the error of ParseInstant.
var errNotAnInstant = errors.New("not a date and time in RFC 3339, in a year from 1 to 9999")

// latestYear is the last one that can be written in RFC 3339.
const latestYear = 9999

// ParseInstant reads an instant in RFC 3339 whose year in UTC is from 1 to 9999, so that
// it can be written again.
//
// It never returns the zero time, which means "not given" in questions. The zero instant
// itself comes back as the nanosecond after it: the log's unit is the microsecond, so
// that is the same instant in every comparison, and is printed as it was given.
func ParseInstant(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || !instantPattern.MatchString(text) {
		return time.Time{}, errNotAnInstant
	}
	if t = t.UTC(); t.Year() < 1 || t.Year() > latestYear {
		return time.Time{}, errNotAnInstant
	}
	if t.IsZero() {
		t = t.Add(time.Nanosecond)
	}
	return t, nil
}
