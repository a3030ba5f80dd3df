package relay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// marker replaces every text of an event by one that occurs nowhere else.
type marker struct{ marks map[string]string }

// mark replaces the texts within a value, in order of their names. Ids become new ids,
// and instants stay.
func (m *marker) mark(where string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			v[name] = m.mark(where+"."+name, v[name])
		}
	case []any:
		for i := range v {
			v[i] = m.mark(where, v[i])
		}
	case string:
		_, err := time.Parse(time.RFC3339Nano, v)
		if err == nil || strings.HasSuffix(where, ".position") || strings.HasSuffix(where, ".size") {
			return v // it is read back as an instant or a number
		}
		mark := fmt.Sprintf("mark%04dq7x", len(m.marks))
		if _, err := uuid.Parse(v); err == nil {
			mark = newID().String()
		}
		m.marks[mark] = where
		return mark
	}
	return value
}

// marked returns an event of the same type with a mark in place of each text.
func (m *marker) marked(t *testing.T, e domain.Event) domain.Event {
	t.Helper()
	payload, personal, err := domain.Encode(e)
	must(t, err)
	plain := func() ([]byte, domain.PersonalState, error) {
		if personal == nil {
			return nil, domain.Absent, nil
		}
		return m.bytes(t, e.EventType()+" sealed", personal), domain.Open, nil
	}

	result, err := domain.Decode(e.EventType(), m.bytes(t, e.EventType(), payload), plain)
	must(t, err)
	return result
}

func (m *marker) bytes(t *testing.T, where string, text []byte) []byte {
	t.Helper()
	var value any
	must(t, json.Unmarshal(text, &value))
	marked, err := json.Marshal(m.mark(where, value))
	must(t, err)
	return marked
}

// Each text of each event is marked, in its payload and in its sealed part, and all that
// was published is searched for the marks. testdata/leaving_texts.txt lists where those
// are that may leave: ids, codes of closed lists, hashes, and names of municipalities.
func TestNothingThatIdentifiesAPersonLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := &marker{marks: map[string]string{}}

	person := domain.UserID{UUID: newID()}
	w.append(t, []domain.SideWrite{domain.CreateSubjectKey{Subject: person}}, domain.Write{
		Stream: domain.UserOf(person), Events: []domain.Event{m.marked(t, domaintest.Filled("user.registered.v1"))},
	})
	var writes []domain.Write
	of := map[domain.Stream]int{}
	for _, e := range domaintest.Examples() {
		stream := domain.Stream{Type: domain.StreamTypeOf(e.EventType()), ID: newID()}
		if stream.AboutPerson() {
			stream.ID = person.UUID
		}
		if _, has := of[stream]; !has {
			of[stream] = len(writes)
			writes = append(writes, domain.Write{Stream: stream, Expected: domain.AnyVersion})
		}
		write := &writes[of[stream]]
		write.Events = append(write.Events, m.marked(t, e))
	}
	w.append(t, nil, writes...)
	w.run(t)
	w.relayed(t)

	var published bytes.Buffer
	for _, got := range w.published(t) {
		fmt.Fprintln(&published, got.Subject, got.Header)
		published.Write(got.Body)
	}
	found := map[string]bool{}
	for mark, where := range m.marks {
		if bytes.Contains(published.Bytes(), []byte(mark)) {
			found[where] = true
		}
	}

	want, err := os.ReadFile("testdata/leaving_texts.txt")
	must(t, err)
	if got := strings.Join(slices.Sorted(maps.Keys(found)), "\n") + "\n"; got != string(want) {
		t.Errorf("these texts left, and not those of testdata/leaving_texts.txt:\n%s", got)
	}
	if len(m.marks) < 200 {
		t.Errorf("%d texts are marked: this test looks in the wrong place", len(m.marks))
	}
}
