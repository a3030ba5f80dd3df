package proof_test

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/proof"
)

// anyHeader draws a header that can be of an event.
func anyHeader(t *rapid.T, label string) proof.Header {
	id := func(name string) uuid.UUID {
		return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label+name))
	}
	hash := func(name string) proof.Hash { return proof.Sum([]byte(rapid.StringN(0, 3, -1).Draw(t, label+name))) }
	maybe := func(name string) uuid.NullUUID {
		if rapid.Bool().Draw(t, label+name+" null") {
			return uuid.NullUUID{}
		}
		return uuid.NullUUID{UUID: id(name), Valid: true}
	}
	instant := rapid.Int64Range(-62_000_000_000_000_000, 250_000_000_000_000_000)

	h := proof.Header{
		Position: rapid.Int64Range(1, proof.MaxSize).Draw(t, label+"position"), Tenant: id("tenant"),
		StreamType: rapid.StringMatching(`[a-z_é]{1,12}`).Draw(t, label+"stream type"), StreamID: id("stream"),
		Version: rapid.Int32Range(1, 1<<31-1).Draw(t, label+"version"),
		EventID: id("event"), AppendID: id("append"), Ordinal: rapid.Int16Range(1, 1<<15-1).Draw(t, label+"ordinal"),
		EventType: rapid.StringMatching(`[a-z.]{1,20}`).Draw(t, label+"event type"),
		Subject:   maybe("subject"), Record: id("record"), Actor: maybe("actor"),
		EffectiveAt: time.UnixMicro(instant.Draw(t, label+"effective")).UTC(),
		RecordedAt:  time.UnixMicro(instant.Draw(t, label+"recorded")).UTC(),
		Payload:     hash("payload"), Metadata: hash("metadata"),
	}
	if rapid.Bool().Draw(t, label+"sealed") {
		sealed := hash("sealed")
		h.Sealed = &sealed
	}
	return h
}

func TestAHeaderIsReadBackAsItWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := anyHeader(t, "")
		entry, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := proof.Decode(entry)
		if err != nil || !reflect.DeepEqual(back, h) {
			t.Fatalf("%+v was read back as %+v (%v)", h, back, err)
		}
	})
}

// Two headers that differ, and be it in one field, are never encoded alike. Each change
// is one that somebody could make in the table.
func TestNoTwoHeadersAreEncodedAlike(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyHeader(t, "a "), anyHeader(t, "b ")
		if rapid.Bool().Draw(t, "one field") {
			one := a
			field := rapid.IntRange(0, reflect.TypeFor[proof.Header]().NumField()-1).Draw(t, "field")
			reflect.ValueOf(&one).Elem().Field(field).Set(reflect.ValueOf(b).Field(field))
			b = one
		}

		first, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		other, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(first, other) != reflect.DeepEqual(a, b) {
			t.Fatalf("%+v and %+v are encoded as %x", a, b, first)
		}
	})
}

// What is not null but empty, and the boundary between two names, are what a careless
// form confuses.
func TestWhatLooksAlikeIsEncodedApart(t *testing.T) {
	t.Parallel()
	empty, zero := proof.Sum(nil), uuid.NullUUID{Valid: true}
	h := exampleHeader()
	h.Sealed, h.Actor, h.Subject = nil, uuid.NullUUID{}, uuid.NullUUID{}
	variants := map[string]proof.Header{"as it is": h}
	add := func(name string, change func(*proof.Header)) {
		v := h
		change(&v)
		variants[name] = v
	}
	add("sealed empty", func(v *proof.Header) { v.Sealed = &empty })
	add("sealed zero", func(v *proof.Header) { v.Sealed = &proof.Hash{} })
	add("actor zero", func(v *proof.Header) { v.Actor = zero })
	add("subject zero", func(v *proof.Header) { v.Subject = zero })
	add("subject for actor", func(v *proof.Header) { v.Subject, v.Actor = zero, zero })

	seen := map[proof.Hash]string{}
	for name, v := range variants {
		leaf, err := v.Leaf()
		if err != nil {
			t.Fatal(err)
		}
		if other, double := seen[leaf]; double {
			t.Errorf("%q has the leaf of %q", name, other)
		}
		seen[leaf] = name
	}
}

