package proof_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gowebpki/jcs"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/proof"
)

const (
	english = "To send you the municipality's monthly newsletter by e-mail."
	sha     = "f34fb50f99ef1d155981e735664ccaeff3f3cc0b223e9dada5c958221fdc391b"
)

func id(s string) uuid.UUID { return uuid.MustParse("019c0000-0000-7000-8000-" + s) }

func consentID() uuid.UUID { return id("0000000c0001") }

// world is a log in memory with one person's decisions in it, and the log's signer.
type world struct {
	t      testing.TB
	log    *proof.Signer
	tree   *tree
	stream []proof.Evidence
	notice *proof.Evidence
	end    *proof.Evidence
	filler int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, log: signer(t, origin, 1), tree: &tree{}}
	w.others(5)
	w.publish(`{"code":"newsletter","notice_version":1,"texts":{"en":"` + english + `"},"sha256":{"en":"` + sha + `"}}`)
	w.others(300)
	return w
}

// granted is a world in which the person agreed.
func granted(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.append("consent.granted.v1", grant(""))
	w.others(7)
	return w
}

func grant(more string) string {
	return `{"consent_id":"` + consentID().String() + `","purpose":"newsletter","notice_version":1,` +
		`"wording":"` + english +
		`","sha256":"` + sha + `","language":"en","channel":"web","recorded_by":"self","given_by":"self",` + more +
		`"basis":"consent"}`
}

func withdrawal() string {
	return `{"consent_id":"` + consentID().String() + `","purpose":"newsletter","recorded_by":"self"}`
}

// others appends events of other people.
func (w *world) others(n int) {
	for range n {
		w.filler++
		w.tree.leaves = append(w.tree.leaves, proof.LeafHash(fmt.Append(nil, w.filler)))
	}
}

func (w *world) append(eventType, payload string) {
	w.t.Helper()
	h := exampleHeader()
	h.Version, h.EventType = int32(len(w.stream)+1), eventType
	w.stream = append(w.stream, w.event(h, payload))
}

func (w *world) publish(payload string) {
	w.t.Helper()
	h := exampleHeader()
	h.StreamType, h.StreamID, h.EventType, h.Subject = "purpose", id("000000090001"), "purpose.notice_published.v1",
		uuid.NullUUID{}
	e := w.event(h, payload)
	w.notice = &e
}

// issue states where the person's stream ends.
func (w *world) issue() {
	w.t.Helper()
	w.state(statement(len(w.stream)))
}

// statement is the payload that states the end of the person's stream.
func statement(version int) string {
	return fmt.Sprintf(`{"receipt_id":%q,"consent_id":%q,"purpose":"newsletter","stream_type":"consent",`+
		`"stream_id":%q,"stream_version":%d}`, id("000000001234"), consentID(), exampleHeader().StreamID, version)
}

func (w *world) state(payload string) {
	w.t.Helper()
	h := exampleHeader()
	h.StreamType, h.EventType = "proof", "proof.issued.v1"
	e := w.event(h, payload)
	w.end = &e
}

func (w *world) event(h proof.Header, payload string) proof.Evidence {
	w.t.Helper()
	h.Position = int64(len(w.tree.leaves) + 1)
	h.EventID = uuid.UUID{15: byte(h.Position), 14: byte(h.Position >> 8), 6: 0x70, 8: 0x80}
	h.RecordedAt = instant().Add(time.Duration(h.Position) * time.Second)
	h.EffectiveAt = h.RecordedAt
	h.Payload = proof.Sum([]byte(payload))
	leaf, err := h.Leaf()
	if err != nil {
		w.t.Fatal(err)
	}
	w.tree.leaves = append(w.tree.leaves, leaf)
	return proof.Evidence{Header: h, Payload: []byte(payload)}
}

func (w *world) size() uint64 { return uint64(len(w.tree.leaves)) }

