package proof

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// Report says what a bundle proves.
type Report struct {
	Proven bool `json:"proven"` // under a policy that was given, and not the bundle's own

	Origin       string   `json:"origin"`
	Size         uint64   `json:"size,string"` // of the log, at the checkpoint
	Keys         []string `json:"keys"`        // algorithms of the log's keys that signed the bundle
	CheckpointAt *Instant `json:"checkpoint_at"`
	Witnesses    []string `json:"witnesses"` // who cosigned it, by their names in the policy
	Receipt      Receipt  `json:"receipt"`

	Holds    []string `json:"holds"`     // in sentences: what was shown
	DoesNot  []string `json:"does_not"`  // what was not
	Decision string   `json:"decision"`  // in one sentence: what was decided, and what became of it
	OwnRules bool     `json:"own_rules"` // the policy was the bundle's own
}

// platformTenant is SALGA, whose purposes are the defaults of every municipality.
func platformTenant() uuid.UUID { return uuid.UUID{15: 1, 6: 0x70, 8: 0x80} }

// Check verifies a bundle: that the log signed it, that the checkpoint is believed, that
// each event is in the log with exactly these bytes, that the stream has no gap and ends
// where the log stated that it ends, and that the receipt says what follows from the
// events. The error names the first thing that does not hold; it is ErrUnreadable if the
// file is no bundle.
//
// Without a policy it uses the bundle's own, which the signer wrote: then nothing is
// proven but that the file agrees with itself, and the report says so.
func Check(data []byte, policy *Policy) (Report, error) {
	b, err := parseBundle(data)
	if err != nil {
		return Report{}, brief(err)
	}

	own := policy == nil
	if own {
		policy = b.Policy
	}
	c := checker{signedBundle: b, policy: policy}
	for _, step := range []func() error{
		c.checkpoint, c.signed, c.included, c.stream, c.times, c.receipt, c.notice, c.end,
	} {
		if err := step(); err != nil {
			return Report{}, brief(err)
		}
	}
	return c.report(own), nil
}

// brief cuts a sentence of which a stranger wrote parts to what people read.
func brief(err error) error {
	const enough = 1000
	text := err.Error()
	if len(text) <= enough {
		return err
	}

	text = strings.ToValidUTF8(text[:enough], "") + "…"
	if errors.Is(err, ErrUnreadable) {
		return unreadable("%s", text)
	}
	return errors.New(text)
}

// checker goes through a bundle, each step on the ground of those before.
type checker struct {
	signedBundle

	policy   *Policy
	believed Believed
	keys     []Key
	decided  *act
	words    wording
}

// wording says how the words shown and those published compare.
type wording int

const (
	unpublished wording = iota // no notice is in the bundle
	asPublished
	otherWords
)

func (c *checker) checkpoint() (err error) {
	if c.believed, err = c.policy.Open(c.Checkpoint); err != nil {
		return err
	}
	if len(c.believed.Extensions) > 0 {
		return errors.New("the checkpoint has further lines, which the log never writes")
	}

	var keys []Key
	for _, by := range c.believed.LogKeys {
		keys = append(keys, by.Key)
	}
	return c.byEveryAlgorithm("checkpoint", keys)
}

func (c *checker) signed() (err error) {
	if c.keys, err = c.verifySignatures(c.believed.Origin, c.policy); err != nil {
		return err
	}
	return c.byEveryAlgorithm("bundle", c.keys)
}

// byEveryAlgorithm refuses what lacks the signature of an algorithm for which the policy
// lists keys. The log always signs with both, so that neither is worth breaking alone:
// that would be in vain if one were enough.
func (c *checker) byEveryAlgorithm(what string, keys []Key) error {
	if algorithm := c.policy.lacks(c.believed.Origin, keys); algorithm != "" {
		return fmt.Errorf("the policy lists %[1]s for the log %[2]q, and no such key of it has signed the %[3]s: the "+
			"log signs with both its keys, so the %[3]s is forged, or of a key that the policy does not list",
			algorithm, c.believed.Origin, what)
	}
	return nil
}

