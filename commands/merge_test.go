package commands_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// walkIn records a person without an account, whom a meter is known by.
func (w *world) walkIn(t *testing.T, meter string) domain.UserID {
	t.Helper()
	recorded, err := w.RecordResident(t.Context(), commands.System(w.cpt), commands.RecordResident{
		FullName: "Thandi Dlamini", ExternalIDs: []domain.ExternalID{{Type: domain.Meter, Value: meter}},
	})
	ok(t, err)
	return recorded.Value.ID
}

// onPaper records what a person said on a form, about text messages.
func (w *world) onPaper(t *testing.T, subject domain.UserID, consented bool, until time.Time) domain.Decided {
	t.Helper()
	c := smsAlert()
	c.Subject, c.Consented, c.Channel, c.Evidence, c.ValidUntil = subject, consented, domain.Paper, evidence(), until
	done, err := w.RecordConsent(t.Context(), commands.System(w.cpt), c)
	ok(t, err)
	return done.Value
}

func (w *world) merge(t *testing.T, from, into domain.UserID) {
	t.Helper()
	_, err := w.MergeResidents(t.Context(), commands.System(w.cpt),
		commands.MergeResidents{From: from, Into: into, Reason: "one meter, one card"})
	ok(t, err)
}

func (w *world) unmerge(t *testing.T, from domain.UserID) {
	t.Helper()
	_, err := w.UnmergeResidents(t.Context(), commands.System(w.cpt),
		commands.UnmergeResidents{From: from, Reason: "mother and daughter"})
	ok(t, err)
}

// lastRecorded returns when the log recorded its newest event.
func (w *world) lastRecorded(t *testing.T) (at time.Time) {
	t.Helper()
	const newest = "select recorded_at from trust.events order by position desc limit 1"
	ok(t, w.db.Superuser(t).QueryRow(t.Context(), newest).Scan(&at))
	return at.UTC()
}

// reasons returns why text messages may be sent to people, and fails the test unless a
// check of each alone says the same as the bulk check.
func (w *world) reasons(t *testing.T, by commands.Call, knownAt time.Time, people ...domain.UserID) []domain.Reason {
	t.Helper()
	bulk, err := w.CheckConsents(t.Context(), by, commands.CheckConsents{
		Subjects: people, Purpose: "sms_alert", KnownAt: knownAt,
	})
	ok(t, err)

	var reasons []domain.Reason
	for i, id := range people {
		one, err := w.CheckConsent(t.Context(), by, commands.CheckConsent{
			Subject: id, Purpose: "sms_alert", KnownAt: knownAt,
		})
		ok(t, err)
		if one.Check != bulk.Checks[i] || one.Known != slices.Contains(bulk.Known, one.Record) {
			t.Errorf("person %d as known at %s: alone %+v, in bulk %+v", i, knownAt, one, bulk.Checks[i])
		}
		reasons = append(reasons, bulk.Checks[i].Reason)
	}
	return reasons
}

// A program that still knows somebody by the record that was merged away is told what the
// one that goes on says; as known earlier, what each said alone.
func TestACheckFollowsAMergeAsItWasKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, _, sender := w.program(t, "SMS")
	from, into, alone := w.walkIn(t, "7"), w.walkIn(t, "8"), w.walkIn(t, "9")
	stranger := domain.UserID{UUID: uuid.New()}
	people := []domain.UserID{from, into, alone, stranger, from}

	w.onPaper(t, into, false, time.Time{})
	granted := w.onPaper(t, from, true, time.Time{})
	apart := w.lastRecorded(t)
	w.merge(t, from, into)
	merged := w.lastRecorded(t)

	const yes, no, never, unknown = domain.ReasonGranted, domain.ReasonRefused, domain.ReasonNeverAsked,
		domain.ReasonUnknownSubject
	says := func(what string, knownAt time.Time, want ...domain.Reason) {
		t.Helper()
		if got := w.reasons(t, sender, knownAt, people...); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	says("merged", time.Time{}, yes, yes, never, unknown, yes)

	w.unmerge(t, from)
	parted := w.lastRecorded(t)
	w.merge(t, alone, from)
	w.onPaper(t, into, true, time.Time{})

	says("as known before the merge", apart, yes, no, never, unknown, yes)
	says("as known while merged", merged, yes, yes, never, unknown, yes)
	says("as known when parted", parted, yes, no, never, unknown, yes)
	says("the third merged into the first", time.Time{}, yes, yes, yes, unknown, yes)

	_, err := w.WithdrawConsent(t.Context(), sender, commands.WithdrawConsent{Consent: granted.ID})
	refused(t, err, domain.CodeAnnulled)
}

// However often somebody decided in either record, the newest of both decide, and of a
// thousand people the log is asked a few times.
func TestABulkCheckAsksAboutMergedRecordsTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, _, sender := w.program(t, "SMS")
	var people []domain.UserID
	for i := range 4 {
		from, into := w.walkIn(t, fmt.Sprint("1", i)), w.walkIn(t, fmt.Sprint("2", i))
		for n := range 12 {
			record := []domain.UserID{from, into}[n%2]
			said := w.onPaper(t, record, n%4 < 2, time.Time{})
			if said.Consented {
				_, err := w.WithdrawConsent(t.Context(), sender, commands.WithdrawConsent{Consent: said.ID})
				ok(t, err)
			}
		}
		if i%2 == 0 {
			w.onPaper(t, from, true, time.Time{})
		}
		w.merge(t, from, into)
		people = append(people, from, into)
	}
	want := []domain.Reason{
		domain.ReasonGranted, domain.ReasonGranted, domain.ReasonRefused, domain.ReasonRefused,
		domain.ReasonGranted, domain.ReasonGranted, domain.ReasonRefused, domain.ReasonRefused,
	}
	if got := w.reasons(t, sender, time.Time{}, people...); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}

	store := &counting{Store: w.store}
	_, err := commands.New(store, commands.Config{}).CheckConsents(t.Context(), sender, commands.CheckConsents{
		Subjects: []domain.UserID{people[0], people[2], people[4], people[6]}, Purpose: "sms_alert",
	})
	ok(t, err)
	if store.asked > 5 {
		t.Errorf("the store was asked %d times", store.asked)
	}
}

