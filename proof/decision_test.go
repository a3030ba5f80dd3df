package proof_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/proof"
)

// What became of a decision is worked out here a second time, from the wire form alone.
// On any history of one person it is what the engine itself says.
func TestTheEngineSaysTheSameOfAnyHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var events []domain.Recorded
		var stream []proof.Evidence
		var decisions []uuid.UUID
		for i := range rapid.IntRange(1, 9).Draw(t, "events") {
			e := anyAct(t, i, events)
			payload, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}

			recorded := recordedAs(t, i, e)
			events = append(events, recorded)
			stream = append(stream, proof.Evidence{Header: headerOf(recorded), Payload: payload})
			decisions = append(decisions, domain.RecordOf(e, domain.Stream{}))
		}

		for _, consent := range decisions {
			want, found := domain.ConsentIn(events, domain.ConsentID{UUID: consent})
			if !found { // of a withdrawal or an annulment
				continue
			}
			got, err := proof.NewReceipt(uuid.Nil, instant(), consent, stream, proof.Declared{})
			if err != nil {
				t.Fatal(err)
			}
			same := at(got.WithdrawnAt).Equal(want.WithdrawnAt) && at(got.AnnulledAt).Equal(want.AnnulledAt) &&
				at(got.SupersededAt).Equal(want.SupersededAt) && at(got.ValidUntil).Equal(want.ValidUntil) &&
				got.Purpose == want.Purpose && got.EvidenceGrade == string(want.Grade)
			if !same {
				t.Fatalf("the engine says %+v, and from the events follows %+v", want, got)
			}
		}
	})
}

func at(i *proof.Instant) time.Time {
	if i == nil {
		return time.Time{}
	}
	return i.Time()
}

// minute returns an instant: few, so that many coincide.
func minute(n int) time.Time { return instant().Add(time.Duration(n) * time.Minute) }

func numbered(kind, n int) uuid.UUID {
	return uuid.UUID{6: 0x70, 8: 0x80, 14: byte(kind), 15: byte(n + 1)}
}

func anyAct(t *rapid.T, i int, before []domain.Recorded) domain.Event {
	purpose := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "purpose")
	consent := domain.ConsentID{UUID: numbered(1, i)}
	var given time.Time
	if rapid.Bool().Draw(t, "stated") {
		given = minute(rapid.IntRange(0, 6).Draw(t, "given"))
	}
	d := domain.Decision{ConsentID: consent, Purpose: purpose, GivenAt: given, Language: "en", Channel: domain.Paper}
	if rapid.IntRange(0, 4).Draw(t, "copy") == 0 {
		d.Copy = &domain.CopyOf{Position: rapid.Int64Range(1, 12).Draw(t, "of"), Unstated: rapid.Bool().Draw(t,
			"unstated")}
	}
	days := rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "days")

	switch rapid.IntRange(0, 4).Draw(t, "act") {
	case 0:
		return &domain.ConsentRefused{Decision: d}
	case 1:
		return &domain.ConsentWithdrawn{ConsentID: consent, Purpose: purpose, GivenAt: given, Copy: d.Copy}
	case 2:
		d.GivenAt = minute(rapid.IntRange(0, 6).Draw(t, "claimed"))
		return &domain.ConsentClaimed{Decision: d, ValidityDays: days, Claim: domain.ConsentClaim{
			Decided: rapid.SampledFrom(domain.Outcomes()).Draw(t, "outcome"), Grade: domain.GradeClaimed,
			Source: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "source"),
		}}
	case 3:
		if len(before) > 0 {
			of := before[rapid.IntRange(0, len(before)-1).Draw(t, "annulled")]
			return &domain.ConsentAnnulled{
				ConsentID: domain.ConsentID{UUID: domain.RecordOf(of.Event, domain.Stream{})}, Purpose: purpose,
				Annuls: of.EventID,
			}
		}
	}
	g := &domain.ConsentGranted{Decision: d, ValidityDays: days}
	if rapid.Bool().Draw(t, "until") {
		g.ValidUntil = minute(rapid.IntRange(7, 9000).Draw(t, "end"))
	}
	return g
}

// recordedAs stamps an event by a clock that now and then runs backwards.
func recordedAs(t *rapid.T, i int, e domain.Event) domain.Recorded {
	r := domain.Recorded{
		Event: e, EventID: numbered(2, i), Position: int64(i + 1), Version: i + 1,
		RecordedAt: minute(rapid.IntRange(0, 8).Draw(t, "recorded")),
	}
	r.EffectiveAt = r.RecordedAt
	if stated := domain.EffectiveOf(e); !stated.IsZero() {
		r.EffectiveAt = stated
	}
	return r
}

func headerOf(r domain.Recorded) proof.Header {
	return proof.Header{
		Position: r.Position, EventType: r.Event.EventType(), EventID: r.EventID, Version: int32(r.Version),
		StreamType: "consent", EffectiveAt: r.EffectiveAt, RecordedAt: r.RecordedAt,
	}
}
