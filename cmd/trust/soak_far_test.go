//go:build far

package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/history"
	"github.com/salga-trust/engine/internal/localpg"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// Several processes append, directly and over HTTP, others follow, and readers tail the
// log, while everything that may go wrong does, one thing after another. At least
// SOAK_COUNT appends are acknowledged (make soak: a million), and SOAK_SEED repeats the
// order of the faults. Afterwards package history judges all answers.
func TestFarNothingIsLostWhateverGoesWrong(t *testing.T) {
	t.Parallel()
	s := newSoak(t, number(t, "SOAK_COUNT", 12_000), uint64(number(t, "SOAK_SEED", int(time.Now().UnixNano()%1e9))))
	fmt.Printf("soak: seed %d, until %d appends are acknowledged\n", s.seed, s.count)
	s.launch()

	var sending, looking sync.WaitGroup
	defer looking.Wait()
	defer sending.Wait()
	defer s.stop()
	for i := range directClients {
		sending.Go(func() { s.appendDirectly(i) })
	}
	for i := range httpClients {
		sending.Go(func() { s.appendOverHTTP(i) })
	}
	for i := range tailingReaders {
		looking.Go(func() { s.tail(i) })
	}
	looking.Go(s.report)

	s.trouble()
	pgtest.Eventually(t, "all is up again by itself", s.ready)
	close(s.over)
	sending.Wait()
	close(s.answered)
	looking.Wait()
	s.judge()
}

const (
	directClients  = 24
	httpClients    = 6
	tailingReaders = 2
)

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// soak is one run.
type soak struct {
	*site
	t        *testing.T
	count    int
	seed     uint64
	began    time.Time
	over     chan struct{} // closed when clients are to begin nothing new
	answered chan struct{} // closed when no client waits for an answer any more
	ctx      context.Context
	stop     context.CancelFunc // ends all waiting for answers
	server   *ownServer
	disk     string // where the server's files are
	steps    *pgtest.Steps
	direct   uuid.UUID // the municipality of the direct appends
	parts    []*part
	admin    string // address of the database that bypasses steps
	before   int64  // position of the log when the run began

	acknowledged  atomic.Int64
	unheard       atomic.Int64 // how many more answers to lose
	left          atomic.Int64 // how many more connections to break while the server works
	silent        atomic.Bool  // lose all answers
	foundByStore  atomic.Int64 // appends that the store sent again and found in the log
	foundByClient atomic.Int64 // appends that a client sent again and that were in the log
	addresses     atomic.Int64
	faults        map[string]int

	mu       sync.Mutex
	appends  []history.Append
	looks    [tailingReaders][]history.Look
	reads    []history.Read
	versions map[uuid.UUID]int // a version that each person's stream certainly had
}

func newSoak(t *testing.T, count int, seed uint64) *soak {
	t.Helper()
	s := &soak{
		t: t, count: count, seed: seed, began: time.Now(), over: make(chan struct{}), answered: make(chan struct{}),
		faults: map[string]int{}, versions: map[uuid.UUID]int{},
	}
	s.ctx, s.stop = context.WithCancel(t.Context())

	s.disk = mountDisk(t)
	s.server = startServerIn(t, filepath.Join(s.disk, "pg"), map[string]string{
		"max_connections": "100", "superuser_reserved_connections": "0", "max_wal_size": "256MB",
		"min_wal_size": "64MB", "wal_init_zero": "off", "wal_recycle": "off",
	})
	s.admin = s.server.address

	// A token that expires would end the repetition of a request.
	s.site = s.server.site("RATE_LIMIT=off", "ACCESS_TOKEN_EXPIRE_MINUTES=1440")
	return s
}

// launch starts the processes under test. They reach the database through steps, which
// can lose answers and break connections.
func (s *soak) launch() {
	s.t.Helper()
	s.steps = pgtest.NewSteps(s.t, s.server.address, func(int) pgtest.Fate {
		switch {
		case s.silent.Load(), s.unheard.Load() > 0 && s.unheard.Add(-1) >= 0:
			return pgtest.Unheard
		case s.left.Load() > 0 && s.left.Add(-1) >= 0:
			return pgtest.Left
		default:
			return pgtest.Passes
		}
	})
	s.site = s.with("DATABASE_URL=" + s.steps.Over(s.server.address))

	second := freeAddress()
	other := s.with("HTTP_ADDR=" + second)
	other.addr = second
	for _, api := range []*site{s.site, other} {
		s.keep("api", api, func() *exec.Cmd { return exec.CommandContext(context.Background(), api.program, "serve") })
		s.keep("worker", api, func() *exec.Cmd {
			return exec.CommandContext(context.Background(), api.program, "project", "all")
		})
	}
	for i := range 3 {
		appender := s.with(
			appenderSocket+"="+s.socket(i), appenderDatabase+"="+s.steps.Over(s.server.address),
			appenderMaster+"="+strings.TrimPrefix(testMaster, "MASTER_KEY="),
		)
		s.keep("appender", appender, func() *exec.Cmd { return exec.CommandContext(context.Background(), os.Args[0]) })
	}
	pgtest.Eventually(s.t, "it is ready", s.ready)

	conn := s.connect(s.t.Context())
	defer func() { _ = conn.Close(context.WithoutCancel(s.t.Context())) }()
	must(s.t, conn.QueryRow(s.t.Context(), `select tenant_id from trust.events
		where event_type = 'municipality.registered.v1' and payload ->> 'code' = 'JHB'`).Scan((*[16]byte)(&s.direct)))
	must(s.t, conn.QueryRow(s.t.Context(), "select max(position) from trust.events").Scan(&s.before))
	_, err := conn.Exec(s.t.Context(), "create table public.foreign_rows (n integer)")
	must(s.t, err)
}

