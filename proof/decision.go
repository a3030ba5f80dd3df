package proof

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// Types of events of a consent stream, of the one that publishes a purpose's words, and
// of the one that states a stream's end.
const (
	typeGranted   = "consent.granted.v1"
	typeRefused   = "consent.refused.v1"
	typeWithdrawn = "consent.withdrawn.v1"
	typeClaimed   = "consent.claimed.v1"
	typeAnnulled  = "consent.annulled.v1"
	typeNotice    = "purpose.notice_published.v1"

	typeProofIssued = "proof.issued.v1"

	consentStream = "consent"
	purposeStream = "purpose"
	proofStream   = "proof"
)

// What a claim says that a person decided.
const (
	claimGranted   = "granted"
	claimWithdrawn = "withdrawn"
)

// Who decided for somebody else, and why an entry was annulled although it was no error.
const (
	givenForAnother = "competent_person"
	causeMerged     = "merged"
	causeUnmerged   = "unmerged"
)

// decided is what the payloads of the events of a consent stream say, as far as a receipt
// rests on it. It is written again here, from the frozen wire form of the events, so that
// who verifies needs neither our domain nor our word.
type decided struct {
	ConsentID      uuid.UUID `json:"consent_id"`
	Purpose        string    `json:"purpose"`
	NoticeVersion  int       `json:"notice_version"`
	Wording        string    `json:"wording"`
	SHA256         string    `json:"sha256"`
	Language       string    `json:"language"`
	Channel        string    `json:"channel"`
	GivenAt        time.Time `json:"given_at"`
	RecordedBy     string    `json:"recorded_by"`
	GivenBy        string    `json:"given_by"`
	Basis          string    `json:"basis"`
	EvidenceSHA256 string    `json:"evidence_sha256"`
	ValidUntil     time.Time `json:"valid_until"`
	ValidityDays   int       `json:"validity_days"`
	Annuls         uuid.UUID `json:"annuls"`
	Cause          string    `json:"cause"`
	Copy           *struct {
		Position int64 `json:"position"`
		Unstated bool  `json:"unstated"`
	} `json:"copy"`
	Claim struct {
		Decided string `json:"decided"`
		Grade   string `json:"evidence_grade"`
		Source  string `json:"source"`
	} `json:"claim"`
}

// published is what the payload of a published notice says.
type published struct {
	Code   string            `json:"code"`
	Notice int               `json:"notice_version"`
	Texts  map[string]string `json:"texts"`
	SHA256 map[string]string `json:"sha256"`
}

// issued is what the payload of the event says by which a bundle is issued: where the
// stream ended then.
type issued struct {
	ReceiptID     uuid.UUID `json:"receipt_id"`
	ConsentID     uuid.UUID `json:"consent_id"`
	StreamType    string    `json:"stream_type"`
	StreamID      uuid.UUID `json:"stream_id"`
	StreamVersion int32     `json:"stream_version"`
}

// act is one event of the stream, decoded.
type act struct {
	Header
	decided

	// In the order in which acts count: from when, and after which others.
	from   time.Time
	place  int64
	stated bool

	annulledBy   *act
	withdrawnBy  *act
	supersededAt time.Time
}

func (a *act) isClaim() bool { return a.EventType == typeClaimed }

// movedAway reports whether an annulment says that the entry was no error: it belongs to
// another record of the same person, and counts there.
func (a *act) movedAway() bool { return a.Cause == causeMerged || a.Cause == causeUnmerged }

// outcome returns what the act decides.
func (a *act) outcome() string {
	switch a.EventType {
	case typeGranted:
		return claimGranted
	case typeWithdrawn:
		return claimWithdrawn
	case typeClaimed:
		return a.Claim.Decided
	default:
		return ""
	}
}

// read decodes the payload of an event of the stream. A type that it does not know is of
// a newer program, which alone can say what became of the decision.
func (e Evidence) read() (*act, error) {
	a := &act{Header: e.Header}
	switch e.EventType {
	case typeGranted, typeRefused, typeWithdrawn, typeClaimed, typeAnnulled:
	default:
		return nil, unreadable("event %d is of the type %q, which this version does not know: use a newer one",
			e.Position, e.EventType)
	}

	if err := json.Unmarshal(e.Payload, &a.decided); err != nil {
		return nil, fmt.Errorf("the payload of event %d is not that of a %s", e.Position, e.EventType)
	}
	a.from, a.place, a.stated = a.EffectiveAt, a.Position, !a.GivenAt.IsZero()
	if a.Copy != nil {
		a.place, a.stated = a.Copy.Position, !a.Copy.Unstated
	}
	if a.outcome() == claimWithdrawn && a.isClaim() { // a record of its own
		a.withdrawnBy = a
	}
	return a, nil
}

// history is a consent stream, and what became of each decision in it.
type history []*act

