package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// former makes accounts in a municipality as programs did before the canonical forms:
// claimed and found by the spelling that was given. The verifier is copied from an
// account with the same password.
type former struct {
	*site
	store *eventstore.Store
	cpt   domain.TenantID
}

func newFormer(t *testing.T, s *site) *former {
	t.Helper()
	config, err := pgxpool.ParseConfig(s.kept()["DATABASE_URL"])
	must(t, err)
	config.ConnConfig.RuntimeParams["role"] = "trust_query"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(pool.Close)
	store, err := eventstore.Open(t.Context(), pool, []byte(s.kept()["MASTER_KEY"]))
	must(t, err)
	t.Cleanup(store.Close)

	cpt, err := commands.New(store, commands.Config{}).TenantOf(t.Context(), "CPT")
	must(t, err)
	return &former{site: s, store: store, cpt: cpt}
}

func (f *former) account(t *testing.T, email, spelling, verifier string) domain.UserID {
	t.Helper()
	id := domain.UserID{UUID: uuid.Must(uuid.NewV7())}
	_, err := f.store.Append(t.Context(), domain.Append{
		ID: uuid.New(), Tenant: f.cpt, Actor: id,
		Writes: []domain.Write{{Stream: domain.UserOf(id), Events: []domain.Event{&domain.UserRegistered{
			MunicipalityCode: "CPT", Role: domain.Citizen, PreferredLanguage: domain.English,
			Person: domain.Known(domain.PersonFacts{Email: email, FullName: "Nomsa Zulu"}),
		}}}},
		Side: []domain.SideWrite{
			domain.CreateSubjectKey{Subject: id},
			domain.TakeClaim{
				Claim:  domain.Claim{Tenant: f.cpt, Kind: domain.EmailClaim, Value: spelling},
				Holder: id.UUID,
			},
			domain.SetCredential{User: id, Email: spelling, Verifier: verifier},
		},
	})
	must(t, err)
	return id
}

// signIn returns the status of a sign-in.
func (f *former) signIn(t *testing.T, email, password string) int {
	t.Helper()
	body, err := json.Marshal(map[string]string{"email": email, "password": password, "municipality_code": "CPT"})
	must(t, err)
	request, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+f.addr+"/api/v1/auth/login",
		bytes.NewReader(body))
	must(t, err)
	request.Header.Set("Content-Type", "application/json")

	answer, err := http.DefaultClient.Do(request)
	must(t, err)
	must(t, answer.Body.Close())
	return answer.StatusCode
}

func TestAccountsOfBeforeAreReKeyedAndNobodyIsLockedOut(t *testing.T) {
	t.Parallel()
	const password = "correct horse battery"
	s := newSite(t, "RATE_LIMIT=off")
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	s = s.with("DATABASE_URL=" + s.kept()["DATABASE_URL"])
	f := newFormer(t, s)
	s.feed(password+"\n", "admin", "create", "--municipality", " cpt", "--email", " Officer@BÜCHER.example").
		expect(t, exit.CodeDone, "admin of CPT made")
	accounts, err := f.store.Accounts(t.Context(), "officer@xn--bcher-kva.example", f.cpt)
	must(t, err)
	if len(accounts) != 1 {
		t.Fatal("the officer has no account under the canonical address")
	}

	f.account(t, "Nomsa@München.example", "nomsa@münchen.example", accounts[0].Verifier)
	f.account(t, "thandi@XN--bcher-kva.example", "thandi@xn--bcher-kva.example", accounts[0].Verifier)
	one := f.account(t, "zoë@zürich.example", "zoë@zürich.example", accounts[0].Verifier)
	two := f.account(t, "zoë@xn--zrich-kva.example", "zoë@xn--zrich-kva.example", accounts[0].Verifier)
	spellings := []string{
		"nomsa@münchen.example", "nomsa@xn--mnchen-3ya.example", "thandi@bücher.example", "zoë@zürich.example",
		"zoë@xn--zrich-kva.example", "officer@bücher.example",
	}

	for _, moment := range []string{"before", "after", "after once more"} {
		for _, email := range spellings {
			if status := f.signIn(t, email, password); status != http.StatusOK {
				t.Errorf("%s: %s signs in: %d", moment, email, status)
			}
		}
		if moment == "before" {
			o := s.run("rekey")
			o.expect(t, exit.CodeNotSo, "1 claims are under their canonical form now")
			o.expect(t, exit.CodeNotSo, one.String()+" is that of "+two.String())
		} else {
			s.run("rekey").expect(t, exit.CodeDone, "0 claims are under their canonical form now")
		}
	}
	s.run("rekey", "--again").expect(t, exit.CodeNotSo, one.String()+" is that of "+two.String())
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)
	s.run("verify").expect(t, exit.CodeDone, "events verified")
}
