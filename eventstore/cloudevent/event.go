package cloudevent

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// MediaType is that of an event in JSON.
const MediaType = "application/cloudevents+json"

// voidType is the type in place of a disowned event's.
const voidType = "void"

// Event is an event in the JSON format of CloudEvents 1.0. Names of extensions may hold
// lower-case letters and digits alone.
type Event struct {
	SpecVersion string    `json:"specversion"`
	ID          uuid.UUID `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	// Subject may not be empty, so it is left out of what is about nobody.
	Subject         string    `json:"subject,omitempty"`
	Time            time.Time `json:"time"` // when it was recorded
	DataContentType string    `json:"datacontenttype"`

	// Position is a string, because an integer of CloudEvents ends at 2³¹ - 1.
	Position      int64           `json:"position,string"`
	Municipality  string          `json:"municipality,omitempty"`
	EffectiveTime time.Time       `json:"effectivetime"`
	Data          json.RawMessage `json:"data"`
}

// Of returns an event as other systems receive it. source names the log, code the
// municipality.
func Of(e domain.Recorded, source, code string) (Event, error) {
	event := Event{
		SpecVersion: "1.0", ID: e.EventID, Source: source, Type: voidType, Time: e.RecordedAt.UTC(),
		DataContentType: "application/json", Position: e.Position, Municipality: code,
		EffectiveTime: e.EffectiveAt.UTC(), Data: json.RawMessage("{}"),
	}
	// Of an event that the operator disowned nothing is believed.
	if e.IsVoid() {
		return event, nil
	}

	event.Type = e.Event.EventType()
	if !e.Subject.IsZero() {
		event.Subject = e.Subject.String()
	}
	var err error
	event.Data, err = leaving(e.Event)
	return event, err
}
