package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/localpg"
)

// httpClients is the most clients that ask at once.
const httpClients = 64

// accounts is how many clerks and how many readers there are; clients share them. Each
// costs two password hashes.
const accounts = 16

// signInsAtOnce is how many sign-ins the API takes without refusing any for overload.
const signInsAtOnce = 2

const password = "correct horse battery"

// site is a running API, with what its clients need.
type site struct {
	base    string
	clerks  []string            // their access tokens; empty if the API has no accounts
	readers []reader            // people who read their own consents
	next    func() (pair, bool) // a person and a purpose without a decision, if one is left
	granted chan string         // consents that are not withdrawn
	client  *http.Client
	stop    func()
}

// reader is a person with some consents, who asks about them.
type reader struct {
	token    string
	subject  string
	consents []string
}

// pair is a person and a purpose to decide about.
type pair struct{ subject, purpose string }

// consentPurposes returns the default purposes that rest on consent and that an adult may
// be asked about at a counter.
func consentPurposes() []string {
	return []string{"sms_alert", "newsletter", "research_statistics", "whatsapp_care"}
}

// consentsEach is how many consents a reader has.
const consentsEach = 4

func newSite(address string) *site {
	transport := &http.Transport{
		MaxIdleConnsPerHost: httpClients, MaxConnsPerHost: httpClients, DisableCompression: true,
	}
	return &site{
		base: "http://" + address, client: &http.Client{Transport: transport, Timeout: 30 * time.Second},
		granted: make(chan string, 1_000_000),
	}
}

