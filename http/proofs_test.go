package http_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
)

// fakeProver makes files that say what they would prove. It fails with the store, if it
// has one.
type fakeProver struct {
	store *fakeStore

	mu      sync.Mutex
	refuses error // why nothing is signed
	pending error // why no file is made
	covered int64
}

func (p *fakeProver) refuse(covered, proven error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses, p.pending = covered, proven
}

// cover has a checkpoint cover the whole log.
func (p *fakeProver) cover(log *fakeStore) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.covered = int64(len(log.events()))
}

func (p *fakeProver) Covered(context.Context) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.store != nil && p.store.failure() != nil {
		return 0, p.store.failure()
	}
	return p.covered, p.refuses
}

func (p *fakeProver) Prove(_ context.Context, d domain.Proof) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending != nil {
		return nil, p.pending
	}
	return json.Marshal(map[string]any{
		"type": "salga-trust/decision-bundle", "version": 1, "receipt": d.Receipt, "consent": d.Consent,
		"stream": d.Stream, "statement": d.Statement, "notice": d.Notice, "purpose": d.Purpose.Code,
	})
}

func pendingProof() error {
	return domain.Refuse(domain.CodeProofPending, "No checkpoint covers this yet.")
}

// proofOf is the address of the proof of somebody's newest decision about a purpose.
func (p *person) proofOf(purpose string) string {
	p.w.t.Helper()
	return "/api/v1/consents/" + p.newestConsent(purpose) + "/proof"
}

// file returns what a proof was made from.
func (a *answer) file() (made struct {
	Receipt, Consent  string
	Stream            []int64
	Statement, Notice int64
	Purpose           string
},
) {
	a.t.Helper()
	must(a.t, json.Unmarshal([]byte(a.want(200).raw), &made))
	return made
}

func TestAProofIsIssuedToThePersonAndToOverseersAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	path := p.proofOf("platform_registration")

	a := p.send("GET", path, "").want(200)
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Event-Position") == "" ||
		a.header.Get("Content-Disposition") != `attachment; filename="proof-`+a.file().Receipt+`.json"` {
		t.Errorf("the headers are %v", a.header)
	}
	if n := w.count("proof.issued.v1"); n != 1 || w.seen(p)["proof"] != 0 {
		t.Errorf("%d statements; a look at oneself is none", n)
	}

	for _, role := range []domain.Role{domain.Manager, domain.Admin} {
		officer := w.staff(role, "KZN225")
		officer.send("GET", path, "").want(200)
	}
	if seen := w.seen(p); seen["proof"] != 2 {
		t.Errorf("seen by staff: %v", seen)
	}
	for name, stranger := range map[string]*person{
		"another citizen": w.citizen("sipho@example.org"), "a field worker": w.staff(domain.FieldWorker, "KZN225"),
		"another municipality": w.staff(domain.Manager, "CPT"), "SALGA": w.staff(domain.Admin, "SALGA"),
	} {
		if got := stranger.send("GET", path, "").wantProblem(404, domain.CodeNotFound); t.Failed() {
			t.Fatalf("%s: %s", name, got.raw)
		}
	}
	if n := w.count("proof.issued.v1"); n != 3 {
		t.Errorf("%d statements: strangers had something stated", n)
	}
}

