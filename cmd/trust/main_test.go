package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/internal/localpg"
	"github.com/salga-trust/engine/internal/owned"
	"github.com/salga-trust/engine/internal/pgtest"
)

// binary is the real program, built once. It is a global, because TestMain cannot pass it
// on otherwise.
var binary string

func TestMain(m *testing.M) {
	if socket := os.Getenv(appenderSocket); socket != "" {
		fmt.Fprintln(os.Stderr, runAppender(socket))
		os.Exit(1)
	}

	// Whoever runs the tests may have told them to outlive a terminal (nohup), which what
	// they start would inherit.
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}

	dir, err := os.MkdirTemp("", "trust-binary-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "trust")
	// Workers of a fuzz test run one function, many times over.
	if !slices.Contains(os.Args, "-test.fuzzworker") {
		build := exec.CommandContext(context.Background(), "go", "build", "-o", binary, ".")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build the program:", err)
			os.Exit(1)
		}
	}
	defer func() { _ = os.RemoveAll(dir) }()
	pgtest.Main(m)
}

// site is a folder in which commands run, with their own DATA_DIR and environment.
type site struct {
	t       testing.TB
	program string
	dir     string
	addr    string
	env     []string
}

// newSite makes a folder that the user postgres can pass through; otherwise the cluster
// would live elsewhere.
func newSite(t testing.TB, env ...string) *site {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}

	addr := freeAddress()
	base := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "HTTP_ADDR=" + addr, "DATA_DIR=" + filepath.Join(dir, "data"),
	}
	if cache, err := os.UserCacheDir(); err == nil { // which keeps a fetched Postgres
		base = append(base, "XDG_CACHE_HOME="+cache)
	}
	// A site that is given its keys is given them all.
	if slices.Contains(env, testMaster) {
		base = append(base, testSigning)
	}
	return &site{t: t, program: binary, dir: dir, addr: addr, env: append(base, env...)}
}

// freeAddress returns an address with a port below those that the system assigns, so that
// nobody takes it before the site does.
func freeAddress() string {
	for {
		port := 20_000 + rand.IntN(12_000)
		if listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err == nil {
			_ = listener.Close()
			return "127.0.0.1:" + strconv.Itoa(port)
		}
	}
}

// with returns the site with more variables in its environment.
func (s *site) with(env ...string) *site {
	changed := *s
	changed.env = append(append([]string{}, s.env...), env...)
	return &changed
}

func (s *site) data(name string) string { return filepath.Join(s.dir, "data", name) }

// outcome is what a command did.
type outcome struct {
	code           int
	stdout, stderr string
}

// run runs a command to its end.
func (s *site) run(args ...string) outcome { return s.feed("", args...) }

// feed is run with a text on standard input.
func (s *site) feed(stdin string, args ...string) outcome {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), pgtest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.dir, s.env, strings.NewReader(stdin), &stdout, &stderr

	err := cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || failed.ExitCode() < 0) {
		s.t.Fatalf("trust %v: %v\n%s", args, err, stderr.String())
	}
	return outcome{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// expect checks the exit code of a command, and a part of its output.
func (o outcome) expect(t testing.TB, code int, part string) {
	t.Helper()
	if o.code != code || !strings.Contains(o.stdout+o.stderr, part) {
		t.Errorf("exit code %d, want %d with %q\nstdout: %s\nstderr: %s", o.code, code, part, o.stdout, o.stderr)
	}
}

// running is a command that runs in the background.
type running struct {
	cmd    *exec.Cmd
	said   *safeBuffer
	exited chan struct{}
}

// start starts a command, which ends with the test at the latest, and with this process
// if that is killed.
func (s *site) start(args ...string) *running {
	s.t.Helper()
	return s.startProgram(exec.CommandContext(context.Background(), s.program, args...))
}

// startProgram is start for a program that is prepared in another way.
func (s *site) startProgram(cmd *exec.Cmd) *running {
	s.t.Helper()
	r := &running{cmd: cmd, said: &safeBuffer{}, exited: make(chan struct{})}
	r.cmd.Dir, r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = s.dir, s.env, r.said, r.said
	r.cmd.WaitDelay = 5 * time.Second
	if err := localpg.StartBound(r.cmd, syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}

	go func() {
		_ = r.cmd.Wait()
		close(r.exited)
	}()
	s.t.Cleanup(func() {
		r.stop(s.t, syscall.SIGTERM)
		if s.t.Failed() {
			s.t.Logf("%v said:\n%s", cmd.Args, r.said)
		}
	})
	return r
}

// stop sends a signal and waits for the end.
func (r *running) stop(t testing.TB, sig syscall.Signal) int {
	t.Helper()
	_ = r.cmd.Process.Signal(sig) // fails only when it has ended
	select {
	case <-r.exited:
	case <-time.After(pgtest.Patience):
		_ = r.cmd.Process.Kill()
		t.Errorf("it did not end within %s of %s", pgtest.Patience, sig)
		<-r.exited
	}
	return r.cmd.ProcessState.ExitCode()
}

func (r *running) ended() bool {
	select {
	case <-r.exited:
		return true
	default:
		return false
	}
}

type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// get returns the status of a GET, and decodes the answer's JSON into into, unless that
// is nil.
func (s *site) get(path string, into any) int {
	client := http.Client{Timeout: 10 * time.Second}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.addr+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}

	answer, err := client.Do(request)
	if err != nil {
		return 0
	}
	defer func() { _ = answer.Body.Close() }()
	if into != nil {
		if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
			return 0
		}
	}
	return answer.StatusCode
}