// bundle proves the person's stream by the log as it is now.
func (w *world) bundle(p *proof.Policy, cosigners ...*proof.Signer) proof.Bundle {
	w.t.Helper()
	if w.end == nil {
		w.issue()
	}
	root, err := proof.Root(w.size(), w.tree.tile)
	if err != nil {
		w.t.Fatal(err)
	}
	c := proof.Checkpoint{Origin: origin, Size: w.size(), Root: root}
	signed := sign(w.t, w.log, c)
	for _, s := range cosigners {
		signed = append(signed, cosign(w.t, s, c)...)
	}

	b := proof.Bundle{Checkpoint: signed, Policy: p, StreamEnd: w.proven(*w.end)}
	for _, e := range w.stream {
		b.Stream = append(b.Stream, w.proven(e))
	}
	if w.notice != nil {
		notice := w.proven(*w.notice)
		b.Notice = &notice
	}
	b.Receipt, err = proof.NewReceipt(id("000000001234"), w.end.RecordedAt, consentID(), b.Stream, proof.Declared{
		Controller:   proof.Controller{Code: "MAN", Name: "Mangaung", Contact: "privacy@mangaung.example"},
		Jurisdiction: "ZA", WithdrawalMethod: "POST /api/v1/consents/{id}/withdraw",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) proven(e proof.Evidence) proof.Evidence {
	w.t.Helper()
	path, err := proof.InclusionProof(e.Index(), w.size(), w.tree.tile)
	if err != nil {
		w.t.Fatal(err)
	}
	e.Path = path
	return e
}

func (w *world) policy() *proof.Policy { return proof.LogPolicy(w.log.LogKeys()...) }

func (w *world) file(b proof.Bundle) []byte {
	w.t.Helper()
	data, err := w.log.SignBundle(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

func TestABundleProvesADecisionAndWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then  func(*world)
		state proof.State
		says  string
	}{
		"granted": {func(*world) {}, proof.Given, `agreed to the purpose "newsletter"`},
		"withdrawn": {
			func(w *world) { w.append("consent.withdrawn.v1", withdrawal()) }, proof.Withdrawn,
			"it was withdrawn on",
		},
		"annulled": {func(w *world) {
			w.append("consent.annulled.v1", `{"consent_id":"`+consentID().String()+
				`","purpose":"newsletter","entry":"decision","annuls":"`+w.stream[0].EventID.String()+`"}`)
		}, proof.Annulled, "counts for nothing"},
		"superseded": {func(w *world) {
			w.append("consent.refused.v1", strings.Replace(grant(""), consentID().String(),
				id("0000000c0002").String(), 1))
		}, proof.Given, "took its place"},
	} {
		w := granted(t)
		c.then(w)
		w.others(3)

		r, err := proof.Check(w.file(w.bundle(w.policy())), w.policy())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !r.Proven || r.OwnRules || r.Receipt.State != c.state || !strings.Contains(r.Decision, c.says) ||
			r.Size != w.size() {
			t.Errorf("%s: %+v", name, r)
		}
		if !strings.Contains(strings.Join(r.Holds, " "), "published as version 1") {
			t.Errorf("%s: that the words were published is not shown: %q", name, r.Holds)
		}
	}
}

// The sentence says who decided, for whom, with whom, and when and by whom that was
// recorded: what a court asks first.
func TestTheDecisionIsToldAsTheEventsTellIt(t *testing.T) {
	t.Parallel()
	const granted, claimed, annulled = "consent.granted.v1", "consent.claimed.v1", "consent.annulled.v1"
	change := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(grant("")) }
	forChild := []string{`"given_by":"self"`, `"given_by":"competent_person"`}
	person := exampleHeader().StreamID.String()

	for name, c := range map[string]struct{ eventType, payload, cause, says string }{
		"by themselves": {granted, grant(""), "", "Person " + person + ` agreed to the purpose "newsletter" of the ` +
			"municipality " + exampleHeader().Tenant.String()},
		"recorded": {granted, grant(""), "", `channel "web"; recorded by the person on 1 April 2026, 08:05:07 UTC`},
		"by staff": {
			granted, change(`"recorded_by":"self"`, `"recorded_by":"staff"`), "",
			"recorded by the municipality's staff on",
		},
		"for a child": {granted, change(forChild...), "", "For person " + person + " a competent person agreed to"},
		"claimed for a child": {
			claimed, change(append(forChild, `"basis"`,
				`"claim":{"decided":"granted","source":"SAP"},"basis"`)...), "",
			`Another system ("SAP") claims that for person ` + person + " a competent person agreed to",
		},
		"annulled": {granted, grant(""), `""`, "and counts for nothing"},
		"moved":    {granted, grant(""), `"merged"`, "was moved to another record of the same person on"},
	} {
		w := newWorld(t)
		w.append(c.eventType, c.payload)
		if c.cause != "" {
			w.append(annulled, fmt.Sprintf(`{"consent_id":%q,"purpose":"newsletter","entry":"decision","annuls":%q,`+
				`"cause":%s}`, consentID(), w.stream[0].EventID, c.cause))
		}
		r, err := proof.Check(w.file(w.bundle(w.policy())), w.policy())
		if err != nil || !strings.Contains(r.Decision, c.says) {
			t.Errorf("%s: %q (%v)", name, r.Decision, err)
		}
	}
}

// Absence is never called proven, and neither is what only the issuer says.
func TestAReportSaysWhatIsNotProven(t *testing.T) {
	t.Parallel()
	w := granted(t)
	r, err := proof.Check(w.file(w.bundle(w.policy())), w.policy())
	if err != nil {
		t.Fatal(err)
	}
	not := strings.Join(r.DoesNot, "\n")
	if strings.Contains(not, "proof of absence") {
		t.Errorf("absence is called proven:\n%s", not)
	}
	for _, want := range []string{
		"no more events is not proven", "accountable absence", "issuer's word", "No witness",
		"after that statement", "recorded on 1 April 2026, 08:05:15 UTC, states that the stream ended at version 1",
		"When each event was recorded is what the log says", "a later notice of the purpose asked everybody anew",
		`the responsible party is "Mangaung", code "MAN"`,
	} {
		if !strings.Contains(not, want) {
			t.Errorf("it does not say %q:\n%s", want, not)
		}
	}

	// Without a policy of one's own nothing is proven at all.
	r, err = proof.Check(w.file(w.bundle(w.policy())), nil)
	if err != nil || r.Proven || !r.OwnRules || !strings.Contains(r.DoesNot[0], "its signer wrote them") {
		t.Errorf("by its own policy: %+v (%v)", r, err)
	}

	w.notice = nil
	r, err = proof.Check(w.file(w.bundle(w.policy())), w.policy())
	if err != nil || !strings.Contains(strings.Join(r.DoesNot, " "), "When the words were published") {
		t.Errorf("without a notice: %+v (%v)", r, err)
	}

	w = newWorld(t)
	w.append("consent.granted.v1", strings.Replace(grant(""), english, "", 1))
	for _, notice := range []*proof.Evidence{w.notice, nil} {
		w.notice = notice
		r, err = proof.Check(w.file(w.bundle(w.policy())), w.policy())
		if err != nil || !strings.Contains(strings.Join(r.DoesNot, " "), "Which words were shown is not known") {
			t.Errorf("without words: %+v (%v)", r, err)
		}
	}
}

func TestTheWitnessesOfThePolicyAreAskedFor(t *testing.T) {
	t.Parallel()
	w := granted(t)
	witness := signer(t, "w.example.org", 9)
	text := w.policy().Text()
	text = strings.Replace(text, "quorum none\n",
		"witness Council "+witness.WitnessKeys()[1].Vkey()+"\nquorum Council\n", 1)
	strictly := policy(t, text)

	r, err := proof.Check(w.file(w.bundle(w.policy(), witness)), strictly)
	if err != nil || len(r.Witnesses) != 1 || r.Witnesses[0] != "Council" {
		t.Errorf("cosigned: %+v (%v)", r, err)
	}
	_, err = proof.Check(w.file(w.bundle(w.policy())), strictly)
	if err == nil || !strings.Contains(err.Error(), "not enough witnesses") || errors.Is(err, proof.ErrUnreadable) {
		t.Errorf("not cosigned: %v", err)
	}
}

// Each lie is told by the log itself, which signs whatever it is given: only the tree and
// the rules of the stream are left to find it.
func TestALieOfTheLogItselfIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lie  func(*world, *proof.Bundle)
		says string
	}{
		"one letter of the wording": {func(_ *world, b *proof.Bundle) {
			b.Stream[0].Payload = bytes.Replace(b.Stream[0].Payload, []byte("monthly"), []byte("monthlY"), 1)
		}, "is not in the log as it stands here"},
		"the instant": {
			func(_ *world, b *proof.Bundle) { b.Stream[0].RecordedAt = instant() },
			"is not in the log",
		},
		"the sealed part": {func(_ *world, b *proof.Bundle) { b.Stream[0].Sealed = nil }, "is not in the log"},
		"the actor": {
			func(_ *world, b *proof.Bundle) { b.Stream[0].Actor = b.Stream[0].Subject },
			"is not in the log",
		},
		"another position": {func(_ *world, b *proof.Bundle) { b.Stream[0].Position++ }, "is not in the log"},
		"the notice":       {func(_ *world, b *proof.Bundle) { b.Notice.Payload = []byte(`{}`) }, "is not in the log"},
		"no withdrawal":    {func(_ *world, b *proof.Bundle) { b.Stream = b.Stream[:1] }, "receipt's state"},
		"a gap":            {func(_ *world, b *proof.Bundle) { b.Stream = b.Stream[1:] }, "gap"},
		"an event twice":   {func(_ *world, b *proof.Bundle) { b.Stream = append(b.Stream, b.Stream[1]) }, "gap"},
		"no event":         {func(_ *world, b *proof.Bundle) { b.Stream = nil }, "no event"},
		"a notice as event": {
			func(_ *world, b *proof.Bundle) { b.Stream = append(b.Stream, *b.Notice) },
			"not of a consent stream",
		},
		"the state":   {func(_ *world, b *proof.Bundle) { b.Receipt.State = proof.Given }, "receipt's state"},
		"the purpose": {func(_ *world, b *proof.Bundle) { b.Receipt.Purpose = "x" }, "receipt's purpose"},
		"the words":   {func(_ *world, b *proof.Bundle) { b.Receipt.Wording = "x" }, "receipt's wording"},
		"another consent": {
			func(_ *world, b *proof.Bundle) { b.Receipt.RecordID = id("0000000c0009") },
			"no event of the stream decides",
		},
		"an end that was not logged": {func(_ *world, b *proof.Bundle) {
			b.StreamEnd.Payload = bytes.Replace(b.StreamEnd.Payload, []byte(`version":2`), []byte(`version":1`), 1)
		}, "is not in the log"},
		"no statement of the end": {
			func(_ *world, b *proof.Bundle) { b.StreamEnd = b.Stream[1] }, "states no stream's end",
		},
		"another receipt": {
			func(_ *world, b *proof.Bundle) { b.Receipt.ReceiptID = id("000000001235") }, "for another receipt",
		},
		"another time of issue": {
			func(_ *world, b *proof.Bundle) { b.Receipt.IssuedAt = proof.At(instant()) },
			"for another receipt",
		},
		"a notice that is none": {func(_ *world, b *proof.Bundle) {
			b.Notice = &b.Stream[0]
		}, "publishes no notice"},
	} {
		w := granted(t)
		w.append("consent.withdrawn.v1", withdrawal())

		b := w.bundle(w.policy())
		c.lie(w, &b)
		_, err := proof.Check(w.file(b), w.policy())
		if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, proof.ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The log states the end of one stream at one version for one receipt, after its last
// event; a statement about anything else is none about this.
func TestAStatementAboutAnotherEndIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to, says string }{
		"another version":    {`version":2`, `version":3`, "ends at version 3, and here it ends at 2"},
		"an earlier version": {`version":2`, `version":1`, "ends at version 1, and here it ends at 2"},
		"no version":         {`,"stream_version":2`, ``, "ends at version 0"},
		"another stream":     {`"stream_id":"0`, `"stream_id":"1`, "the end of another stream"},
		"another kind":       {`"stream_type":"consent"`, `"stream_type":"user"`, "the end of another stream"},
		"another receipt":    {`1234"`, `1235"`, "for another receipt"},
		"another consent":    {consentID().String(), id("0000000c0009").String(), "for another receipt"},
		"no statement":       {`{`, `[{`, "not that of a statement"},
		"in advance":         {``, ``, "before its last event"},
	} {
		w := granted(t)
		if name == "in advance" {
			w.state(statement(2))
			w.append("consent.withdrawn.v1", withdrawal())
		} else {
			w.append("consent.withdrawn.v1", withdrawal())
			w.state(strings.Replace(statement(2), c.from, c.to, 1))
		}

		_, err := proof.Check(w.file(w.bundle(w.policy())), w.policy())
		if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, proof.ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A notice proves the words of its own purpose, version and municipality, and only before
// the decision.
func TestANoticeOfSomethingElseIsRefused(t *testing.T) {
	t.Parallel()
	notice := func(code string, version int, text string) string {
		return fmt.Sprintf(`{"code":%q,"notice_version":%d,"texts":{"en":%q},"sha256":{}}`, code, version, text)
	}
	for name, c := range map[string]struct{ payload, says string }{
		"another purpose": {notice("x", 1, english), `of the purpose "x"`},
		"another version": {notice("newsletter", 2, english), "version 2"},
		"afterwards":      {notice("newsletter", 1, english), "after the decision"},
		"no notice":       {`[]`, "not that of a notice"},
	} {
		w := granted(t)
		w.publish(c.payload)
		if _, err := proof.Check(w.file(w.bundle(w.policy())), w.policy()); err == nil ||
			!strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}

	w := &world{t: t, log: signer(t, origin, 1), tree: &tree{}}
	w.publish(notice("newsletter", 1, "Other words."))
	w.append("consent.granted.v1", grant(""))
	r, err := proof.Check(w.file(w.bundle(w.policy())), w.policy())
	if err != nil || !strings.Contains(strings.Join(r.DoesNot, " "), "differ from those that were published") {
		t.Errorf("other words: %+v (%v)", r, err)
	}
}

func TestAStrangerIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := granted(t)
	b := w.bundle(w.policy())
	stranger := signer(t, origin, 66)

	byStranger, err := stranger.SignBundle(b)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := signer(t, "another.example.org", 1)
	for name, c := range map[string]struct {
		file   []byte
		policy *proof.Policy
		says   string
	}{
		"signed by a stranger":             {byStranger, w.policy(), "signed by a stranger"},
		"signed by a stranger, own policy": {byStranger, nil, "signed by a stranger"},
		"a policy that knows the stranger": {
			w.file(b), proof.LogPolicy(stranger.LogKeys()...),
			"none of the keys",
		},
		"another origin, though the same seeds": {
			w.file(b), proof.LogPolicy(elsewhere.LogKeys()...),
			"does not list the log",
		},
	} {
		if _, err := proof.Check(c.file, c.policy); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// After a rotation old bundles are believed by a policy that lists the old keys.
	renewed := proof.LogPolicy(append(stranger.LogKeys(), w.log.LogKeys()...)...)
	if r, err := proof.Check(w.file(b), renewed); err != nil || len(r.Keys) != 2 {
		t.Errorf("after a rotation: %+v (%v)", r, err)
	}
}

// Whoever has broken one of the two algorithms forges nothing: a policy that lists keys
// of both wants a signature of each, on the checkpoint and on the bundle. One that lists
// a single key asks for no more.
func TestNeitherAlgorithmAloneIsBelievedByAPolicyThatListsBoth(t *testing.T) {
	t.Parallel()
	honest, stranger := seeds(1), seeds(66)
	for i, broken := range []proof.Seeds{
		{Ed25519: honest.Ed25519, MLDSA44: stranger.MLDSA44}, {Ed25519: stranger.Ed25519, MLDSA44: honest.MLDSA44},
	} {
		w := granted(t)
		forger, err := proof.NewSigner(origin, broken)
		if err != nil {
			t.Fatal(err)
		}
		both, one := w.policy(), proof.LogPolicy(w.log.LogKeys()[i])
		theirs := w.bundle(both)

		w.log = forger
		for what, b := range map[string]proof.Bundle{"checkpoint": w.bundle(both), "bundle": theirs} {
			file := w.file(b)
			_, err := proof.Check(file, both)
			if err == nil || !strings.Contains(err.Error(), "no such key of it has signed the "+what) {
				t.Errorf("%d, the %s: %v", i, what, err)
			}
			if r, err := proof.Check(file, one); err != nil || len(r.Keys) != 1 {
				t.Errorf("%d, the %s, by a policy with one key: %+v (%v)", i, what, r.Keys, err)
			}
		}
	}
}

// A log whose times run backwards has put an event in later than it says.
func TestAnEventWithAnEarlierTimeThanOneBeforeItIsRefused(t *testing.T) {
	t.Parallel()
	for name, position := range map[string]int{"a decision": 0, "the statement": 1} {
		w := granted(t)
		w.issue()
		for i, e := range []*proof.Evidence{&w.stream[0], w.end} {
			if i == position {
				e.RecordedAt = w.notice.RecordedAt.Add(-time.Microsecond)
			}
			leaf, err := e.Leaf()
			if err != nil {
				t.Fatal(err)
			}
			w.tree.leaves[e.Index()] = leaf
		}
		_, err := proof.Check(w.file(w.bundle(w.policy())), w.policy())
		if err == nil || !strings.Contains(err.Error(), "never run backwards") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsNoBundleIsUnreadable(t *testing.T) {
	t.Parallel()
	w := granted(t)
	good := string(w.file(w.bundle(w.policy())))
	payload := base64.StdEncoding.EncodeToString(w.stream[0].Payload)

	for name, c := range map[string]struct{ text, says string }{
		"nothing":            {"", "no JSON"},
		"a text":             {"hello", "no JSON"},
		"another document":   {"{}", "does not say"},
		"a future version":   {strings.TrimSuffix(good, "1}") + "2}", "use a newer one"},
		"a name twice":       {strings.Replace(good, `"type":`, `"type":"x","type":`, 1), "stands twice"},
		"an unknown name":    {strings.Replace(good, `"type":`, `"typf":"x","type":`, 1), "no decision bundle"},
		"deep inside":        {strings.Replace(good, `"code":`, `"codf":"x","code":`, 1), "no decision bundle"},
		"twice, deep inside": {strings.Replace(good, `"code":`, `"code":"x","code":`, 1), "stands twice"},
		"something missing":  {strings.Replace(good, `"source":"",`, "", 1), "missing"},
		"null for a text":    {strings.Replace(good, `"source":""`, `"source":null`, 1), "missing"},
		"a number for one":   {strings.Replace(good, `"source":""`, `"source":0`, 1), "no decision bundle"},
		"base64 with breaks": {strings.Replace(good, payload, payload[:8]+`\n`+payload[8:], 1), "base64"},
		"a position by 0":    {strings.Replace(good, `"position":"307"`, `"position":"0307"`, 1), "one form"},
		"hash in capitals": {
			strings.Replace(good, `"metadata_sha256":"44`, `"metadata_sha256":"4A`, 1),
			"small letters",
		},
		"an instant by +2": {strings.Replace(good, `.000000Z"`, `+00:00"`, 1), "no decision bundle"},
		"not signed":       {unsigned(good), "not signed"},
		"nothing but brackets": {
			`{"type":"salga-trust/decision-bundle","version":1,"stream":[` + strings.Repeat("{},", 1<<16) + "{}]}",
			"more than 131072 values",
		},
		"a long text": {strings.Replace(good, `"position":"`, `"position":"`+strings.Repeat("9", 1<<20), 1), "…"},
		"large":       {strings.Repeat(" ", proof.MaxBundle) + good, "16 MB"},
		"100 MB":      {strings.Repeat(" ", 100<<20), "16 MB"},
	} {
		if c.text == good {
			t.Errorf("%s: the test changes nothing", name)
		}
		_, err := proof.Check([]byte(c.text), w.policy())
		if !errors.Is(err, proof.ErrUnreadable) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if len(err.Error()) > 1100 {
			t.Errorf("%s: the sentence has %d bytes", name, len(err.Error()))
		}
	}

	// Spaces and the order of names say nothing.
	var indented bytes.Buffer
	if err := json.Indent(&indented, []byte(good), "", "  "); err != nil {
		t.Fatal(err)
	}
	if _, err := proof.Check(indented.Bytes(), w.policy()); err != nil {
		t.Errorf("indented: %v", err)
	}
}

func unsigned(bundle string) string {
	i := strings.Index(bundle, `"signatures":`)
	j := i + strings.Index(bundle[i:], `"stream":`)
	return bundle[:i] + bundle[j:]
}

// An event of a type that is not known yet may change what became of the decision.
func TestAnEventOfANewerProgramIsUnreadable(t *testing.T) {
	t.Parallel()
	w := granted(t)
	w.append("consent.granted.v2", `{}`)
	_, err := proof.NewReceipt(uuid.Nil, instant(), consentID(), w.stream, proof.Declared{})
	if !errors.Is(err, proof.ErrUnreadable) {
		t.Errorf("a receipt was made: %v", err)
	}
}

// Whatever bit is changed, the bundle is refused, or says the same as before. Where it is
// cut, it is refused.
func TestABitChangedInABundleChangesNothingThatIsClaimed(t *testing.T) {
	t.Parallel()
	w := granted(t)
	good := w.file(w.bundle(w.policy()))
	want, err := jcs.Transform(good)
	if err != nil {
		t.Fatal(err)
	}

	rapid.Check(t, func(t *rapid.T) {
		changed := bytes.Clone(good)
		if i := rapid.IntRange(0, len(good)*9-1).Draw(t, "bit, or cut"); i < len(good)*8 {
			changed[i/8] ^= 1 << (i % 8)
		} else {
			changed = changed[:i-len(good)*8]
		}

		if _, err := proof.Check(changed, w.policy()); err == nil {
			if got, _ := jcs.Transform(changed); !bytes.Equal(got, want) {
				t.Errorf("accepted:\n%s", changed)
			}
		}
	})
}

// Any program for tlog-proofs verifies one that is cut out of a bundle.
func TestEachTLogProofInABundleStandsAlone(t *testing.T) {
	t.Parallel()
	w := granted(t)
	var file struct {
		Stream []struct {
			TLogProof string `json:"tlog_proof"`
		} `json:"stream"`
	}
	if err := json.Unmarshal(w.file(w.bundle(w.policy())), &file); err != nil {
		t.Fatal(err)
	}
	p, err := proof.ParseLogProof([]byte(file.Stream[0].TLogProof))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := w.stream[0].Leaf()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Verify(leaf, w.policy()); err != nil {
		t.Error(err)
	}
}

func FuzzParseBundle(f *testing.F) {
	w := granted(f)
	f.Add(w.file(w.bundle(w.policy())))
	f.Add([]byte(`{"type":"salga-trust/decision-bundle","version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := proof.ParseBundle(data)
		if err != nil && !errors.Is(err, proof.ErrUnreadable) {
			t.Errorf("%q: %v", data, err)
		}
		if err == nil && b.Policy == nil {
			t.Errorf("%q was read without a policy", data)
		}
		if _, err := proof.Check(data, w.policy()); err == nil && len(b.Stream) == 0 {
			t.Errorf("%q proves something without an event", data)
		}
	})
}
