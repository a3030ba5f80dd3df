package seal_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/proof"
)

const (
	newsletter = "To send you the newsletter."
	changed    = "To send you the newsletter and offers."
)

// person is somebody whose decisions are proven.
func person() domain.UserID { return domain.UserID{UUID: newID()} }

func decision(purpose, words string) domain.Decision {
	return domain.Decision{
		ConsentID: domain.ConsentID{UUID: newID()}, Purpose: purpose, NoticeVersion: 1, Wording: words,
		Language: domain.English, SHA256: domain.WordingHash(words), Channel: domain.Web,
		RecordedBy: domain.BySelf, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
	}
}

// prover is the world's, with these changes of its settings.
func (w *world) prover(t *testing.T, change ...func(*seal.ProverConfig)) *seal.Prover {
	t.Helper()
	c := seal.ProverConfig{
		View: w.view, Patience: time.Nanosecond, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Seeds:     func() (*proof.Seeds, error) { return &w.seeds, nil },
		Witnesses: func() (*proof.Policy, error) { return nil, nil },
	}
	for _, set := range change {
		set(&c)
	}
	return seal.NewProver(c)
}

// policy is what a stranger has of the log.
func (w *world) policy(t *testing.T) *proof.Policy {
	t.Helper()
	signer, err := proof.NewSigner(w.origin, w.seeds)
	must(t, err)
	return proof.LogPolicy(signer.LogKeys()...)
}

// decides adds events to a person's stream.
func (w *world) decides(t *testing.T, who domain.UserID, events ...domain.Event) {
	t.Helper()
	w.append(t, nil, domain.Write{
		Stream: domain.ConsentsOf(who), Expected: domain.AnyVersion, Events: events,
	})
}

// publishes defines a purpose of the municipality with a notice.
func (w *world) publishes(t *testing.T, code, words string) {
	t.Helper()
	defined, err := domain.DefinePurpose{
		Code: code, Basis: domain.ConsentBasis, Retention: "two years",
		Texts: map[domain.Language]string{domain.English: words, domain.Zulu: words, domain.Afrikaans: words},
	}.Decide(domain.Purpose{}, time.Now())
	must(t, err)
	w.append(t, nil, domain.Write{Stream: domain.PurposeOf(w.tenant, code), Events: defined})
}

// states appends where a person's stream ends, and returns what is to be proven.
func (w *world) states(t *testing.T, who domain.UserID, consent domain.ConsentID) domain.Proof {
	t.Helper()
	history, err := w.store.Load(t.Context(), w.tenant, domain.ConsentsOf(who))
	must(t, err)
	event, err := domain.IssueProof{Receipt: newID(), Consent: consent}.Decide(history)
	must(t, err)

	done, err := w.store.Append(t.Context(), domain.Append{ID: newID(), Tenant: w.tenant, Writes: []domain.Write{{
		Stream: domain.ProofsOf(who), Expected: domain.AnyVersion, Events: []domain.Event{event},
	}}})
	must(t, err)

	of := func(stream domain.Stream) []domain.Recorded {
		events, err := w.store.Load(t.Context(), w.tenant, stream)
		must(t, err)
		return events
	}
	p := domain.ProofOf(done.Events[0], history,
		domain.Fold[domain.Purpose](of(domain.PurposeOf(w.tenant, event.Purpose))))
	p.Controller = domain.Fold[domain.Municipality](of(domain.MunicipalityOf(w.tenant)))
	return p
}

// demandCode checks that an error is a refusal with a code and, in it, some words.
func demandCode(t *testing.T, err error, code domain.Code, words string) {
	t.Helper()
	refusal, is := errors.AsType[*domain.Error](err)
	if !is || refusal.Code != code || !strings.Contains(refusal.Message, words) {
		t.Errorf("got %v, want %s: %s", err, code, words)
	}
}

func TestADecisionIsProvenWhateverBecameOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publishes(t, "newsletter", newsletter)
	given, paper := decision("newsletter", newsletter), decision("newsletter", newsletter)
	paper.Channel, paper.GivenAt, paper.EvidenceSHA256 = domain.Paper, time.Date(1999, 3, 1, 0, 0, 0, 0, time.UTC),
		strings.Repeat("ab", 32)
	claimed := paper
	claimed.NoticeVersion, claimed.Wording, claimed.SHA256, claimed.Language, claimed.Channel = 0, "", "", "", ""

	grant := &domain.ConsentGranted{Decision: given}
	for name, c := range map[string]struct {
		events []domain.Event
		says   []string // of the decision, and of what was and was not shown
	}{
		"granted": {[]domain.Event{grant}, []string{`agreed to the purpose "newsletter"`, "published as version 1"}},
		"refused": {[]domain.Event{&domain.ConsentRefused{Decision: given}}, []string{`refused the purpose`}},
		"on paper": {
			[]domain.Event{&domain.ConsentGranted{Decision: paper}}, []string{"1 March 1999", `channel "paper"`},
		},
		"withdrawn": {[]domain.Event{grant, &domain.ConsentWithdrawn{
			ConsentID: given.ConsentID, Purpose: given.Purpose, RecordedBy: domain.BySelf,
		}}, []string{"it was withdrawn on"}},
		"claimed": {[]domain.Event{&domain.ConsentClaimed{Decision: claimed, Claim: domain.ConsentClaim{
			Decided: domain.OutcomeGranted, Grade: domain.GradeDocumented, Source: "an old list", Line: 12,
			FileSHA256: strings.Repeat("cd", 32),
		}}}, []string{`Another system ("an old list") claims`, "Which words were shown is not known"}},
	} {
		who := person()
		w.decides(t, who, c.events...)
		d := w.states(t, who, domain.ConsentID{UUID: domain.RecordOf(c.events[0], domain.ConsentsOf(who))})
		w.sign(t)

		file, err := w.prover(t).Prove(t.Context(), d)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r, err := proof.Check(file, w.policy(t))
		must(t, err)
		said := strings.Join(slices.Concat([]string{r.Decision}, r.Holds, r.DoesNot), "\n")
		for _, says := range append(c.says, "It is accountable absence") {
			if !strings.Contains(said, says) {
				t.Errorf("%s: it does not say %q:\n%s", name, says, said)
			}
		}
		if !r.Proven || r.Receipt.IssuedAt != proof.At(d.IssuedAt) || r.Receipt.SubjectID != who.UUID {
			t.Errorf("%s: %+v", name, r)
		}
		t.Logf("%s: %d bytes", name, len(file))
	}
}

// What this system does not know, a receipt does not make up.
func TestAReceiptDeclaresWhatIsKnownAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publishes(t, "newsletter", newsletter)
	who, given := person(), decision("newsletter", newsletter)
	w.decides(t, who, &domain.ConsentGranted{Decision: given})
	d := w.states(t, who, given.ConsentID)
	w.sign(t)

	file, err := w.prover(t).Prove(t.Context(), d)
	must(t, err)
	r, err := proof.Check(file, w.policy(t))
	must(t, err)
	const unknown = "not known to this system"
	declared := r.Receipt.Declared
	if declared.Controller != (proof.Controller{Code: "CPT", Name: "Cape Town", Contact: unknown}) ||
		declared.Retention != "two years" || declared.StorageLocation != unknown ||
		!slices.Equal(declared.Recipients, []string{unknown}) ||
		!slices.Equal(declared.PersonalData, []string{unknown}) ||
		!strings.Contains(declared.WithdrawalMethod, given.ConsentID.String()) ||
		!strings.HasPrefix(declared.Jurisdiction, "South Africa") {
		t.Errorf("declared %+v", declared)
	}
}

func TestAProofWaitsForACheckpointThatCoversIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sign(t)
	who, given := person(), decision("newsletter", newsletter)
	w.decides(t, who, &domain.ConsentGranted{Decision: given})
	d := w.states(t, who, given.ConsentID)

	_, err := w.prover(t).Prove(t.Context(), d)
	demandCode(t, err, domain.CodeProofPending, "No checkpoint covers this yet")

	patient := w.prover(t, func(c *seal.ProverConfig) { c.Patience = pgtest.Patience })
	files := make(chan error, 1)
	go func() {
		_, err := patient.Prove(t.Context(), d)
		files <- err
	}()
	w.sign(t)
	must(t, pgtest.Receive(t, files))

	if covered, err := patient.Covered(t.Context()); err != nil || covered != w.head(t) {
		t.Errorf("covered up to %d of %d (%v)", covered, w.head(t), err)
	}
}

