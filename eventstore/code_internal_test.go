package eventstore

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
)

func drawCoded(t *rapid.T) (coded, byte) {
	id := func(name string) uuid.UUID {
		return uuid.UUID(rapid.SliceOfN(rapid.ByteRange(0, 1), 16, 16).Draw(t, name))
	}
	text := func(name string) string { return rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 0, 3, -1).Draw(t, name) }
	few := rapid.SliceOfN(rapid.ByteRange(0, 1), 0, 2)

	e := coded{
		Recorded: &domain.Recorded{
			Tenant:      domain.TenantID{UUID: id("tenant")},
			Stream:      domain.Stream{Type: domain.StreamType(text("kind")), ID: id("stream")},
			Version:     rapid.IntRange(1, 3).Draw(t, "version"),
			EventID:     id("event"),
			AppendID:    id("append"),
			Ordinal:     rapid.IntRange(1, 3).Draw(t, "ordinal"),
			Subject:     domain.UserID{UUID: id("subject")},
			Record:      id("record"),
			Actor:       domain.UserID{UUID: id("actor")},
			EffectiveAt: time.UnixMicro(rapid.Int64Range(0, 2).Draw(t, "effective")),
		},
		eventType: text("type"), payload: few.Draw(t, "payload"), metadata: few.Draw(t, "metadata"),
	}
	if rapid.Bool().Draw(t, "is sealed") {
		e.sealed = few.Draw(t, "sealed")
	}
	return e, byte(rapid.IntRange(0, int(allFlags)).Draw(t, "flags"))
}

// same tells whether two events agree in everything that a code with these flags covers.
func same(a, b coded, flags byte) bool {
	version := flags&versionCovered == 0 || a.Version == b.Version
	effective := flags&effectiveCovered == 0 || a.EffectiveAt.Equal(b.EffectiveAt)
	ids := a.Tenant == b.Tenant && a.Stream == b.Stream && a.EventID == b.EventID && a.AppendID == b.AppendID &&
		a.Ordinal == b.Ordinal && a.Subject == b.Subject && a.Record == b.Record && a.Actor == b.Actor
	content := a.eventType == b.eventType && bytes.Equal(a.payload, b.payload) &&
		(a.sealed == nil) == (b.sealed == nil) && bytes.Equal(a.sealed, b.sealed) &&
		bytes.Equal(a.metadata, b.metadata)

	return version && effective && ids && content
}

// The values are few and short, so that fields parted in the wrong place collide; half of
// the pairs differ in one thing only.
func TestNoTwoEventsHaveOneMessage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, flags := drawCoded(t)
		b, others := drawCoded(t)
		if rapid.Bool().Draw(t, "alike") {
			others = flags
			copied := *a.Recorded
			switch rapid.IntRange(0, 8).Draw(t, "what") {
			case 0:
				copied.Stream = b.Stream
			case 1:
				copied.Version = b.Version
			case 2:
				copied.Subject, copied.Record = b.Subject, b.Record
			case 3:
				copied.Actor = b.Actor
			case 4:
				copied.EffectiveAt = b.EffectiveAt
			case 5:
				copied.AppendID, copied.Ordinal = b.AppendID, b.Ordinal
			case 6:
				copied.Stream.Type = b.Stream.Type
				b = coded{&copied, b.eventType, a.payload, a.sealed, a.metadata}
			}
			if b.Recorded != &copied {
				b = coded{&copied, a.eventType, a.payload, b.sealed, a.metadata}
			}
		}

		equal := bytes.Equal(a.message(codeKey, flags), b.message(codeKey, others))
		if want := flags == others && same(a, b, flags); equal != want {
			t.Fatalf("one message: %v, one event: %v", equal, want)
		}
	})
}

func TestACodeHoldsForItsEventAloneAndUnderItsKeyAlone(t *testing.T) {
	t.Parallel()
	ours, theirs := newCodes(newKey()), newCodes(newKey())
	rapid.Check(t, func(t *rapid.T) {
		e, flags := drawCoded(t)
		code := ours.of(e, flags)
		if !ours.holds(e, code) || theirs.holds(e, code) {
			t.Fatal("a code must hold under its key, and under no other")
		}

		bit := rapid.IntRange(0, 8*len(code)-1).Draw(t, "bit")
		code[bit/8] ^= 1 << (bit % 8)
		if ours.holds(e, code) || ours.holds(e, code[:len(code)-1]) || ours.holds(e, nil) {
			t.Fatal("a code that was changed, cut short or left out holds")
		}
	})
}

// BenchmarkCodes measures what codes add to reading events: x-decode is the time with
// checking them divided by the time without.
func BenchmarkCodes(b *testing.B) {
	v := &vault{codes: newCodes(newKey())}
	rows := make([]row, 5000)
	for i := range rows {
		r := &rows[i]
		r.Tenant, r.Stream = domain.PlatformTenant(), domain.ConsentsOf(domain.UserID{UUID: uuid.New()})
		r.EventID, r.AppendID, r.Record, r.Version, r.Ordinal = uuid.New(), uuid.New(), uuid.New(), 1, 1
		r.eventType, r.metadata = "consent.granted.v1", []byte(`{"actor_role":"citizen","command":"consent.grant"}`)
		r.payload = []byte(`{"consent_id":"` + uuid.NewString() + `","purpose":"sms_alert","notice_version":1,` +
			`"wording":"To send you SMS alerts about water and electricity interruptions.","language":"en",` +
			`"sha256":"` + string(bytes.Repeat([]byte("0"), 64)) +
			`","channel":"web","recorded_by":"self","given_by":"self","basis":"consent"}`)
		r.code = v.codes.of(coded{&r.Recorded, r.eventType, r.payload, r.sealed, r.metadata}, versionCovered)
	}

	var checking, decoding time.Duration
	for b.Loop() {
		began := time.Now()
		if bad := v.failing(rows); len(bad) > 0 {
			b.Fatalf("%d codes do not hold", len(bad))
		}
		checked := time.Now()
		if _, err := withheld(rows); err != nil {
			b.Fatal(err)
		}
		checking, decoding = checking+checked.Sub(began), decoding+time.Since(checked)
	}

	b.ReportMetric(float64(checking.Nanoseconds())/float64(b.N*len(rows)), "check-ns/event")
	b.ReportMetric(float64(decoding.Nanoseconds())/float64(b.N*len(rows)), "decode-ns/event")
	b.ReportMetric(float64(checking+decoding)/float64(decoding), "x-decode")
}