// readHistory decodes a stream and settles each purpose by the rules of the engine: acts
// count in the order in which they took effect, not in which they were recorded. A
// property test holds it against the engine's own.
func readHistory(events []Evidence) (history, error) {
	var h history
	byID := map[uuid.UUID]*act{}
	for _, e := range events {
		a, err := e.read()
		if err != nil {
			return nil, err
		}
		h, byID[a.EventID] = append(h, a), a
	}

	for _, a := range h {
		if of := byID[a.Annuls]; a.EventType == typeAnnulled && of != nil && of.annulledBy == nil {
			of.annulledBy = a
		}
	}
	purposes := map[string][]*act{}
	for _, a := range h {
		if a.EventType != typeAnnulled && a.annulledBy == nil {
			purposes[a.Purpose] = append(purposes[a.Purpose], a)
		}
	}
	for _, acts := range purposes {
		settle(acts)
	}
	return h, nil
}

// settle says of each act about one purpose which withdrawal ended it, and when the next
// decision took its place.
func settle(acts []*act) {
	inOrder(acts)
	here := claimsFirst(acts)

	var open []*act // grants that were not withdrawn
	var newest *act
	decide := func(a *act) {
		if newest != nil {
			newest.supersededAt = a.from
		}
		newest = a
	}

	for _, a := range acts {
		switch {
		case a.EventType == typeWithdrawn:
			for _, grant := range open {
				grant.withdrawnBy = a
			}
			open = nil
			continue

		case a.outcome() == claimWithdrawn:
			open = slices.DeleteFunc(open, func(grant *act) bool {
				if grant.isClaim() {
					grant.withdrawnBy = a
				}
				return grant.isClaim()
			})

		case a.outcome() == claimGranted:
			open = append(open, a)
		}

		if a.isClaim() && !here.IsZero() && !a.from.Before(here) {
			a.supersededAt = a.from // what the person said here outvotes it
			continue
		}
		decide(a)
	}
}

// inOrder sorts by when an act took effect. An act without a stated time comes after all
// that the person said before it: one before it that claims a later time was stamped by a
// clock that ran ahead, and counts from the later act's instant.
func inOrder(acts []*act) {
	slices.SortFunc(acts, func(a, b *act) int { return cmp.Compare(a.place, b.place) })
	byInstant := func(a, b *act) int { return a.from.Compare(b.from) }

	var latest time.Time
	for i, a := range acts {
		if a.from.Before(latest) && !a.stated {
			slices.SortStableFunc(acts[:i], byInstant)
			for _, before := range acts[:i] {
				if before.from.After(a.from) {
					before.from = a.from
				}
			}
			latest = a.from
		}
		if a.from.After(latest) {
			latest = a.from
		}
	}
	slices.SortStableFunc(acts, byInstant)
}

// claimsFirst puts the claims of an instant before what the person said here, the one
// that permits least last. It returns when the person first decided here; zero: never.
func claimsFirst(acts []*act) time.Time {
	if !slices.ContainsFunc(acts, (*act).isClaim) {
		return time.Time{}
	}

	slices.SortStableFunc(acts, func(a, b *act) int {
		switch {
		case !a.from.Equal(b.from):
			return a.from.Compare(b.from)
		case a.isClaim() && b.isClaim():
			return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.NoticeVersion, a.NoticeVersion),
				cmp.Compare(a.SHA256, b.SHA256), cmp.Compare(a.Claim.Source, b.Claim.Source),
				cmp.Compare(a.ConsentID.String(), b.ConsentID.String()))
		case a.isClaim():
			return -1
		case b.isClaim():
			return 1
		default:
			return 0
		}
	})

	for _, a := range acts {
		if !a.isClaim() {
			return a.from
		}
	}
	return time.Time{}
}

func rank(a *act) int {
	return slices.Index([]string{claimGranted, "refused", claimWithdrawn}, a.Claim.Decided)
}

// decision finds the act that made a consent: the grant, the refusal or the claim.
func (h history) decision(consent uuid.UUID) (*act, error) {
	for _, a := range h {
		switch a.EventType {
		case typeGranted, typeRefused, typeClaimed:
			if a.ConsentID == consent {
				return a, nil
			}
		}
	}
	return nil, fmt.Errorf("no event of the stream decides the consent %s", consent)
}

// until returns the instant from which a grant no longer holds; zero: no end was agreed.
func (a *act) until() time.Time {
	if a.outcome() != claimGranted {
		return time.Time{}
	}
	end := a.ValidUntil
	if a.isClaim() {
		end = time.Time{}
	}
	if a.ValidityDays > 0 {
		days := a.EffectiveAt.Add(time.Duration(a.ValidityDays) * 24 * time.Hour)
		if end.IsZero() || days.Before(end) {
			end = days
		}
	}
	return end
}

// matches returns nil if the words shown have the hash that the event says. A claim may
// know neither, or the hash alone.
func (a *act) matches() error {
	sum := Sum([]byte(a.Wording))
	if a.Wording != "" && a.SHA256 != hex.EncodeToString(sum[:]) {
		return errors.New("the words shown do not have the hash that the event says")
	}
	return nil
}