// events are all in the bundle.
func (c *checker) events() []Evidence {
	all := append(c.Stream[:len(c.Stream):len(c.Stream)], c.StreamEnd)
	if c.Notice != nil {
		all = append(all, *c.Notice)
	}
	return all
}

func (c *checker) included() error {
	for _, e := range c.events() {
		leaf, err := e.Leaf()
		if err != nil {
			return err
		}
		if err := VerifyInclusion(leaf, e.Index(), c.believed.Size, e.Path, c.believed.Root); err != nil {
			return fmt.Errorf("the event at position %d is not in the log as it stands here: its payload, a column or "+
				"its proof was changed (%w)", e.Position, err)
		}
	}
	return nil
}

func (c *checker) stream() error {
	if len(c.Stream) == 0 {
		return errors.New("the bundle has no event")
	}

	first := c.Stream[0]
	last := int64(0)
	for i, e := range c.Stream {
		switch {
		case e.StreamType != consentStream:
			return fmt.Errorf("the event at position %d is not of a consent stream, but of %q", e.Position,
				e.StreamType)
		case e.Tenant != first.Tenant || e.StreamID != first.StreamID:
			return fmt.Errorf("the event at position %d is of another person's stream", e.Position)
		case int(e.Version) != i+1:
			return fmt.Errorf("the stream has a gap: in place of version %d stands version %d", i+1, e.Version)
		case e.Position <= last:
			return fmt.Errorf("the event at position %d stands after one with a higher position", e.Position)
		}
		last = e.Position
	}
	return nil
}

// times refuses events whose times run backwards: the log's never do. An event that was
// put in later with an earlier time is found out like that, if it is among others here.
func (c *checker) times() error {
	all := c.events()
	slices.SortStableFunc(all, func(a, b Evidence) int { return cmp.Compare(a.Position, b.Position) })
	for i, e := range all[1:] {
		if before := all[i]; e.RecordedAt.Before(before.RecordedAt) {
			return fmt.Errorf("the event at position %d says that it was recorded before the one at position %d, and "+
				"the log's times never run backwards", e.Position, before.Position)
		}
	}
	return nil
}

func (c *checker) receipt() error {
	r := c.Receipt
	made, err := NewReceipt(r.ReceiptID, r.IssuedAt.Time(), r.RecordID, c.Stream, r.Declared)
	if err != nil {
		return err
	}
	if err := r.differs(made); err != nil {
		return err
	}

	h, err := readHistory(c.Stream)
	if err != nil {
		return err
	}
	c.decided, err = h.decision(r.RecordID)
	return err
}

func (c *checker) notice() error {
	e := c.Notice
	if e == nil {
		return nil
	}
	if e.EventType != typeNotice || e.StreamType != purposeStream {
		return fmt.Errorf("the event at position %d publishes no notice: it is a %s", e.Position, e.EventType)
	}

	var n published
	if err := json.Unmarshal(e.Payload, &n); err != nil {
		return fmt.Errorf("the payload of event %d is not that of a notice", e.Position)
	}
	switch {
	case e.Tenant != c.decided.Tenant && e.Tenant != platformTenant():
		return errors.New("the notice is of another municipality")
	case n.Code != c.decided.Purpose || n.Notice != c.decided.NoticeVersion:
		return fmt.Errorf("the notice is version %d of the purpose %q, and the decision was about version %d of %q",
			n.Notice, n.Code, c.decided.NoticeVersion, c.decided.Purpose)
	case e.Position >= c.decided.Position:
		return errors.New("the notice was published after the decision about it was recorded")
	}

	c.words = otherWords
	if c.decided.Wording != "" && n.Texts[c.decided.Language] == c.decided.Wording {
		c.words = asPublished
	}
	return nil
}

