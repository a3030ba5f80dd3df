//go:build far

package main

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/history"
	"github.com/salga-trust/engine/internal/pg"
)

// hotPeople is how many streams all clients write to, so that appends conflict.
const hotPeople = 32

// answerPatience returns how long a client waits for an appender that may be suspended:
// sometimes less than the suspension lasts, so that it asks another one and the first
// wakes too late, and sometimes longer than the store tries to append.
func answerPatience(chance *rand.Rand) time.Duration {
	return time.Second + time.Duration(chance.Int64N(int64(11*time.Second)))
}

// done reports whether clients are to begin nothing new.
func (s *soak) done() bool { return isClosed(s.over) || isClosed(s.ctx.Done()) }

// isClosed reports whether a channel is closed.
func isClosed(closed <-chan struct{}) bool {
	select {
	case <-closed:
		return true
	default:
		return false
	}
}

func (s *soak) note(a history.Append) {
	if a.Outcome == history.Added {
		s.acknowledged.Add(1)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.appends = append(s.appends, a)
}

// appendDirectly sends one append after another to an appender.
func (s *soak) appendDirectly(client int) {
	chance := rand.New(rand.NewPCG(s.seed, uint64(client)))
	appenders := make([]*line, 3)
	for i := range appenders {
		appenders[i] = &line{socket: s.socket(i)}
		defer appenders[i].hangUp()
	}

	for !s.done() {
		o := s.newOrder(chance)
		a, sent := s.deliver(o, appenders, chance)
		if !sent {
			continue
		}

		s.note(a)
		s.learn(o, a)
		if a.Outcome == history.Refused {
			pause(20 * time.Millisecond)
		}
	}
}

// deliver sends an order until it has an answer that counts, and reports whether it was
// sent at all. An order with an unknown outcome is mostly sent again under its id, and
// sometimes abandoned.
func (s *soak) deliver(o order, appenders []*line, chance *rand.Rand) (a history.Append, sent bool) {
	a = history.Append{ID: o.ID, Writes: o.asks(), Claim: o.Address}
	for unknown := false; ; {
		asked := s.now()
		said, reached := appenders[chance.IntN(len(appenders))].ask(o, answerPatience(chance))
		if !reached {
			if s.done() {
				return a, sent
			}
			continue
		}

		if !sent {
			a.Sent, sent = asked, true
		}
		a.Asked, a.Answered = asked, s.now()

		// Only for the first attempt is it certain that nothing was added.
		if said.Outcome != history.Unknown && (said.Outcome != history.Refused || !unknown) {
			said.Conflict.Stream.Tenant = o.Tenant
			a.Outcome, a.Events, a.Conflict = said.Outcome, said.Events, said.Conflict
			s.noteRepeat(said, unknown)
			return a, sent
		}

		unknown = true
		if chance.IntN(4) == 0 || s.done() {
			return a, sent
		}
		pause(20 * time.Millisecond)
	}
}

// noteRepeat counts answers that an append was already in the log. Nothing else shows
// that the answer to a commit was lost.
func (s *soak) noteRepeat(said told, again bool) {
	switch {
	case !said.Repeat:
	case again:
		s.foundByClient.Add(1)
	default:
		s.foundByStore.Add(1)
	}
}

// newOrder returns mostly a consent of somebody new; some orders write to the hot
// streams, some take addresses that others may have taken.
func (s *soak) newOrder(chance *rand.Rand) order {
	o := order{ID: uuid.Must(uuid.NewV7()), Tenant: s.direct, Person: uuid.Must(uuid.NewV7()), Events: 1}
	switch n := chance.IntN(100); {
	case n < 20:
		o.Hot, o.Person = true, uuid.NewSHA1(s.direct, []byte{byte(chance.IntN(hotPeople))})
		s.mu.Lock()
		o.Expected = s.versions[o.Person]
		s.mu.Unlock()
	case n < 24:
		next := s.addresses.Add(1)
		o.Address = fmt.Sprintf("resident%d@example.org", max(1, next-int64(chance.IntN(24))))
	case n < 34:
		o.Events = 2 + chance.IntN(4)
	}
	return o
}

// learn keeps the newest version of a hot stream that an answer has named. No append
// expects a newer one, so a conflict is final: versions never go back.
func (s *soak) learn(o order, a history.Append) {
	version := a.Conflict.Actual
	if a.Outcome == history.Added {
		version = a.Events[len(a.Events)-1].Version
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Hot {
		s.versions[o.Person] = max(s.versions[o.Person], version)
	}
}

// line is a connection to an appender, which may be dead or suspended.
type line struct {
	socket string
	conn   net.Conn
	in     *gob.Decoder
	out    *gob.Encoder
}

// ask sends an order, and reports whether it reached an appender: without a connection,
// nothing was sent.
func (l *line) ask(o order, patience time.Duration) (t told, reached bool) {
	if l.conn == nil {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "unix", l.socket)
		if err != nil {
			pause(50 * time.Millisecond)
			return told{}, false
		}
		l.conn, l.in, l.out = conn, gob.NewDecoder(conn), gob.NewEncoder(conn)
	}

	_ = l.conn.SetDeadline(time.Now().Add(patience))
	if l.out.Encode(o) != nil || l.in.Decode(&t) != nil {
		l.hangUp()
		return told{}, true
	}
	return t, true
}

func (l *line) hangUp() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// appendOverHTTP is a resident who grants and withdraws one consent after another,
// through either API, and sends requests without an answer again under the same key. Now
// and then it goes on as somebody new.
func (s *soak) appendOverHTTP(number int) {
	ctx, chance := s.ctx, rand.New(rand.NewPCG(s.seed, 1<<32+uint64(number)))
	var c *client
	var stream history.Stream
	for id := ""; !s.done(); {
		if c == nil || id == "" && chance.IntN(50) == 0 {
			var err error
			if c, stream, err = s.signUp(ctx, number, chance); err != nil {
				s.t.Errorf("resident %d: %v", number, err)
				return
			}
		}

		c.base = s.anAPI(chance)
		path, kind, want := "/api/v1/consents", "consent.granted.v1", http.StatusCreated
		var body any = map[string]any{"purpose": "sms_alert", "language": "zu", "consented": true}
		if id != "" {
			path, kind, want, body = "/api/v1/consents/"+id+"/withdraw", "consent.withdrawn.v1", http.StatusOK,
				map[string]any{}
		}
		sent := s.now()
		r, asked, err := s.insistOn(ctx, c, chance, path, body)
		if err == nil && r.status != want {
			err = fmt.Errorf("status %d, code %v", r.status, r.body["code"])
		}
		if err != nil {
			s.t.Errorf("resident %d: %v", number, err)
			return
		}

		consent := uuid.MustParse(r.text("id"))
		key := decisionID(consent, kind)
		s.note(history.Append{
			ID: key, Sent: sent, Asked: asked, Answered: s.now(), Outcome: history.Added,
			Writes: []history.Write{
				{Stream: stream, Expected: history.AnyVersion, Records: []uuid.UUID{consent}},
			},
			Events: []history.Event{{Position: r.position, Append: key, Stream: stream, Record: consent}},
		})
		if id == "" {
			id = consent.String()
		} else {
			id = ""
		}

		if chance.IntN(3) == 0 {
			c.base = s.anAPI(chance)
			s.readOverHTTP(ctx, c, chance, stream, consent, r.position)
		}
	}
}

// readOverHTTP asks either API about a consent: from the log, which has to know
// everything that was acknowledged, or from the read table, once it has reached a
// position. It is no fault to get no answer.
func (s *soak) readOverHTTP(
	ctx context.Context, c *client, chance *rand.Rand, stream history.Stream, consent uuid.UUID, position int64,
) {
	read := history.Read{Began: s.now(), Stream: stream, Record: consent}
	var kind string
	if chance.IntN(2) == 0 {
		var answer struct {
			Withdrawn bool `json:"withdrawn"`
		}
		if !s.ask(ctx, c, "/api/v1/consents/"+consent.String(), position, &answer) {
			return
		}
		if kind = "consent.granted.v1"; answer.Withdrawn {
			kind = "consent.withdrawn.v1"
		}
	} else {
		var answer struct {
			DecidedBy struct {
				Type string `json:"event_type"`
			} `json:"decided_by"`
		}
		if !s.ask(ctx, c, "/api/v1/consents/check?purpose=sms_alert", 0, &answer) {
			return
		}
		kind = answer.DecidedBy.Type
	}

	read.Ended, read.Append = s.now(), decisionID(consent, kind)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, read)
}

