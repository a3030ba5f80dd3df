package relay

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/salga-trust/engine/domain"
)

// subjects are those that the stream takes.
const subjects = "trust.>"

const (
	// roundHeader counts how often publishing again was asked for; absent: never.
	roundHeader = "Trust-Round"
	contentType = "application/cloudevents+json"
)

// voidType is the type of a message in place of a disowned event.
const voidType = "void"

// cloudEvent is a message in the JSON format of CloudEvents 1.0. Names of extensions may
// hold lower-case letters and digits alone.
type cloudEvent struct {
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

// message is what is published of one event.
type message struct {
	position int64
	event    uuid.UUID
	id       string // for de-duplication
	msg      *nats.Msg
}

func messageOf(e domain.Recorded, source, code string, round int) (message, error) {
	event := cloudEvent{
		SpecVersion: "1.0", ID: e.EventID, Source: source, Type: voidType, Time: e.RecordedAt.UTC(),
		DataContentType: "application/json", Position: e.Position, Municipality: code,
		EffectiveTime: e.EffectiveAt.UTC(), Data: json.RawMessage("{}"),
	}
	// Of an event that the operator disowned nothing is believed.
	if !e.IsVoid() {
		event.Type = e.Event.EventType()
		if e.Subject.UUID != uuid.Nil {
			event.Subject = e.Subject.String()
		}
		var err error
		if event.Data, err = leaving(e.Event); err != nil {
			return message{}, err
		}
	}

	body, err := json.Marshal(event)
	if err != nil {
		return message{}, err
	}
	m := message{
		position: e.Position, event: e.EventID, id: e.EventID.String(),
		msg: &nats.Msg{
			Subject: "trust." + token(code) + "." + event.Type, Data: body,
			Header: nats.Header{"Content-Type": {contentType}},
		},
	}
	if round > 0 {
		m.id += "/" + strconv.Itoa(round)
		m.msg.Header.Set(roundHeader, strconv.Itoa(round))
	}
	return m, nil
}

// token returns a municipality's code as one token of a subject. Codes are letters and
// digits; should there ever be others, every other byte is written as % and two
// hexadecimal digits, so that two codes never have one token. Events of a tenant that is
// no municipality, which only a forgery has, are under _.
func token(code string) string {
	if code == "" {
		return "_"
	}

	var b strings.Builder
	for _, c := range []byte(code) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// endOf reads the last message of a stream back.
func endOf(sequence uint64, header nats.Header, body []byte) (*end, error) {
	var event cloudEvent
	if err := json.Unmarshal(body, &event); err != nil {
		return nil, err
	}
	if event.Position < 1 || event.ID == uuid.Nil {
		return nil, fmt.Errorf("position %d of event %s", event.Position, event.ID)
	}

	e := &end{sequence: sequence, position: event.Position, id: event.ID}
	if text := header.Get(roundHeader); text != "" {
		round, err := strconv.Atoi(text)
		if err != nil || round < 1 {
			return nil, fmt.Errorf("the header %s is not a number", roundHeader)
		}
		e.round = round
	}
	return e, nil
}
