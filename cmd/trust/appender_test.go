package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/history"
	"github.com/salga-trust/engine/internal/pg"
)

// An appender is another process of this test binary, which only appends to the log, so
// that a test can kill it or suspend it. It takes orders over a socket, one at a time on
// each connection.
const (
	appenderSocket   = "TRUST_TEST_APPENDER"
	appenderDatabase = "TRUST_TEST_APPENDER_DATABASE"
	appenderMaster   = "TRUST_TEST_APPENDER_MASTER_KEY"
)

// order is an append to make: consents of a person, or the registration of a person
// with an e-mail address.
type order struct {
	ID, Tenant, Person uuid.UUID
	Expected, Events   int
	Address            string // of a person who registers
	Hot                bool   // others write this stream too
}

// told is the result of an order.
type told struct {
	Outcome  history.Outcome
	Events   []history.Event
	Conflict history.Conflict
	Repeat   bool // it was in the log already
	Why      string
}

// runAppender serves until it is killed.
func runAppender(socket string) error {
	ctx := context.Background()
	config, err := pgxpool.ParseConfig(os.Getenv(appenderDatabase))
	if err != nil {
		return err
	}
	config.ConnConfig.RuntimeParams["role"] = "trust_query"
	pool, err := pg.Connect(ctx, config)
	if err != nil {
		return err
	}

	var store *eventstore.Store
	for pauses := pg.NewBackoff(10*time.Millisecond, time.Second); ; pauses.Wait(ctx) {
		store, err = eventstore.Open(ctx, pool, []byte(os.Getenv(appenderMaster)))
		if err == nil {
			break
		}
		fmt.Fprintln(os.Stderr, err)
	}

	_ = os.Remove(socket) // left by a killed predecessor
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go takeOrders(ctx, conn, store)
	}
}

func takeOrders(ctx context.Context, conn net.Conn, store *eventstore.Store) {
	defer func() { _ = conn.Close() }()
	in, out := gob.NewDecoder(conn), gob.NewEncoder(conn)
	for {
		var o order
		if in.Decode(&o) != nil || out.Encode(carryOut(ctx, store, o)) != nil {
			return
		}
	}
}

func carryOut(ctx context.Context, store *eventstore.Store, o order) told {
	done, err := store.Append(ctx, o.append())
	if err != nil {
		return refusalOf(err)
	}

	t := told{Outcome: history.Added, Repeat: done.Repeat}
	for _, e := range done.Events {
		t.Events = append(t.Events, history.Event{
			Position: e.Position, ID: e.EventID, Append: e.AppendID, Stream: streamOf(e.Tenant, e.Stream),
			Version: e.Version, Record: e.Record,
		})
	}
	return t
}

func streamOf(tenant domain.TenantID, s domain.Stream) history.Stream {
	return history.Stream{Tenant: tenant.UUID, Kind: string(s.Type), ID: s.ID}
}

// refusalOf reads an error as the store promises it: unless the outcome is unknown,
// nothing was added, and nothing will be.
func refusalOf(err error) told {
	if conflict, is := errors.AsType[*domain.ConflictError](err); is {
		return told{Outcome: history.Conflicting, Conflict: history.Conflict{
			Stream: streamOf(domain.TenantID{}, conflict.Stream), Expected: conflict.Expected, Actual: conflict.Actual,
		}}
	}
	if _, is := errors.AsType[*domain.ClaimTakenError](err); is {
		return told{Outcome: history.Taken}
	}
	if errors.Is(err, domain.Refuse(domain.CodeOutcomeUnknown, "")) {
		return told{Outcome: history.Unknown, Why: err.Error()}
	}
	return told{Outcome: history.Refused, Why: err.Error()}
}

// consent names what the event at an index is about; it is the same at each attempt.
func (o order) consent(i int) uuid.UUID { return uuid.NewSHA1(o.ID, []byte{byte(i)}) }

// asks returns what the order asks for, as the checker records it.
func (o order) asks() []history.Write {
	if o.Address != "" {
		return []history.Write{{
			Stream: history.Stream{Tenant: o.Tenant, Kind: "user", ID: o.Person}, Records: []uuid.UUID{o.Person},
		}}
	}

	w := history.Write{Stream: history.Stream{Tenant: o.Tenant, Kind: "consent", ID: o.Person}, Expected: o.Expected}
	for i := range o.Events {
		w.Records = append(w.Records, o.consent(i))
	}
	return []history.Write{w}
}

func (o order) append() domain.Append {
	a := domain.Append{ID: o.ID, Tenant: domain.TenantID{UUID: o.Tenant}}
	person := domain.UserID{UUID: o.Person}
	if o.Address != "" {
		a.Writes = []domain.Write{{Stream: domain.UserOf(person), Events: []domain.Event{&domain.UserRegistered{
			MunicipalityCode: "JHB", Role: domain.Citizen, PreferredLanguage: domain.Zulu,
			Person: domain.Known(domain.PersonFacts{Email: o.Address, FullName: "Ṱhilivhali Mudau"}),
		}}}}
		a.Side = []domain.SideWrite{
			domain.CreateSubjectKey{Subject: person},
			domain.TakeClaim{
				Claim:  domain.Claim{Tenant: a.Tenant, Kind: domain.EmailClaim, Value: o.Address},
				Holder: o.Person,
			},
		}
		return a
	}

	w := domain.Write{Stream: domain.ConsentsOf(person), Expected: o.Expected}
	for i := range o.Events {
		w.Events = append(w.Events, &domain.ConsentGranted{Decision: domain.Decision{
			ConsentID: domain.ConsentID{UUID: o.consent(i)}, Purpose: "sms_alert", NoticeVersion: 1,
			Wording: "To send you SMS alerts about water and electricity interruptions.", Language: domain.English,
			SHA256: domain.WordingHash("x"), Channel: domain.Web, RecordedBy: domain.BySelf, GivenBy: domain.BySelf,
			Basis: domain.ConsentBasis,
		}})
	}
	a.Writes = []domain.Write{w}
	return a
}
