package relay

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/cloudevent"
)

// subjects are those that the stream takes.
const subjects = "trust.>"

const (
	// roundHeader counts how often publishing again was asked for; absent: never.
	roundHeader = "Trust-Round"
)

// message is what is published of one event.
type message struct {
	position int64
	event    uuid.UUID
	id       string // for de-duplication
	msg      *nats.Msg
}

func messageOf(e domain.Recorded, source, code string, round int) (message, error) {
	event, err := cloudevent.Of(e, source, code)
	if err != nil {
		return message{}, err
	}
	body, err := json.Marshal(event)
	if err != nil {
		return message{}, err
	}
	m := message{
		position: e.Position, event: e.EventID, id: e.EventID.String(),
		msg: &nats.Msg{
			Subject: "trust." + token(code) + "." + event.Type, Data: body,
			Header: nats.Header{"Content-Type": {cloudevent.MediaType}},
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
	var event cloudevent.Event
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