// end refuses a bundle without the log's own statement about this very stream: that it
// ended where it ends here.
func (c *checker) end() error {
	e, last := c.StreamEnd, c.Stream[len(c.Stream)-1]
	if e.EventType != typeProofIssued || e.StreamType != proofStream {
		return fmt.Errorf("the event at position %d states no stream's end: it is a %s", e.Position, e.EventType)
	}

	var s issued
	if err := json.Unmarshal(e.Payload, &s); err != nil {
		return fmt.Errorf("the payload of event %d is not that of a statement of a stream's end", e.Position)
	}
	switch {
	case e.Tenant != last.Tenant || s.StreamType != consentStream || s.StreamID != last.StreamID:
		return fmt.Errorf("the event at position %d states the end of another stream", e.Position)
	case s.StreamVersion != last.Version:
		return fmt.Errorf("the log states that the stream ends at version %d, and here it ends at %d",
			s.StreamVersion, last.Version)
	case e.Position <= last.Position:
		return errors.New("the log stated the stream's end before its last event")
	case s.ReceiptID != c.Receipt.ReceiptID, s.ConsentID != c.Receipt.RecordID,
		c.Receipt.IssuedAt != At(e.RecordedAt):
		return fmt.Errorf("the event at position %d states the stream's end for another receipt", e.Position)
	default:
		return nil
	}
}

// when returns when the checkpoint was signed: as the newest signer of it says.
func (c *checker) when() *Instant {
	var newest time.Time
	for _, by := range c.believed.By {
		if by.At.After(newest) {
			newest = by.At
		}
	}
	return maybe(newest)
}

func (c *checker) report(own bool) Report {
	r := Report{
		Proven: !own, OwnRules: own, Origin: c.believed.Origin, Size: c.believed.Size, CheckpointAt: c.when(),
		Witnesses: append([]string{}, c.believed.Witnesses...), Receipt: c.Receipt, Decision: c.decision(),
	}
	for _, key := range c.keys {
		r.Keys = append(r.Keys, key.Algorithm())
	}

	r.Holds, r.DoesNot = c.holds(r), c.doesNot(own)
	return r
}