// A grant that is copied to another record ends when it would have ended.
func TestAMergeKeepsTheEndOfAGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	days := 30
	monthly := purpose("monthly", domain.ConsentBasis)
	monthly.ValidityDays = &days
	_, err := w.DefinePurpose(t.Context(), commands.System(w.cpt), monthly)
	ok(t, err)
	from, into := w.walkIn(t, "7"), w.walkIn(t, "8")

	until := w.clock.now().Add(48 * time.Hour).UTC().Truncate(time.Microsecond)
	w.onPaper(t, from, true, until)
	c := smsAlert()
	c.Purpose, c.Subject, c.Channel, c.Evidence = "monthly", from, domain.Paper, evidence()
	second, err := w.RecordConsent(t.Context(), commands.System(w.cpt), c)
	ok(t, err)
	w.merge(t, from, into)

	for code, end := range map[string]time.Time{"sms_alert": until, "monthly": second.Value.Until()} {
		for _, id := range []domain.UserID{from, into} {
			check, err := w.CheckConsent(t.Context(), commands.System(w.cpt),
				commands.CheckConsent{Subject: id, Purpose: code})
			ok(t, err)
			if !check.Allowed || !check.ValidUntil.Equal(end) || end.IsZero() {
				t.Errorf("%s: %+v, want an end at %s", code, check, end)
			}
		}
	}

	w.clock.advance(31 * 24 * time.Hour)
	for _, code := range []string{"sms_alert", "monthly"} {
		check, err := w.CheckConsent(t.Context(), commands.System(w.cpt),
			commands.CheckConsent{Subject: from, Purpose: code})
		ok(t, err)
		if check.Reason != domain.ReasonExpired {
			t.Errorf("%s a month later: %+v", code, check)
		}
	}
}

// A grant that has ended hides an older one without end: to annul it allows what was not
// allowed.
func TestToAnnulAnEndedGrantThatHidAnEndlessOneNeedsEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	officer, resident := w.staff(t, domain.Manager, "officer@example.co.za"), w.walkIn(t, "7")
	w.onPaper(t, resident, true, time.Time{})
	ended := w.onPaper(t, resident, true, w.clock.now().Add(time.Hour))
	w.clock.advance(2 * time.Hour)

	annul := commands.AnnulConsent{Consent: ended.ID, Reason: "meant for another Thandi"}
	_, err := w.AnnulConsent(t.Context(), officer, annul)
	refused(t, err, domain.CodeEvidenceRequired)

	annul.Evidence = evidence()
	done, err := w.AnnulConsent(t.Context(), officer, annul)
	ok(t, err)
	if done.Value.Status != domain.StatusAnnulled {
		t.Errorf("the entry is %s", done.Value.Status)
	}
	if got := w.reasons(t, officer, time.Time{}, resident); got[0] != domain.ReasonGranted {
		t.Errorf("the older grant is not in force: %s", got)
	}
}

// around is a log in which what had parted two records was tampered with and disowned,
// after they had been merged the other way round: each is merged into the other.
type around struct {
	commands.Store
	tenant domain.TenantID
	into   map[domain.UserID]domain.UserID
}

func (s *around) merged(events []domain.Recorded) []domain.Recorded {
	for id, into := range s.into {
		if slices.ContainsFunc(events, func(e domain.Recorded) bool { return e.Stream == domain.UserOf(id) }) {
			events = append(events, domain.Recorded{
				Tenant: s.tenant, Stream: domain.UserOf(id), Event: &domain.ResidentMerged{From: id, Into: into},
			})
		}
	}
	return events
}

func (s *around) LoadTail(
	ctx context.Context, tenant domain.TenantID, tail domain.Tail, beside ...domain.Stream,
) ([]domain.Recorded, int, error) {
	events, version, err := s.Store.LoadTail(ctx, tenant, tail, beside...)
	return s.merged(events), version, err
}

func (s *around) LoadPeople(
	ctx context.Context, tenant domain.TenantID, people []domain.UserID, purpose string, upTo int64,
	enough func([]domain.Recorded) bool,
) (map[domain.UserID]domain.PersonDecisions, error) {
	found, err := s.Store.LoadPeople(ctx, tenant, people, purpose, upTo, enough)
	for id, of := range found {
		of.Person = s.merged(of.Person)
		found[id] = of
	}
	return found, err
}

func TestACheckEndsThoughTwoRecordsSeemMergedIntoEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.walkIn(t, "7"), w.walkIn(t, "8")
	w.onPaper(t, a, true, time.Time{})
	w.onPaper(t, b, false, time.Time{})

	round := &world{Handler: commands.New(&around{
		Store: w.store, tenant: w.cpt, into: map[domain.UserID]domain.UserID{a: b, b: a},
	}, commands.Config{})}
	want := []domain.Reason{domain.ReasonRefused, domain.ReasonGranted}
	if got := round.reasons(t, commands.System(w.cpt), time.Time{}, a, b); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