// metrics scrapes the API, and returns the values by name and labels.
func (s *site) metrics() map[string]string {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.addr+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}

	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)

	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if at := strings.LastIndex(line, " "); at > 0 && line[0] != '#' {
			values[line[:at]] = strings.TrimSpace(line[at:])
		}
	}
	return values
}

// ready reports whether the API says "ready", and not "degraded".
func (s *site) ready() bool {
	var answer struct{ Status string }
	return s.get("/ready", &answer) == http.StatusOK && answer.Status == "ready"
}

// municipalities counts the municipalities that the API lists.
func (s *site) municipalities() int {
	count, after := 0, ""
	for {
		var page struct {
			Items []json.RawMessage
			Next  *string
		}
		if s.get("/api/v1/municipalities?limit=100&after="+after, &page) != http.StatusOK {
			s.t.Fatal("the list of municipalities does not answer")
		}
		count += len(page.Items)
		if page.Next == nil {
			return count
		}
		after = *page.Next
	}
}

// signIn returns the status of a sign-in.
func (s *site) signIn(email, password, municipality string) int {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{
		"email": email, "password": password, "municipality_code": municipality,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.addr+"/api/v1/auth/login",
		bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")

	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return answer.StatusCode
}

// kept reads the variables that trust up keeps.
func (s *site) kept() map[string]string {
	s.t.Helper()
	values, err := settings.ReadEnvFile(s.data("env"), owned.Secret)
	if err != nil {
		s.t.Fatal(err)
	}
	return values
}

// pids reads the pid files, by name.
func (s *site) pids() map[string]int {
	found := map[string]int{}
	files, _ := filepath.Glob(s.data("run/*.pid"))

	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just been removed
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			s.t.Errorf("%s holds %q", file, text)
		}
		found[strings.TrimSuffix(filepath.Base(file), ".pid")] = pid
	}
	return found
}

// leftovers returns the processes of the site: those that work in its folder, or have
// it in their arguments or environment.
func (s *site) leftovers() []string {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) == 0 {
		s.t.Fatal("this test looks for processes in /proc, and finds none")
	}

	var found []string
	for _, process := range processes {
		cwd, _ := os.Readlink(process + "/cwd")
		environment, _ := os.ReadFile(process + "/environ")
		command, _ := os.ReadFile(process + "/cmdline")
		if strings.HasPrefix(cwd, s.dir) || bytes.Contains(environment, []byte(s.dir)) ||
			bytes.Contains(command, []byte(s.dir)) {
			found = append(found, filepath.Base(process)+" "+string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		}
	}
	return found
}

func (s *site) noneLeft() {
	s.t.Helper()
	pgtest.Eventually(s.t, "no process is left", func() bool { return len(s.leftovers()) == 0 })
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