func freeAddress() (string, error) {
	port, err := localpg.FreePort()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

// call sends one request and decodes its answer, whose status must be want.
func (s *site) call(ctx context.Context, token, method, path string, want int, body, into any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}

	request, err := http.NewRequestWithContext(ctx, method, s.base+path, sent)
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", uuid.NewString())
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}

	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != want {
		return fmt.Errorf("%s %s answers %d: %.300s", method, path, response.StatusCode, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// await asks until the answer is 200: the API has to start, its first import to go on,
// and a read table to follow.
func (s *site) await(ctx context.Context, token, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()

	for {
		err := s.call(ctx, token, http.MethodGet, path, http.StatusOK, nil, into)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", s.base, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *site) tokenOf(caller int) string {
	if len(s.clerks) == 0 {
		return ""
	}
	return s.clerks[caller%len(s.clerks)]
}

// operations returns the requests that are measured, by name.
func (s *site) operations() map[string]operation {
	about := func(caller int) reader { return s.readers[caller%len(s.readers)] }
	get := func(ctx context.Context, r reader, path string) (int, error) {
		return 1, s.call(ctx, r.token, http.MethodGet, "/api/v1/consents"+path, http.StatusOK, nil, nil)
	}

	return map[string]operation{
		"create": func(ctx context.Context, caller int) (int, error) {
			about, left := s.next()
			if !left {
				return 0, nil
			}
			id, err := s.grant(ctx, s.tokenOf(caller), about)
			if err == nil {
				s.granted <- id
			}
			return 1, err
		},
		"withdraw": func(ctx context.Context, caller int) (int, error) {
			select {
			case id := <-s.granted:
				return 1, s.call(ctx, s.tokenOf(caller), http.MethodPost, "/api/v1/consents/"+id+"/withdraw",
					http.StatusOK, map[string]string{"reason": "too many messages"}, nil)
			default:
				return 0, nil
			}
		},
		"check": func(ctx context.Context, caller int) (int, error) {
			r := about(caller)
			return get(ctx, r, "/check?purpose=sms_alert&subject_id="+r.subject)
		},
		"read": func(ctx context.Context, caller int) (int, error) {
			r := about(caller)
			return get(ctx, r, "/"+r.consents[0])
		},
		"list": func(ctx context.Context, caller int) (int, error) {
			r := about(caller)
			return get(ctx, r, "?subject_id="+r.subject)
		},
	}
}

func (s *site) grant(ctx context.Context, token string, p pair) (id string, err error) {
	var made struct{ ID string }
	err = s.call(ctx, token, http.MethodPost, "/api/v1/consents", http.StatusCreated, map[string]any{
		"subject_id": p.subject, "purpose": p.purpose, "language": "zu", "consented": true, "channel": "counter",
	}, &made)
	return made.ID, err
}

// give gives each reader some consents.
func (s *site) give(ctx context.Context) error {
	return atOnce(len(s.readers), len(s.readers), func(i int) error {
		for _, purpose := range consentPurposes()[:consentsEach] {
			id, err := s.grant(ctx, s.tokenOf(i), pair{s.readers[i].subject, purpose})
			if err != nil {
				return err
			}
			s.readers[i].consents = append(s.readers[i].consents, id)
		}
		return s.await(ctx, s.readers[i].token, "/api/v1/consents/"+s.readers[i].consents[0], nil)
	})
}

// queue lines people up at the counter: first all of them about one purpose, so that each
// has few decisions.
func (s *site) queue(people []string) {
	var taken atomic.Int64
	purposes := consentPurposes()
	s.next = func() (pair, bool) {
		i := int(taken.Add(1)) - 1
		if i >= len(people)*len(purposes) {
			return pair{}, false
		}
		return pair{people[i%len(people)], purposes[i/len(people)]}, true
	}
}

// atOnce calls do n times, at most together at once, and returns the first error.
func atOnce(n, together int, do func(i int) error) error {
	var working errgroup.Group
	working.SetLimit(together)
	for i := range n {
		working.Go(func() error { return do(i) })
	}
	return working.Wait()
}

// startBare runs the bare handler in a process of its own.
func startBare(ctx context.Context, e *env) (*site, error) {
	const database = "bench_http_bare"
	if err := e.server.create(ctx, database, "template0"); err != nil {
		return nil, err
	}
	if err := e.server.exec(ctx, database, bareAPISchema); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}

	s := newSite(address)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), e.bench, "-serve-bare", address,
		"-connections", strconv.Itoa(e.connections))
	cmd.Env = append(os.Environ(), bareDatabase+"="+e.server.url(database, ""))
	if s.stop, err = child(cmd, os.Stderr); err != nil {
		return nil, err
	}
	err = s.await(ctx, "", "/ready", nil)

	for range accounts {
		s.readers = append(s.readers, reader{subject: uuid.NewString()})
	}
	// It has no accounts, so any id will do.
	s.next = func() (pair, bool) { return pair{uuid.NewString(), consentPurposes()[0]}, true }

	if err == nil {
		err = s.give(ctx)
	}
	if err != nil {
		s.stop()
	}
	return s, err
}

// startOurs runs the whole system as trust up does, projectors too, on this server's
// Postgres.
func startOurs(ctx context.Context, e *env, people int) (*site, error) {
	const database = "bench_http_ours"
	if err := e.server.create(ctx, database, "template0"); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(e.scratch, "up.log"))
	if err != nil {
		return nil, err
	}

	s := newSite(address)
	environment := append(os.Environ(),
		"DATABASE_URL="+e.server.url(database, ""), "HTTP_ADDR="+address, "DATA_DIR="+filepath.Join(e.scratch, "data"),
		"RATE_LIMIT=off", "ACCESS_TOKEN_EXPIRE_MINUTES=1440",
		"MASTER_KEY="+masterKey, "SECRET_KEY=another key of at least thirty-two characters")
	trust := func(stdin string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(context.WithoutCancel(ctx), e.trust, args...)
		cmd.Env, cmd.Dir, cmd.Stdin = environment, e.scratch, strings.NewReader(stdin)
		return cmd
	}

	if s.stop, err = child(trust("", "up"), log); err != nil {
		return nil, err
	}
	err = s.await(ctx, "", "/ready", nil)
	if err == nil {
		err = s.staff(ctx, e, database, people, trust)
	}
	if err != nil {
		s.stop()
		said, _ := os.ReadFile(log.Name()) // to say more about the first error
		return nil, fmt.Errorf("trust up: %w: %s", err, said[max(0, len(said)-2000):])
	}
	return s, nil
}

