package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/owned"
	"github.com/salga-trust/engine/internal/wholefile"
	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/proof/monitor"
)

type logWatchCmd struct {
	URL     string        `arg:"" name:"url" help:"Where the log is shown, such as https://trust.example/log."`
	State   string        `name:"state" required:"" placeholder:"FILE" help:"File that keeps what was seen, and who is believed."`
	Key     []string      `name:"key" sep:"none" placeholder:"KEY" help:"Key of the log, at the first use; may be repeated."`
	Policy  string        `name:"policy" placeholder:"FILE" help:"Policy to believe in place of keys: logs, witnesses, quorum."`
	MaxAge  time.Duration `name:"max-age" placeholder:"SPAN" help:"Fail if the newest checkpoint was signed longer ago, such as 24h."`
	Wait    time.Duration `name:"wait" default:"15s" placeholder:"SPAN" help:"How long a new checkpoint may lack its cosignatures."`
	JSON    bool          `name:"json" help:"Print one JSON object."`
	Metrics string        `name:"metrics" placeholder:"FILE" help:"Write metrics for node_exporter's textfile collector, *.prom."`
}

// watchState is the file that a watch keeps between two runs.
type watchState struct {
	Policy     string    `json:"policy"`
	Checkpoint string    `json:"checkpoint"`
	SeenAt     time.Time `json:"seen_at"`
}

// watched is what a watch says.
type watched struct {
	Consistent bool       `json:"consistent"`
	Fault      string     `json:"fault,omitempty"`
	Origin     string     `json:"origin"`
	Size       uint64     `json:"size"`
	Root       string     `json:"root"`
	SeenBefore uint64     `json:"seen_before"`
	SignedAt   *time.Time `json:"signed_at,omitempty"`
	Cosigned   []string   `json:"cosigned"`
	Silent     []string   `json:"silent_witnesses"`
	Witnesses  []string   `json:"-"` // all of the policy
}

// Run compares what a log shows with what it showed before. The newest checkpoint that
// passed becomes what was seen; one that did not is kept beside it, as the proof.
func (l logWatchCmd) Run(ctx context.Context, p *program) error {
	before, err := l.read()
	if err != nil {
		return err
	}
	policy, err := l.policy(before)
	if err != nil {
		return err
	}

	watcher, err := monitor.New(monitor.Config{
		URL: l.URL, Policy: policy, MaxAge: l.MaxAge, Wait: l.Wait, Now: time.Now,
	})
	if err != nil {
		return exit.WrongUsage("%v", err)
	}

	var last []byte
	if before.Checkpoint != "" {
		last = []byte(before.Checkpoint)
	}
	seen, failed := watcher.Look(ctx, last)
	fault, isFault := errors.AsType[*monitor.FaultError](failed)
	if failed != nil && !isFault {
		return exit.Unreachable(failed, "the log could not be looked at")
	}

	summary := summarize(seen, fault, last, policy)
	if seen.Consistent {
		err = l.keep(watchState{Policy: policy.Text(), Checkpoint: string(seen.Signed), SeenAt: time.Now().UTC()})
	} else {
		err = l.keepFault(fault)
	}
	if err != nil {
		err = fmt.Errorf("cannot keep what was seen: %w", err)
	}
	if l.Metrics != "" {
		if failed := wholefile.Publish(l.Metrics, summary.metrics(time.Now())); failed != nil {
			err = errors.Join(err, fmt.Errorf("cannot write the metrics: %w", failed))
		}
	}
	return l.report(p, summary, fault, err)
}

// read returns what was seen before; nothing at the first use.
func (l logWatchCmd) read() (watchState, error) {
	text, err := owned.Read(l.State, owned.Plain)
	if errors.Is(err, fs.ErrNotExist) {
		return watchState{}, nil
	}
	if err != nil {
		return watchState{}, exit.Unreachable(err, "cannot read what was seen before")
	}

	var state watchState
	err = json.Unmarshal(text, &state)
	if err == nil && state.Checkpoint == "" {
		err = errors.New("it holds no checkpoint")
	}
	if err == nil {
		err = state.verify()
	}
	if err != nil {
		return watchState{}, exit.WrongUsage("%s is not what trust log watch keeps (%v); put the right file back: "+
			"without it, what the log showed before is forgotten", l.State, err)
	}
	return state, nil
}

// verify returns nil if the state is as it was kept: a checkpoint that the log signed. A
// damaged one would accuse the log.
func (s watchState) verify() error {
	policy, err := proof.ParsePolicy([]byte(s.Policy))
	if err != nil {
		return err
	}
	var keys []proof.Key
	for _, of := range policy.Logs {
		keys = append(keys, of.Key)
	}
	_, err = proof.Open([]byte(s.Checkpoint), keys...)
	return err
}

func (l logWatchCmd) keep(state watchState) error {
	text, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	return wholefile.Write(l.State, string(text)+"\n")
}

// keepFault keeps what proves a fault to others: the checkpoint that shows it, and, if a
// witness has that, the one that the log showed here.
func (l logWatchCmd) keepFault(fault *monitor.FaultError) error {
	var err error
	for ending, note := range map[string][]byte{".fault": fault.Shown, ".fault.here": fault.Beside} {
		if note != nil {
			err = errors.Join(err, wholefile.Write(l.State+ending, string(note)))
		}
	}
	return err
}