func (s *soak) socket(i int) string { return filepath.Join(s.dir, "appender"+strconv.Itoa(i)) }

// connect connects to the database directly, not through steps, as soon as the server
// takes connections.
func (s *soak) connect(ctx context.Context) *pgx.Conn {
	for {
		conn, err := pgx.Connect(ctx, s.admin)
		if err == nil {
			return conn
		}
		if ctx.Err() != nil {
			s.t.Error(err)
			return nil
		}
		pause(20 * time.Millisecond)
	}
}

func pause(d time.Duration) { <-time.After(d) }

func (s *soak) now() history.Moment { return time.Since(s.began) }

// part is a process that is started again whenever it ends.
type part struct {
	kind string
	site *site

	mu      sync.Mutex
	process *os.Process
}

// keep keeps a process alive until the test ends.
func (s *soak) keep(kind string, at *site, command func() *exec.Cmd) {
	s.t.Helper()
	p := &part{kind: kind, site: at}
	s.parts = append(s.parts, p)

	said := &safeBuffer{}
	ending := make(chan struct{})
	ended := make(chan struct{})

	go func() {
		defer close(ended)
		for {
			cmd := command()
			cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = at.dir, at.env, said, said
			if err := localpg.StartBound(cmd, syscall.SIGKILL); err == nil {
				p.mu.Lock()
				p.process = cmd.Process
				p.mu.Unlock()
				_ = cmd.Wait()
			}
			select {
			case <-ending:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()

	s.t.Cleanup(func() {
		close(ending)
		p.signal(syscall.SIGKILL)
		<-ended
		if s.t.Failed() {
			text := said.String()
			s.t.Logf("%s said at last:\n%s", kind, text[max(0, len(text)-2000):])
		}
	})
}

// signal sends a signal, and reports whether there was a process to receive it.
func (p *part) signal(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process != nil && p.process.Signal(sig) == nil
}

// report prints the progress of a long run.
func (s *soak) report() {
	for {
		select {
		case <-s.over:
			return
		case <-s.ctx.Done():
			return
		case <-time.After(30 * time.Second):
			fmt.Printf("soak: %s: %d acknowledged\n", s.now().Round(time.Second), s.acknowledged.Load())
		}
	}
}

// judge waits until the read tables have followed, and compares everything.
func (s *soak) judge() {
	s.t.Helper()
	pgtest.Eventually(s.t, "the read tables have followed", s.followed)
	run := history.Run{Appends: s.appends, Reads: s.reads, Log: s.log()}
	for _, looks := range s.looks {
		run.Looks = append(run.Looks, looks...)
	}

	s.atLength("verify").expect(s.t, exit.CodeDone, "events verified")
	live := s.tables()
	s.atLength("rebuild", "all").expect(s.t, exit.CodeDone, "rebuilt")
	fresh := s.tables()
	for name, rows := range live {
		run.Tables = append(run.Tables, history.Table{Name: name, Rows: rows, Fresh: fresh[name]})
	}

	found := history.Check(run)
	for _, v := range found[:min(len(found), 20)] {
		s.t.Errorf("%s: %s", v.Kind, v.About)
	}
	for _, lack := range history.Lacks(run) {
		s.t.Errorf("the run shows less than it should: %s", lack)
	}
	if s.foundByStore.Load() == 0 {
		s.t.Error("the run shows less than it should: the store found no append of its own in the log")
	}
	if s.foundByClient.Load() == 0 {
		s.t.Error("the run shows less than it should: no append that a client sent again was in the log")
	}

	s.print(run, len(found))
	if n := int(s.acknowledged.Load()); n < s.count {
		s.t.Errorf("%d appends were acknowledged, want %d", n, s.count)
	}
}

// followed is caughtUp for tables with a long way to go: it gives up only when none of
// them moves.
func (s *soak) followed() bool {
	for before := int64(-1); ; {
		var lag int64
		for _, f := range s.status().Followers {
			lag += f.Lag
		}
		if lag == 0 || lag == before {
			return lag == 0
		}
		before = lag
		pause(time.Second)
	}
}

// atLength runs a command whose time grows with the log.
func (s *soak) atLength(args ...string) outcome {
	cmd := exec.CommandContext(s.t.Context(), s.program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, &stdout, &stderr
	_ = cmd.Run() // the exit code tells
	return outcome{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// log reads the resulting log. The append of a request over HTTP is named by the consent
// or the account and the action, which is all that a client knows; events appended before
// the run or beside it belong to nobody.
func (s *soak) log() (log []history.Event) {
	s.t.Helper()
	conn := s.connect(s.t.Context())
	defer func() { _ = conn.Close(context.WithoutCancel(s.t.Context())) }()
	rows, err := conn.Query(s.t.Context(),
		`select position, event_id, append_id, tenant_id, stream_type, stream_id, version, record_id,
		event_type, payload ->> 'purpose' = 'sms_alert' from trust.events order by position`)
	must(s.t, err)

	// The names of registrations over HTTP, by append: their events are in two streams.
	accounts := map[uuid.UUID]uuid.UUID{}
	var e history.Event
	var kind string
	var alert *bool
	_, err = pgx.ForEachRow(rows, []any{
		&e.Position, (*[16]byte)(&e.ID), (*[16]byte)(&e.Append), (*[16]byte)(&e.Stream.Tenant), &e.Stream.Kind,
		(*[16]byte)(&e.Stream.ID), &e.Version, (*[16]byte)(&e.Record), &kind, &alert,
	}, func() error {
		asked := alert != nil && *alert && strings.HasPrefix(kind, "consent.")
		if kind == registered && e.Position > s.before {
			accounts[e.Append] = decisionID(e.Record, kind)
		}

		account, is := accounts[e.Append]
		switch {
		case e.Stream.Tenant == s.direct && (e.Stream.Kind == "consent" || e.Stream.Kind == "user"):
		case is:
			e.Append = account
		case asked:
			e.Append = decisionID(e.Record, kind)
		default:
			e.Append = uuid.Nil
		}
		log = append(log, e)
		return nil
	})
	must(s.t, err)
	return log
}

// registered is the type of the event that creates an account.
const registered = "user.registered.v1"

// decisionID names one action of a client over HTTP.
func decisionID(record uuid.UUID, kind string) uuid.UUID { return uuid.NewSHA1(record, []byte(kind)) }

// tables returns digests of the rows of all read tables.
func (s *soak) tables() map[string]map[string]string {
	s.t.Helper()
	conn := s.connect(s.t.Context())
	defer func() { _ = conn.Close(context.WithoutCancel(s.t.Context())) }()

	tables := map[string]map[string]string{}
	for _, p := range projections.All() {
		tables[p.Name()] = map[string]string{}
		rows, err := conn.Query(s.t.Context(), "select id::text, md5(r::text) from trust."+p.Name()+" r")
		must(s.t, err)
		var id, digest string
		_, err = pgx.ForEachRow(rows, []any{&id, &digest}, func() error {
			tables[p.Name()][id] = digest
			return nil
		})
		must(s.t, err)
	}
	return tables
}

// print prints what was tried and found.
func (s *soak) print(run history.Run, violations int) {
	outcomes := map[history.Outcome]int{}
	for _, a := range run.Appends {
		outcomes[a.Outcome]++
	}

	there := map[uuid.UUID]bool{}
	for _, e := range run.Log {
		there[e.Append] = true
	}
	unknown := 0
	for _, a := range run.Appends {
		if a.Outcome == history.Unknown && there[a.ID] {
			unknown++
		}
	}
	seen := 0
	for _, l := range run.Looks {
		seen += len(l.Seen)
	}

	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(what string, n int) { _, _ = fmt.Fprintf(table, "%s\t%d\t\n", what, n) }
	line("appends acknowledged", outcomes[history.Added])
	line("conflicts", outcomes[history.Conflicting])
	line("claims taken", outcomes[history.Taken])
	line("refused", outcomes[history.Refused])
	line("unknown", outcomes[history.Unknown])
	line("of these in the log", unknown)
	line("found in the log when the store sent again", int(s.foundByStore.Load()))
	line("found in the log when a client sent again", int(s.foundByClient.Load()))
	line("events in the log", len(run.Log))
	line("seen by readers", seen)
	line("reads over HTTP", len(run.Reads))

	total := 0
	for _, name := range slices.Sorted(maps.Keys(s.faults)) {
		line(name, s.faults[name])
		total += s.faults[name]
	}
	line("faults", total)
	line("violations", violations)
	_ = table.Flush()
	fmt.Printf("soak: seed %d, %s\n%s", s.seed, s.now().Round(time.Second), text.String())
}

// startServerIn is startServer in a given folder, with the given settings.
func startServerIn(t *testing.T, dir string, settings map[string]string) *ownServer {
	t.Helper()
	binaries, err := localpg.FindOrFetch(t.Context(), os.Getenv("POSTGRES_ARCHIVE"), os.Stderr)
	must(t, err)
	port, err := localpg.FreePort()
	must(t, err)

	cluster, err := localpg.New(localpg.Config{
		Dir: dir, Binaries: binaries, Port: port, Password: "of a test", NoSync: true, Settings: settings,
	})
	must(t, err)
	if !strings.HasPrefix(cluster.Dir, filepath.Dir(dir)) {
		t.Fatalf("the server's user cannot reach %s", dir)
	}
	must(t, cluster.Init(t.Context()))

	server := &ownServer{t: t, cluster: cluster, address: cluster.URL("postgres")}
	server.start()
	t.Cleanup(server.stop)
	return server
}