// staff makes clerks and readers, signs them in, and makes the people at the counter.
func (s *site) staff(
	ctx context.Context, e *env, database string, people int, trust func(stdin string, args ...string) *exec.Cmd,
) error {
	var cape struct{ ID uuid.UUID }
	if err := s.await(ctx, "", "/api/v1/municipalities/CPT", &cape); err != nil {
		return err
	}
	purposes := consentPurposes()
	last := "/api/v1/purposes/" + purposes[len(purposes)-1] + "?municipality_code=CPT"
	if err := s.await(ctx, "", last, nil); err != nil {
		return err
	}

	if said, err := trust(password+"\n", "admin", "create", "--municipality", "CPT", "--email", "head@example.org").
		CombinedOutput(); err != nil {
		return fmt.Errorf("admin create: %w: %s", err, said)
	}
	head, _, err := s.signIn(ctx, "head@example.org")
	if err != nil {
		return err
	}

	s.clerks, s.readers = make([]string, accounts), make([]reader, accounts)
	err = atOnce(accounts, signInsAtOnce, func(i int) error {
		clerk, citizen := fmt.Sprintf("clerk%d@example.org", i), fmt.Sprintf("citizen%d@example.org", i)
		err := s.call(ctx, head, http.MethodPost, "/api/v1/users", http.StatusCreated, map[string]any{
			"email": clerk, "password": password, "full_name": "A Clerk", "municipality_code": "CPT",
			"role": "field_worker",
		}, nil)
		if err != nil {
			return err
		}
		if s.clerks[i], _, err = s.signIn(ctx, clerk); err != nil {
			return err
		}

		err = s.call(ctx, "", http.MethodPost, "/api/v1/auth/register", http.StatusCreated, map[string]any{
			"email": citizen, "password": password, "full_name": "A Citizen", "municipality_code": "CPT",
			"preferred_language": "zu",
			"consent": map[string]any{
				"purpose": "platform_registration", "language": "zu", "consented": true,
			},
		}, nil)
		if err != nil {
			return err
		}
		s.readers[i].token, s.readers[i].subject, err = s.signIn(ctx, citizen)
		return err
	})
	if err != nil {
		return err
	}

	queue, err := registerPeople(ctx, e, database, domain.TenantID{UUID: cape.ID}, people)
	if err != nil {
		return err
	}
	s.queue(queue)
	return s.give(ctx)
}

func (s *site) signIn(ctx context.Context, email string) (token, user string, err error) {
	var pair struct {
		AccessToken string `json:"access_token"`
	}
	err = s.call(ctx, "", http.MethodPost, "/api/v1/auth/login", http.StatusOK, map[string]any{
		"email": email, "password": password, "municipality_code": "CPT",
	}, &pair)
	if err != nil {
		return "", "", err
	}

	var me struct{ ID string }
	err = s.call(ctx, pair.AccessToken, http.MethodGet, "/api/v1/users/me", http.StatusOK, nil, &me)
	return pair.AccessToken, me.ID, err
}

// registerPeople appends people straight to the log, because a registration hashes a
// password.
func registerPeople(ctx context.Context, e *env, database string, tenant domain.TenantID, n int) ([]string, error) {
	ids := make([]string, n)

	err := withStore(ctx, e, database, func(store *eventstore.Store) error {
		return atOnce(n, httpClients, func(i int) error {
			user := domain.UserID{UUID: uuid.Must(uuid.NewV7())}
			ids[i] = user.String()
			_, err := store.Append(ctx, domain.Append{
				ID: uuid.New(), Tenant: tenant, Actor: user,
				Side: []domain.SideWrite{domain.CreateSubjectKey{Subject: user}},
				Writes: []domain.Write{{Stream: domain.UserOf(user), Events: []domain.Event{&domain.UserRegistered{
					MunicipalityCode: "CPT", Role: domain.Citizen, PreferredLanguage: domain.Zulu,
					Person: domain.Known(domain.PersonFacts{
						Email: user.String() + "@example.org", FullName: "Somebody",
					}),
				}}}},
			})
			return err
		})
	})
	return ids, err
}