func TestOnlyTheKeyThatSignsProves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refuses := func(says string, seeds *proof.Seeds) {
		t.Helper()
		p := w.prover(t, func(c *seal.ProverConfig) {
			c.Seeds = func() (*proof.Seeds, error) { return seeds, nil }
		})
		_, err := p.Covered(t.Context())
		demandCode(t, err, domain.CodeProofPending, says)
		_, err = p.Prove(t.Context(), domain.Proof{Statement: 1, Stream: []int64{1}})
		demandCode(t, err, domain.CodeProofPending, says)
	}

	refuses("No checkpoint of the log has been signed yet", &w.seeds)
	w.sign(t)
	refuses("does not sign its log", nil)
	refuses("Another key signs", &proof.Seeds{})
	if covered, err := w.prover(t).Covered(t.Context()); err != nil || covered != w.head(t) {
		t.Errorf("covered up to %d (%v)", covered, err)
	}
}

// A bundle names the witnesses that the operator chose, and is made once they cosigned.
func TestAProofWaitsForTheWitnessesOfThePolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who, given := person(), decision("newsletter", newsletter)
	w.decides(t, who, &domain.ConsentGranted{Decision: given})
	d := w.states(t, who, given.ConsentID)
	cosigned := w.sign(t)

	witness, err := proof.NewSigner("witness.example", proof.Seeds{})
	must(t, err)
	text := "witness council " + witness.WitnessKeys()[0].Vkey() + "\nquorum council\n"
	p := w.prover(t, func(c *seal.ProverConfig) {
		c.Witnesses = func() (*proof.Policy, error) { return proof.ParsePolicy([]byte(text)) }
	})
	_, err = p.Prove(t.Context(), d)
	demandCode(t, err, domain.CodeProofPending, "Not enough witnesses")

	lines, err := witness.Cosign(cosigned.Checkpoint, cosigned.SignedAt)
	must(t, err)
	line, _, _ := strings.Cut(string(lines), "\n")
	must(t, seal.Cosign(t.Context(), w.projector, cosigned.Number, witness.WitnessKeys()[0].Vkey(), line+"\n"))
	w.grow(t, 1)
	w.sign(t) // a newer one, which nobody has cosigned yet

	file, err := p.Prove(t.Context(), d)
	must(t, err)
	strict, err := proof.ParsePolicy([]byte(strings.Replace(w.policy(t).Text(), "quorum none\n", text, 1)))
	must(t, err)
	if r, err := proof.Check(file, strict); err != nil || !slices.Equal(r.Witnesses, []string{"council"}) ||
		r.Size != cosigned.Size {
		t.Errorf("%+v (%v)", r, err)
	}
}

func TestWhatWasChangedIsNotProven(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who, given := person(), decision("newsletter", newsletter)
	w.decides(t, who, &domain.ConsentGranted{Decision: given})
	d := w.states(t, who, given.ConsentID)
	w.sign(t)
	_, err := w.prover(t).Prove(t.Context(), d)
	must(t, err)

	w.exec(t, "update trust.events set payload = replace(payload::text, $2, $3)::json where position = $1",
		d.Stream[0], newsletter, changed)
	_, err = w.prover(t).Prove(t.Context(), d)
	demandCode(t, err, domain.CodeLogDamaged, "not what was sealed")
	w.exec(t, "delete from trust.events where position = $1", d.Stream[0])
	_, err = w.prover(t).Prove(t.Context(), d)
	demandCode(t, err, domain.CodeLogDamaged, "not what was sealed")
}

// Such an event is in no log of ours: the words and their hash come from one place.
func TestADecisionThatContradictsItselfIsNotProven(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who, given := person(), decision("newsletter", newsletter)
	given.SHA256 = domain.WordingHash(changed)
	w.decides(t, who, &domain.ConsentGranted{Decision: given})
	d := w.states(t, who, given.ConsentID)
	w.sign(t)

	_, err := w.prover(t).Prove(t.Context(), d)
	demandCode(t, err, domain.CodeNotProvable, "contradicts itself")
}
