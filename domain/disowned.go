package domain

import (
	"strconv"

	"github.com/google/uuid"
)

// EventDisowned says that the operator disowns one position of the log: the event there
// was not written by this system, for its code does not match. It applies to such an
// event only; an event whose code matches cannot be disowned.
type EventDisowned struct {
	// Position is a string in JSON, where a number of this size would be rounded.
	Position int64 `json:"position,string"`
	// EventID is the id of the event there; what replaces it later is not disowned.
	EventID uuid.UUID `json:"event_id"`
	// Reason is the operator's, and names nobody.
	Reason string `json:"reason"`
}

// EventType implements Event.
func (*EventDisowned) EventType() string { return "log.event_disowned.v1" }

// RecordID returns the event that is disowned.
func (e *EventDisowned) RecordID() uuid.UUID { return e.EventID }

// DisowningOf names the stream that holds the disowning of a position, and nothing else.
// Its id is derived, so that it is found without an index.
func DisowningOf(position int64) Stream {
	return Stream{LogStream, uuid.NewSHA1(uuid.NameSpaceOID, []byte("disowned:"+strconv.FormatInt(position, 10)))}
}

// Decide returns the event, or what is wrong with the reason.
func (e EventDisowned) Decide() (*EventDisowned, error) {
	var f Faults
	f.required("reason", e.Reason)
	f.Text("reason", e.Reason, 500)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return &e, nil
}

// Void is read in place of a disowned event: position and version count, and nothing is
// applied. It holds the disowning, and is never stored.
type Void struct{ EventDisowned }

// IsVoid reports whether a disowned event was read here.
func (r Recorded) IsVoid() bool {
	_, void := r.Event.(*Void)
	return void
}
