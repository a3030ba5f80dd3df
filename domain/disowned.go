package domain

import (
	"strconv"

	"github.com/google/uuid"
)

// EventDisowned says that the operator disowns one position of the log: the event there
// is none of ours, for its code does not hold. It counts for such an event alone; one
// whose code holds cannot be disowned.
type EventDisowned struct {
	Position int64     `json:"position,string"` // in JSON a number of this size would be rounded
	EventID  uuid.UUID `json:"event_id"`        // of the event there: what is put in its place later is not disowned
	Reason   string    `json:"reason"`          // the operator's; it names nobody
}

// EventType implements Event.
func (*EventDisowned) EventType() string { return "log.event_disowned.v1" }

// RecordID returns the event that is disowned.
func (e *EventDisowned) RecordID() uuid.UUID { return e.EventID }

// DisowningOf names the stream of the disowning of a position: it stands in it, and
// nothing else does. Its id is derived, so that it is found without an index.
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

// Void is read in the place of a disowned event: position and version count, and nothing
// is applied. It holds the disowning, and is never stored.
type Void struct{ EventDisowned }

// IsVoid reports whether a disowned event was read here.
func (r Recorded) IsVoid() bool {
	_, void := r.Event.(*Void)
	return void
}