// decision says in words what was decided, who recorded it, and what became of it.
func (c *checker) decision() string {
	r := c.Receipt
	text := c.whoDecided()
	if c.decided.isClaim() {
		text = fmt.Sprintf("Another system (%q) claims that %s", r.Source, text)
	} else {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	text += fmt.Sprintf(" the purpose %q of %s on %s (notice version %d, language %q, channel %q; recorded%s on %s)",
		r.Purpose, responsible(r.TenantID), r.GivenAt, r.NoticeVersion, r.Language, r.Channel, c.recordedBy(),
		r.RecordedAt)

	switch {
	case r.AnnulledAt != nil && c.decided.annulledBy.movedAway():
		text += fmt.Sprintf("; this entry was moved to another record of the same person on %s, and counts there",
			*r.AnnulledAt)
	case r.AnnulledAt != nil:
		text += fmt.Sprintf("; this entry was annulled on %s and counts for nothing", *r.AnnulledAt)
	case r.WithdrawnAt != nil:
		text += fmt.Sprintf("; it was withdrawn on %s", *r.WithdrawnAt)
	case r.State == Given && r.ValidUntil != nil:
		text += fmt.Sprintf("; it was agreed to hold until %s", *r.ValidUntil)
	}
	if r.SupersededAt != nil && r.AnnulledAt == nil {
		text += fmt.Sprintf("; a later decision about the purpose took its place on %s", *r.SupersededAt)
	}
	return text + "."
}

// whoDecided says who decided, for whom, and what.
func (c *checker) whoDecided() string {
	r := c.Receipt
	verb := map[State]string{
		Given: "agreed to", Refused: "refused", Withdrawn: "agreed to", Annulled: "had an entry recorded about",
	}[r.State]
	if c.decided.isClaim() {
		verb = map[bool]string{true: "agreed to", false: "refused or ended"}[c.decided.outcome() == claimGranted]
	}

	if r.GivenBy == givenForAnother {
		return fmt.Sprintf("for person %s a competent person %s", r.SubjectID, verb)
	}
	return fmt.Sprintf("person %s %s", r.SubjectID, verb)
}

// responsible says whose decisions a tenant's are. Its name is declared, and not proven.
func responsible(tenant uuid.UUID) string {
	if tenant == platformTenant() {
		return "SALGA"
	}
	return "the municipality " + tenant.String()
}

// recordedBy says who recorded a decision; nothing, if the event does not say so. A claim
// was imported, whatever it claims of that.
func (c *checker) recordedBy() string {
	recorded := c.Receipt.RecordedBy
	switch {
	case recorded == "" || c.decided.isClaim():
		return ""
	case recorded == "self":
		return " by the person"
	case recorded == "staff":
		return " by the municipality's staff"
	case recorded == "program":
		return " by a program"
	default:
		return fmt.Sprintf(" by %q", recorded)
	}
}

func (c *checker) holds(r Report) []string {
	holds := []string{
		fmt.Sprintf("The file is signed as a whole by the log %s (%s).", r.Origin, list(r.Keys)),
		fmt.Sprintf("Each of the %d events of the person's consent stream, versions 1 to %d without a gap, is in the "+
			"log of %d events with exactly these bytes.", len(c.Stream), len(c.Stream), r.Size),
		"The receipt says what follows from these events, except where it only declares something.",
	}
	if r.CheckpointAt != nil {
		holds = append(holds, fmt.Sprintf("The checkpoint was signed on %s at the latest, as its signers say.",
			*r.CheckpointAt))
	}
	if c.words == asPublished {
		holds = append(holds,
			fmt.Sprintf("The words shown are those that were published as version %d, by %s, at position %d "+
				"of the log.", r.Receipt.NoticeVersion, responsible(c.Notice.Tenant), c.Notice.Position))
	}
	if len(r.Witnesses) > 0 {
		holds = append(holds, fmt.Sprintf("The checkpoint was cosigned by %s, as the policy names them.",
			list(r.Witnesses)))
	}
	return holds
}

func (c *checker) doesNot(own bool) []string {
	var not []string
	if own {
		not = append(not, "No policy was given: the keys and witnesses are those that the file itself names, and "+
			"its signer wrote them. So it proves no more than what the signer says. Get the log's policy from "+
			"somebody you trust.")
	}
	if len(c.believed.Witnesses) == 0 {
		not = append(not, "No witness of the policy cosigned the checkpoint: that everybody is shown the same log "+
			"rests on the operator's word.")
	}

	switch {
	case c.words == otherWords && c.decided.Wording != "":
		not = append(not, "The words shown are proven, and differ from those that were published.")
	case c.decided.Wording == "":
		not = append(not, "Which words were shown is not known.")
	case c.words == unpublished:
		not = append(not, "When the words were published is not in the file: they are built in, or not known.")
	}
	if c.decided.isClaim() {
		not = append(not, "It is a claim of another system: that the person decided so rests on that system's word.")
	}
	if c.Receipt.State == Given {
		not = append(not, "Whether a later notice of the purpose asked everybody anew, which ends what was agreed to "+
			"before, is not in the file: the log has that in the purpose's own events.")
	}

	declared := c.Receipt.Declared.Controller
	return append(not,
		fmt.Sprintf("That the stream has no more events is not proven. It is accountable absence: the event at "+
			"position %d of the log, recorded on %s, states that the stream ended at version %d then, so a lie about "+
			"it can be proven for ever.", c.StreamEnd.Position, At(c.StreamEnd.RecordedAt), len(c.Stream)),
		"What happened after that statement, and what was never entered, cannot be seen in any file.",
		"When each event was recorded is what the log says: what is shown is that all of them were in it when the "+
			"checkpoint was signed, in this order, and that their times do not run backwards.",
		fmt.Sprintf("What the receipt declares (that the responsible party is %q, code %q; recipients, retention and "+
			"the like) is the issuer's word.", declared.Name, declared.Code))
}