// The statement is true when it is appended, and says what the file says.
func TestAStatementNamesWhereTheStreamEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(w.tenants["KZN225"], "newsletter")
	p := w.citizen("thandi@example.org")
	p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"en","consented":true}`).want(201)
	consent := p.newestConsent("newsletter")
	p.send("POST", "/api/v1/consents/"+consent+"/withdraw", "").want(200)

	made := p.send("GET", p.proofOf("newsletter"), "").file()
	events := w.store.events()
	last := events[len(events)-1]
	s := last.Event.(*domain.ProofIssued)
	want := domain.ProofIssued{
		ReceiptID: s.ReceiptID, ConsentID: s.ConsentID, Purpose: "newsletter", StreamType: domain.ConsentStream,
		StreamID: last.Subject.UUID, StreamVersion: 3,
	}
	if *s != want || last.Subject.String() != p.id || last.Actor.String() != p.id || s.ConsentID.String() != consent ||
		last.Record != s.ReceiptID {
		t.Errorf("stated %+v of %s by %s", s, last.Subject, last.Actor)
	}

	notice := events[made.Notice-1].Event.(*domain.PurposeNoticePublished)
	if made.Receipt != s.ReceiptID.String() || made.Statement != last.Position || len(made.Stream) != 3 ||
		notice.Code != "newsletter" || made.Purpose != "newsletter" {
		t.Errorf("the file is made from %+v", made)
	}
	for i, position := range made.Stream {
		if e := events[position-1]; e.Stream != domain.ConsentsOf(last.Subject) || e.Version != i+1 {
			t.Errorf("version %d is %+v", i+1, e)
		}
	}
}

func TestAProofThatIsPendingIsAskedForAgainAndStatesNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(w.tenants["KZN225"], "newsletter")
	p, officer := w.citizen("thandi@example.org"), w.staff(domain.Manager, "KZN225")
	path := p.proofOf("platform_registration")

	// Where nothing is signed, nothing is stated.
	w.prover.refuse(pendingProof(), nil)
	p.send("GET", path, "").wantProblem(503, domain.CodeProofPending)
	if n := w.count("proof.issued.v1"); n != 0 {
		t.Fatalf("%d statements", n)
	}

	w.prover.refuse(nil, pendingProof())
	for range 3 {
		p.send("GET", path, "").wantProblem(503, domain.CodeProofPending)
		w.later(6 * time.Minute) // and still nothing covers it
	}
	w.prover.refuse(nil, nil)
	first := p.send("GET", path, "").file()
	if n := w.count("proof.issued.v1"); n != 1 {
		t.Errorf("%d statements for one proof", n)
	}

	// What was covered some time ago is stated anew; who comes back soon gets the same.
	w.prover.cover(w.store)
	second := p.send("GET", path, "").file()
	w.prover.cover(w.store)
	w.later(time.Minute)
	if again := p.send("GET", path, "").file(); first.Receipt == second.Receipt || again.Receipt != second.Receipt {
		t.Errorf("the receipts are %s, %s and %s", first.Receipt, second.Receipt, again.Receipt)
	}

	// What another person had stated is not theirs, and once the stream has grown, the
	// old statement is no answer.
	officer.send("GET", path, "").want(200)
	p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"en","consented":true}`).want(201)
	third := p.send("GET", path, "").file()
	if n := w.count("proof.issued.v1"); n != 4 || second.Receipt == third.Receipt ||
		len(third.Stream) != len(second.Stream)+1 {
		t.Errorf("%d statements: %+v, then %+v", n, second, third)
	}
}

func TestWhatCannotBeProvenIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, officer := w.citizen("thandi@example.org"), w.staff(domain.Manager, "KZN225")
	path := p.proofOf("platform_registration")

	w.prover.refuse(nil, domain.NotProvable("It contradicts itself."))
	officer.send("GET", path, "").wantProblem(409, domain.CodeNotProvable)
	if seen := w.seen(p); seen["consents"] != 1 {
		t.Errorf("the refusal tells something, and nobody looked: %v", seen)
	}

	w.prover.refuse(nil, nil)
	for _, id := range []string{p.id, "01890a5d-ac96-774b-bcce-b302099a8057"} {
		officer.send("GET", "/api/v1/consents/"+id+"/proof", "").wantProblem(404, domain.CodeNotFound)
		p.send("GET", "/api/v1/consents/"+id+"/proof", "").wantProblem(404, domain.CodeNotFound)
	}
	receipt := p.send("GET", path, "").file().Receipt
	officer.send("GET", "/api/v1/consents/"+receipt+"/proof", "").wantProblem(404, domain.CodeNotFound)
}
