package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// BenchmarkConsentOverHTTP has 64 clerks record consents of people at the counter,
// through the built program as trust up runs it: clients, API, projectors and Postgres
// on the same cores. In the same run 64 callers append such events directly to the log,
// followed by the same projectors.
func BenchmarkConsentOverHTTP(b *testing.B) {
	const callers, commands = 64, 6400
	s := newSite(b, "RATE_LIMIT=off")
	s.start("up")
	pgtest.Eventually(b, "the system is ready", s.ready)
	clerks, store := s.clerks(b, callers), s.openStore(b)

	var overHTTP, bare float64 // the best of the rounds: other processes only slow down
	var took []time.Duration
	for b.Loop() {
		queues := slices.Collect(slices.Chunk(s.queue(b, store, commands), commands/callers))
		pgtest.Eventually(b, "the projectors have nothing to do", s.caughtUp)
		each := make([][]time.Duration, callers)
		began := time.Now()
		atOnce(b, callers, func(i int) error { return clerks[i].serve(b.Context(), queues[i], &each[i]) })
		if rate := commands / time.Since(began).Seconds(); rate > overHTTP {
			overHTTP, took = rate, slices.Concat(each...)
		}

		began = time.Now()
		atOnce(b, callers, func(int) error { return appendOften(b.Context(), store, commands/callers) })
		bare = max(bare, commands/time.Since(began).Seconds())
	}

	slices.Sort(took)
	b.ReportMetric(overHTTP, "commands/s")
	b.ReportMetric(bare, "appends/s")
	b.ReportMetric(overHTTP/bare, "x-append")
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
}

func atOnce(b *testing.B, n int, do func(i int) error) {
	b.Helper()
	var working sync.WaitGroup
	for i := range n {
		working.Go(func() {
			if err := do(i); err != nil {
				b.Error(err)
			}
		})
	}
	working.Wait()
}

// clerks returns field workers who have signed in.
func (s *site) clerks(b *testing.B, n int) []*client {
	b.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = n // a connection each, kept
	s.feed("correct horse battery\n", "admin", "create", "--municipality", "CPT", "--email", "head@example.org").
		expect(b, exit.CodeDone, "made")
	head := s.signedIn("head@example.org", "correct horse battery", "CPT")

	all := make([]*client, n)
	for i := range n {
		email := fmt.Sprintf("clerk%d@example.org", i)
		head.call("POST", "users",
			fmt.Sprintf(`{"email":%q,"password":"correct horse battery","full_name":"A Clerk","municipality_code":"CPT",
			"role":"field_worker"}`, email))
		all[i] = newClient("http://" + s.addr)
		all[i].http.Transport = transport
		r, err := all[i].insist(b.Context(), "POST", "/api/v1/auth/login", map[string]any{
			"email": email, "password": "correct horse battery", "municipality_code": "CPT",
		})
		must(b, err)
		all[i].token = r.text("access_token")
	}
	return all
}

// queue returns people who come to the counter one after another.
func (s *site) queue(b *testing.B, store *eventstore.Store, n int) []string {
	b.Helper()
	var cape struct{ ID uuid.UUID }
	if s.get("/api/v1/municipalities/CPT", &cape) != http.StatusOK {
		b.Fatal("there is no Cape Town")
	}

	ids := make([]string, n)
	atOnce(b, 64, func(caller int) error {
		for i := caller; i < n; i += 64 {
			user := domain.UserID{UUID: uuid.Must(uuid.NewV7())}
			_, err := store.Append(b.Context(), domain.Append{
				ID: uuid.New(), Tenant: domain.TenantID{UUID: cape.ID}, Actor: user,
				Side: []domain.SideWrite{domain.CreateSubjectKey{Subject: user}},
				Writes: []domain.Write{{Stream: domain.UserOf(user), Events: []domain.Event{&domain.UserRegistered{
					MunicipalityCode: "CPT", Role: domain.Citizen, PreferredLanguage: domain.Zulu,
					Person: domain.Known(domain.PersonFacts{
						Email: user.String() + "@example.org", FullName: "Somebody",
					}),
				}}}},
			})
			if err != nil {
				return err
			}

			ids[i] = user.String()
		}
		return nil
	})
	return ids
}

// serve records a consent of each person.
func (c *client) serve(ctx context.Context, people []string, took *[]time.Duration) error {
	for _, person := range people {
		began := time.Now()
		r, err := c.send(ctx, http.MethodPost, "/api/v1/consents", uuid.NewString(), map[string]any{
			"subject_id": person, "purpose": "sms_alert", "language": "zu", "consented": true, "channel": "counter",
		})
		if err != nil || r.status != http.StatusCreated {
			return fmt.Errorf("%d %v %w", r.status, r.body["code"], err)
		}
		*took = append(*took, time.Since(began))
	}
	return nil
}

// openStore opens the log as the API does.
func (s *site) openStore(b *testing.B) *eventstore.Store {
	b.Helper()
	kept := s.kept()
	address, err := (&settings.Config{DatabaseURL: kept["DATABASE_URL"]}).NeedAPI()
	must(b, err)
	pool, err := openPool(b.Context(), address, 4)
	must(b, err)
	b.Cleanup(pool.Close)

	store, err := eventstore.Open(b.Context(), pool, []byte(kept["MASTER_KEY"]))
	must(b, err)
	b.Cleanup(store.Close)
	return store
}

func appendOften(ctx context.Context, store *eventstore.Store, n int) error {
	for range n {
		if _, err := store.Append(ctx, oneConsent()); err != nil {
			return err
		}
	}
	return nil
}

// oneConsent is an append of somebody's first consent.
func oneConsent() domain.Append {
	return domain.Append{
		ID: uuid.New(), Tenant: domain.PlatformTenant(),
		Writes: []domain.Write{{
			Stream: domain.ConsentsOf(domain.UserID{UUID: uuid.Must(uuid.NewV7())}),
			Events: []domain.Event{&domain.ConsentGranted{Decision: domain.Decision{
				ConsentID: domain.ConsentID{UUID: uuid.Must(uuid.NewV7())}, Purpose: "sms_alert", NoticeVersion: 1,
				Language: domain.English, SHA256: domain.WordingHash("x"),
				Wording: "To send you SMS alerts about water and electricity interruptions.",
				Channel: domain.Web, RecordedBy: domain.BySelf, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
			}}},
		}},
	}
}