func exampleHeader() proof.Header {
	id := func(s string) uuid.UUID { return uuid.MustParse("019c0000-0000-7000-8000-" + s) }
	sealed := proof.Sum([]byte("ciphertext"))
	return proof.Header{
		Position: 1204, Tenant: id("000000070001"), StreamType: "consent", StreamID: id("000000050001"), Version: 3,
		EventID: id("0000000e0001"), AppendID: id("0000000a0001"), Ordinal: 1, EventType: "consent.granted.v1",
		Subject: uuid.NullUUID{UUID: id("000000050001"), Valid: true}, Record: id("0000000c0001"),
		EffectiveAt: time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC),
		RecordedAt:  time.Date(2026, 3, 1, 9, 30, 1, 123456000, time.UTC),
		Payload:     proof.Sum([]byte(`{"a":1}`)), Sealed: &sealed, Metadata: proof.Sum([]byte(`{}`)),
	}
}

// The form is frozen: every checkpoint that was ever signed rests on it.
func TestTheFormOfALeafNeverChanges(t *testing.T) {
	t.Parallel()
	h := exampleHeader()
	entry, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}

	const want = "73616c676120747275737420656e67696e65206c6561660100000000000004b4019c0000000070008000000000070001" +
		"0007636f6e73656e74019c000000007000800000000005000100000003019c00000000700080000000000e0001019c00" +
		"000000700080000000000a000100010012636f6e73656e742e6772616e7465642e763101019c00000000700080000000" +
		"00050001019c00000000700080000000000c00010000064bf31d3df60000064bf31d4f1a80015abd7f5cc57a2dd94b75" +
		"90f04ad8084273905ee33ec5cebeae62276a97f86201305531dcc50ebca31cf1d5b31e9fc76ed51f66b3b6dd5a030c65" +
		"39ae6532f97944136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	if got := hex.EncodeToString(entry); got != want {
		t.Errorf("the entry is now\n%s", got)
	}
	leaf, _ := h.Leaf()
	if leaf != proof.Hash(tlog.RecordHash(entry)) {
		t.Errorf("the leaf is %x, which is not the RFC 6962 hash of the entry", leaf)
	}
	if h.Index() != 1203 {
		t.Errorf("position 1204 has the index %d", h.Index())
	}
}

func TestAHeaderThatCannotBeOfAnEventIsRefused(t *testing.T) {
	t.Parallel()
	long := string(bytes.Repeat([]byte("x"), 256))
	for name, change := range map[string]func(*proof.Header){
		"position 0":        func(h *proof.Header) { h.Position = 0 },
		"position negative": func(h *proof.Header) { h.Position = -1 },
		"version 0":         func(h *proof.Header) { h.Version = 0 },
		"ordinal 0":         func(h *proof.Header) { h.Ordinal = 0 },
		"no stream type":    func(h *proof.Header) { h.StreamType = "" },
		"long event type":   func(h *proof.Header) { h.EventType = long },
		"not UTF-8":         func(h *proof.Header) { h.EventType = "\xff" },
		"nanoseconds":       func(h *proof.Header) { h.RecordedAt = h.RecordedAt.Add(1) },
		"year 10000":        func(h *proof.Header) { h.EffectiveAt = h.EffectiveAt.AddDate(8000, 0, 0) },
		"year -1":           func(h *proof.Header) { h.EffectiveAt = h.EffectiveAt.AddDate(-2027, 0, 0) },
	} {
		h := exampleHeader()
		change(&h)
		if _, err := h.Leaf(); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

// Only what Encode returns is an entry, and reading it never panics.
func FuzzDecode(f *testing.F) {
	entry, _ := exampleHeader().Encode()
	f.Add(entry)
	f.Add(entry[:len(entry)-1])
	f.Add(append(bytes.Clone(entry), 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := proof.Decode(data)
		if err != nil {
			return
		}
		back, err := h.Encode()
		if err != nil || !bytes.Equal(back, data) {
			t.Errorf("%x is read as %+v, which is encoded as %x (%v)", data, h, back, err)
		}
	})
}

// One bit changed in an entry is another header, or none.
func TestEveryBitOfAnEntryCounts(t *testing.T) {
	t.Parallel()
	entry, err := exampleHeader().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(entry) * 8 {
		changed := bytes.Clone(entry)
		changed[i/8] ^= 1 << (i % 8)
		if h, err := proof.Decode(changed); err == nil && reflect.DeepEqual(h, exampleHeader()) {
			t.Errorf("bit %d says nothing", i)
		}
	}
	for i := range entry {
		if _, err := proof.Decode(entry[:i]); err == nil {
			t.Errorf("the first %d bytes are an entry", i)
		}
	}
}