// ask gets a path, and reports whether there was a successful answer. A status below 500
// that is not OK is an error.
func (s *soak) ask(ctx context.Context, c *client, path string, position int64, answer any) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		s.t.Error(err)
		return false
	}

	request.Header.Set("Authorization", "Bearer "+c.token)
	if position > 0 {
		request.Header.Set("Min-Event-Position", strconv.FormatInt(position, 10))
	}

	response, err := c.http.Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()

	if response.StatusCode != http.StatusOK {
		if response.StatusCode < 500 {
			s.t.Errorf("GET %s: status %d", path, response.StatusCode)
		}
		return false
	}
	return json.NewDecoder(response.Body).Decode(answer) == nil
}

// httpPatience is how long a resident waits for an API that may be suspended: less than
// some suspensions last.
const httpPatience = 2 * time.Second

func (s *soak) anAPI(chance *rand.Rand) string {
	for {
		if p := s.parts[chance.IntN(len(s.parts))]; p.kind == "api" {
			return "http://" + p.site.addr
		}
	}
}

// insistOn repeats a command until it has an answer, each time from either API, and
// returns when the answered attempt was sent.
func (s *soak) insistOn(
	ctx context.Context, c *client, chance *rand.Rand, path string, body any,
) (r reply, asked history.Moment, err error) {
	key := uuid.NewString()
	for {
		asked = s.now()
		r, err = c.send(ctx, http.MethodPost, path, key, body)
		if err == nil && r.status < 500 || ctx.Err() != nil {
			return r, asked, ctx.Err()
		}
		pause(50 * time.Millisecond)
		c.base = s.anAPI(chance)
	}
}

