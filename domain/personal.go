package domain

import "encoding/json"

// Personal holds the part of an event that identifies a person. It never enters the
// event's payload: the event store seals it under the person's own key, and when that key
// is destroyed (POPIA s14(4)) the part reads as erased for ever.
//
// The zero value is "nothing personal here".
type Personal[T any] struct {
	value T
	state PersonalState
}

// PersonalState is the state of a personal part.
type PersonalState uint8

// The states of a personal part.
const (
	Absent   PersonalState = iota // the event carries none
	Open                          // readable
	Erased                        // its key was destroyed
	Withheld                      // sealed from this reader
)

// Known wraps a readable personal part.
func Known[T any](value T) Personal[T] { return Personal[T]{value: value, state: Open} }

// Get returns the value and whether it is readable.
func (p Personal[T]) Get() (T, bool) { return p.value, p.state == Open }

// State returns why Get returns no value.
func (p Personal[T]) State() PersonalState { return p.state }

// Part is the interface of the event store to a personal part: it seals the bytes, or
// puts back what it unsealed.
type Part interface {
	// Bytes returns the JSON to seal, or nil if the part is not readable here.
	Bytes() ([]byte, error)
	// Readable reports whether Bytes returns any.
	Readable() bool
	// SetBytes makes the part readable again.
	SetBytes(plain []byte) error
	// SetState marks a part that cannot be read.
	SetState(state PersonalState)
	// fields returns what the part says of each of its fields.
	fields() []FieldChange
}

// Bytes implements Part.
func (p *Personal[T]) Bytes() ([]byte, error) {
	if p.state != Open {
		return nil, nil
	}
	return json.Marshal(p.value)
}

// Readable implements Part.
func (p *Personal[T]) Readable() bool { return p.state == Open }

// SetBytes implements Part.
func (p *Personal[T]) SetBytes(plain []byte) error {
	if err := json.Unmarshal(plain, &p.value); err != nil {
		return err
	}
	p.state = Open
	return nil
}

// SetState implements Part.
func (p *Personal[T]) SetState(state PersonalState) {
	var none T
	p.value, p.state = none, state
}

// Change is the old and the new value of one field, so that the audit needs no folding.
type Change[T any] struct {
	Old T `json:"old"`
	New T `json:"new"`
}
