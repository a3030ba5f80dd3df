package main

import (
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// The types of the flags that narrow a question. The zero value of each means "not
// given" and is refused on the command line: an empty purpose or the zero id would ask
// about everything.

// moment is an instant on the command line.
type moment struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *moment) UnmarshalText(text []byte) error {
	t, err := domain.ParseInstant(string(text))
	if err != nil {
		return errors.New("give an instant, with its zone, such as 2026-03-03T12:00:00+02:00")
	}
	m.Time = t
	return nil
}

// identity is an id on the command line.
type identity struct{ uuid.UUID }

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *identity) UnmarshalText(text []byte) error {
	id, err := uuid.Parse(string(text))
	if err != nil || id == uuid.Nil || len(text) != len(id.String()) {
		return errors.New("give an id, such as 01890a5d-ac96-774b-bcce-b302099a8057")
	}
	i.UUID = id
	return nil
}

// word is a text on the command line.
type word string

// UnmarshalText implements encoding.TextUnmarshaler.
func (w *word) UnmarshalText(text []byte) error {
	if domain.IsBlank(string(text)) {
		return errors.New("give a value, or leave the flag out")
	}
	*w = word(text)
	return nil
}

// ordinal is a number that counts from 1, on the command line.
type ordinal int

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *ordinal) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 {
		return errors.New("versions count from 1")
	}
	*o = ordinal(n)
	return nil
}

// place is a position on the command line.
type place int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *place) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 1 {
		return errors.New("positions count from 1")
	}
	*p = place(n)
	return nil
}