// signUp makes a new account and signs in. It waits longer than for other requests,
// because hashing a password takes long on a busy machine.
func (s *soak) signUp(
	ctx context.Context, number int, chance *rand.Rand,
) (c *client, stream history.Stream, err error) {
	c = newClient(s.anAPI(chance))
	email := fmt.Sprintf("resident%d-%d@example.co.za", number, s.addresses.Add(1))
	sent := s.now()
	r, asked, err := s.insistOn(ctx, c, chance, "/api/v1/auth/register", map[string]any{
		"email": email, "password": "correct horse battery", "full_name": "Ṱhilivhali Mudau",
		"municipality_code": "CPT",
		"consent":           map[string]any{"purpose": "platform_registration", "language": "zu", "consented": true},
	})
	if err != nil || r.status != http.StatusCreated {
		return nil, stream, fmt.Errorf("register: %d %v %w", r.status, r.body["code"], err)
	}

	person, tenant := uuid.MustParse(r.text("id")), uuid.MustParse(r.text("tenant_id"))
	key, account := decisionID(person, registered), history.Stream{Tenant: tenant, Kind: "user", ID: person}
	stream = history.Stream{Tenant: tenant, Kind: "consent", ID: person}
	s.note(history.Append{
		ID: key, Sent: sent, Asked: asked, Answered: s.now(), Outcome: history.Added,
		Writes: []history.Write{
			{Stream: account, Records: []uuid.UUID{person}},
			{Stream: stream, Records: []uuid.UUID{{}}},
		},
		Events: []history.Event{
			{Position: r.position - 1, Append: key, Stream: account, Version: 1, Record: person},
			{Position: r.position, Append: key, Stream: stream, Version: 1},
		},
	})

	r, _, err = s.insistOn(ctx, c, chance, "/api/v1/auth/login", map[string]any{
		"email": email, "password": "correct horse battery", "municipality_code": "CPT",
	})
	if err != nil || r.status != http.StatusOK {
		return nil, stream, fmt.Errorf("login: %d %v %w", r.status, r.body["code"], err)
	}
	c.token = r.text("access_token")
	c.http.Timeout = httpPatience
	return c, stream, nil
}

// tail is a reader that looks for new events again and again: the first one as followers
// read, event by event, the others at the rows. An error that is not about a lost
// connection or the state of the database is damage.
func (s *soak) tail(reader int) {
	ctx := s.ctx
	var conn *pgx.Conn
	place := int64(0)
	for last := false; !last; {
		last = isClosed(s.answered) || isClosed(ctx.Done()) // one more look after the last answer
		if conn == nil || conn.IsClosed() {
			if conn = s.connect(ctx); conn == nil {
				return
			}
		}

		l := history.Look{Reader: reader, Began: s.now(), After: place}
		var err error
		if l.Seen, err = s.look(ctx, conn, reader, place); err != nil {
			excused := conn.IsClosed() || pg.Classify(err) != pg.None
			_ = conn.Close(ctx)
			if ctx.Err() != nil {
				return
			}
			if !excused {
				s.t.Errorf("reader %d, behind position %d: %v", reader, place, err)
				return
			}
			last = false
			continue
		}

		l.Ended = s.now()
		if n := len(l.Seen); n > 0 {
			place = l.Seen[n-1].Position
		}
		s.looks[reader] = append(s.looks[reader], l)
		pause(5 * time.Millisecond)
	}
	_ = conn.Close(ctx)
}

func (s *soak) look(ctx context.Context, conn *pgx.Conn, reader int, place int64) (seen []history.Seen, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()

	if reader > 0 {
		rows, err := conn.Query(ctx,
			"select position, event_id from trust.events where position > $1 order by position", place)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, func(r pgx.CollectableRow) (e history.Seen, err error) {
			err = r.Scan(&e.Position, (*[16]byte)(&e.Event))
			return e, err
		})
	}

	r, err := eventstore.NewReader(ctx, conn, []byte(testMaster[len("MASTER_KEY="):]))
	if err != nil {
		return nil, err
	}
	head, err := eventstore.Head(ctx, conn)
	if err != nil {
		return nil, err
	}
	events, err := r.Range(ctx, conn, place, head)
	for _, e := range events {
		seen = append(seen, history.Seen{Position: e.Position, Event: e.EventID})
	}
	return seen, err
}
