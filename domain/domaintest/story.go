// Package domaintest lets tests read as Given / When / Then, and holds fixtures and an
// example of every event.
//
// Owns: made-up people, places and instants, the same in every run. Guarantees: pure,
// like package domain. Not here: anything that a program needs; only tests import this.
package domaintest

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Fact is what was recorded at one instant.
type Fact struct {
	At     time.Time
	Events []domain.Event
}

// At says that events were recorded at an instant, as Clock reads it.
func At(instant string, events ...domain.Event) Fact { return Fact{At: Clock(instant), Events: events} }

// History numbers facts as the log would, from position 1 and version 1, all recorded by
// the clerk in Msunduzi.
func History(s domain.Stream, facts ...Fact) []domain.Recorded {
	var history []domain.Recorded
	for _, f := range facts {
		for i, e := range f.Events {
			n := len(history) + 1
			effective := domain.EffectiveOf(e)
			if effective.IsZero() {
				effective = f.At
			}

			history = append(history, domain.Recorded{
				Position: int64(n), Tenant: Msunduzi(), Stream: s, Version: n,
				EventID: ID(0xE, n), AppendID: ID(0xA, n), Ordinal: i + 1,
				Subject: domain.SubjectOf(e, s), Record: domain.RecordOf(e, s), Actor: Clerk(),
				Event: e, Metadata: domain.Metadata{ActorRole: string(domain.FieldWorker)},
				EffectiveAt: effective, RecordedAt: f.At,
			})
		}
	}
	return history
}

// Story is one example of a rule: given a history, when a command is decided on, then
// this follows.
type Story struct {
	history []domain.Recorded
	events  []domain.Event
	err     error
}

// Given returns a story whose stream holds these facts.
func Given(s domain.Stream, facts ...Fact) Story { return Story{history: History(s, facts...)} }

// When decides on a command.
func (s Story) When(decide func(history []domain.Recorded) ([]domain.Event, error)) Story {
	s.events, s.err = decide(s.history)
	return s
}

// Then demands exactly these events.
func (s Story) Then(t testing.TB, want ...domain.Event) {
	t.Helper()
	if s.err != nil {
		t.Fatalf("refused: %v", s.err)
	}
	if diff := Diff(want, s.events); diff != "" {
		t.Fatalf("events (-want +got):\n%s", diff)
	}
}

// ThenNothing demands that the command succeeds without any event: there was nothing to
// change.
func (s Story) ThenNothing(t testing.TB) {
	t.Helper()
	if s.err != nil || len(s.events) != 0 {
		t.Fatalf("want nothing to happen, got events %v, error %v", s.events, s.err)
	}
}

// ThenRefused demands a refusal with this code, and no event.
func (s Story) ThenRefused(t testing.TB, want domain.Code) *domain.Error {
	t.Helper()
	return Refusal(t, s.events, s.err, want)
}

// ThenFaulty demands exactly these faults, all at once, each as "field code".
func (s Story) ThenFaulty(t testing.TB, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, FaultsOf(s.ThenRefused(t, domain.CodeInvalid))); diff != "" {
		t.Fatalf("faults (-want +got):\n%s", diff)
	}
}

// Refusal demands a refusal with this code and a sentence for people, and no event with
// it.
func Refusal(t testing.TB, events []domain.Event, err error, want domain.Code) *domain.Error {
	t.Helper()
	refusal, ok := errors.AsType[*domain.Error](err)
	if !ok || refusal.Code != want {
		t.Fatalf("want the refusal %s, got error %v, events %v", want, err, events)
	}

	if refusal.Message == "" {
		t.Fatalf("%s tells a person nothing", want)
	}
	if len(events) != 0 {
		t.Fatalf("refused with %s, and yet events: %v", want, events)
	}
	return refusal
}

// FaultsOf lists the faults of a refusal, each as "field code".
func FaultsOf(err error) []string {
	refusal, ok := errors.AsType[*domain.Error](err)
	if !ok {
		return nil
	}

	var faults []string
	for _, f := range refusal.Fields {
		faults = append(faults, f.Field+" "+f.Code)
	}
	return faults
}

// Diff compares values of package domain, personal parts included; empty means equal.
func Diff(want, got any) string {
	return cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true }))
}

// ID returns the id of number n of a kind, shaped like a UUIDv7.
func ID(kind byte, n int) uuid.UUID {
	return uuid.UUID{0: 0x01, 1: 0x9c, 6: 0x70, 8: 0x80, 13: kind, 14: byte(n >> 8), 15: byte(n)}
}

// Clock reads an instant such as "2026-03-06" (midnight) or "2026-03-06 10:30", UTC.
func Clock(text string) time.Time {
	for _, layout := range []string{"2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05.999999"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	panic("not an instant: " + text)
}