// policy returns whom to believe: as the command line says, or else as at the last use.
func (l logWatchCmd) policy(before watchState) (*proof.Policy, error) {
	switch {
	case l.Policy != "" && len(l.Key) > 0:
		return nil, exit.WrongUsage("give --policy or --key, not both")
	case l.Policy != "":
		return readPolicy(l.Policy)
	case len(l.Key) > 0:
		var keys []proof.Key
		for _, vkey := range l.Key {
			key, err := proof.ParseKey(vkey)
			if err != nil {
				return nil, exit.WrongUsage("--key: %v", err)
			}
			keys = append(keys, key)
		}
		return proof.LogPolicy(keys...), nil
	case before.Policy == "":
		return nil, exit.WrongUsage("nothing was seen before, so say whom to believe: --key with the log's key, from " +
			"its operator and not from its pages, or --policy")
	}

	return proof.ParsePolicy([]byte(before.Policy))
}

func summarize(seen monitor.Seen, fault *monitor.FaultError, last []byte, policy *proof.Policy) watched {
	w := watched{
		Consistent: seen.Consistent, Origin: seen.Origin, Size: seen.Size, Root: fmt.Sprintf("%x", seen.Root),
		Cosigned: append([]string{}, seen.Cosigned...), Silent: append([]string{}, seen.Silent...),
	}
	if fault != nil {
		w.Fault = fault.Text
	}
	if !seen.SignedAt.IsZero() {
		w.SignedAt = &seen.SignedAt
	}
	if before, err := proof.Unsigned(last); err == nil {
		w.SeenBefore = before.Size
	}
	for _, one := range policy.Witnesses {
		w.Witnesses = append(w.Witnesses, one.Name)
	}
	return w
}

// report says what was found, and returns the fault as the command's. unwritten is what
// could not be written: it hides no fault.
func (l logWatchCmd) report(p *program, w watched, fault *monitor.FaultError, unwritten error) error {
	var err error
	switch {
	case l.JSON:
		err = json.NewEncoder(p.stdout).Encode(w)
	case fault == nil && unwritten == nil:
		_, err = fmt.Fprintln(p.stdout, w.sentence())
	}

	switch {
	case fault != nil && unwritten != nil:
		return exit.NotSo("%s; and %v", fault.Text, unwritten)
	case fault == nil && unwritten != nil:
		return exit.Unreachable(unwritten, "what was found is not kept")
	case fault == nil:
		return err
	case !w.Consistent && fault.Beside != nil:
		return exit.NotSo("%[1]s; the checkpoint of the witness is kept in %[2]s.fault, and the one that the log "+
			"shows here in %[2]s.fault.here: together they prove it", fault.Text, l.State)
	case !w.Consistent && fault.Shown != nil:
		return exit.NotSo("%s; the checkpoint that shows it is kept in %s.fault", fault.Text, l.State)
	}
	return exit.NotSo("%s", fault.Text)
}

func (w watched) sentence() string {
	text := fmt.Sprintf("%s shows %d events", w.Origin, w.Size)
	if w.SeenBefore > 0 {
		text += fmt.Sprintf(", which begin with the %d that it was seen with", w.SeenBefore)
	} else {
		text += ", seen for the first time"
	}
	if w.SignedAt != nil {
		text += ", signed " + w.SignedAt.Format(time.RFC3339)
	}
	if len(w.Witnesses) > 0 {
		text += fmt.Sprintf("; cosigned by %d of %d witness keys", len(w.Cosigned), len(w.Witnesses))
	}
	if len(w.Silent) > 0 {
		text += "; these witnesses do not say what they know: " + strings.Join(w.Silent, ", ")
	}
	return text
}

// metrics are in Prometheus' text form.
func (w watched) metrics(now time.Time) string {
	var text strings.Builder
	gauge := func(name, help string) {
		fmt.Fprintf(&text, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
	}
	truth := map[bool]int{true: 1}
	label := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

	gauge("trust_log_watch_consistent", "1 if the log begins with what it showed before.")
	fmt.Fprintf(&text, "trust_log_watch_consistent %d\n", truth[w.Consistent])
	gauge("trust_log_watch_ok", "1 if trust log watch found no fault.")
	fmt.Fprintf(&text, "trust_log_watch_ok %d\n", truth[w.Fault == ""])
	gauge("trust_log_watch_size", "Events that the newest checkpoint covers.")
	fmt.Fprintf(&text, "trust_log_watch_size %d\n", w.Size)
	if w.SignedAt != nil {
		gauge("trust_log_watch_signed_timestamp_seconds", "When the newest checkpoint was signed.")
		fmt.Fprintf(&text, "trust_log_watch_signed_timestamp_seconds %d\n", w.SignedAt.Unix())
	}
	gauge("trust_log_watch_looked_timestamp_seconds", "When the log was looked at.")
	fmt.Fprintf(&text, "trust_log_watch_looked_timestamp_seconds %d\n", now.Unix())

	if len(w.Witnesses) > 0 {
		gauge("trust_log_watch_cosigned", "1 if the witness cosigned the newest checkpoint.")
	}
	cosigned := map[string]bool{}
	for _, name := range w.Cosigned {
		cosigned[name] = true
	}
	for _, name := range w.Witnesses {
		fmt.Fprintf(&text, "trust_log_watch_cosigned{witness=\"%s\"} %d\n", label.Replace(name), truth[cosigned[name]])
	}
	return text.String()
}
