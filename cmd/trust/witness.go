package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/proof/witness"
)

type witnessCmd struct {
	Listen string   `name:"listen" default:"127.0.0.1:7380" placeholder:"HOST:PORT" help:"Where logs send their checkpoints."`
	State  string   `name:"state" required:"" placeholder:"FOLDER" help:"Folder of the keys and of what was cosigned; made at the first start."`
	Name   string   `name:"name" placeholder:"NAME" help:"How it signs, such as witness.example.gov.za/1; needed at the first start."`
	Policy string   `name:"policy" placeholder:"FILE" help:"File whose lines \"log KEY\" name the logs to cosign."`
	Log    []string `name:"log" sep:"none" placeholder:"KEY" help:"Key of a log to cosign, as that prints it; may be repeated."`
}

// The time limits of a witness: a request is small, and writing its state is one file.
const (
	witnessPatience = 10 * time.Second
	witnessHeader   = 8 << 10
)

// Run cosigns the checkpoints of logs until a signal comes. It needs no database.
func (w witnessCmd) Run(ctx context.Context, p *program) error {
	outliveReaders()
	c, err := settings.Check(p.settings)
	if err != nil {
		return err
	}
	logs, err := w.logs()
	if err != nil {
		return err
	}

	log := newLogger(p.stderr, c, "witness")
	cosigner, err := witness.Open(witness.Config{
		Folder: w.State, Name: w.Name, Logs: logs, Now: time.Now, Log: log,
	})
	if err != nil {
		return explainWitness(err, w.State)
	}
	defer func() { _ = cosigner.Close() }()

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", w.Listen)
	if err != nil {
		return exit.Unreachable(err, "cannot listen on --listen; end what listens there, or give another address")
	}
	if err := w.introduce(p, cosigner, listener.Addr()); err != nil {
		return err
	}

	server := &http.Server{
		Handler: cosigner, ReadHeaderTimeout: headerPatience, ReadTimeout: witnessPatience,
		WriteTimeout: 2 * witnessPatience, IdleTimeout: idlePatience, MaxHeaderBytes: witnessHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return serveUntil(ctx, server, listener)
}

// logs are the keys of the logs that are cosigned.
func (w witnessCmd) logs() ([]proof.Key, error) {
	var keys []proof.Key
	for _, vkey := range w.Log {
		key, err := proof.ParseKey(vkey)
		if err != nil {
			return nil, exit.WrongUsage("--log: %v", err)
		}
		keys = append(keys, key)
	}

	if w.Policy != "" {
		policy, err := readPolicy(w.Policy)
		if err != nil {
			return nil, err
		}
		for _, l := range policy.Logs {
			keys = append(keys, l.Key)
		}
	}
	if len(keys) == 0 {
		return nil, exit.WrongUsage("no log is named; give --log KEY, or --policy FILE with lines \"log KEY\"")
	}
	return keys, nil
}

// introduce prints what the operators of logs need to know.
func (w witnessCmd) introduce(p *program, cosigner *witness.Witness, address net.Addr) error {
	_, err := fmt.Fprintf(p.stdout, "witness %s listens on %s; its keys, for the policies of logs:\n",
		cosigner.Name(), address)
	for _, key := range cosigner.Keys() {
		_, failed := fmt.Fprintf(p.stdout, "%s\n", key.Vkey())
		err = errors.Join(err, failed)
	}
	return err
}

// readPolicy reads a policy file.
func readPolicy(path string) (*proof.Policy, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, exit.Unreachable(err, "cannot read the policy %s", path)
	}
	policy, err := proof.ParsePolicy(text)
	if err != nil {
		return nil, exit.WrongUsage("%s: %v", path, err)
	}
	return policy, nil
}

func explainWitness(err error, folder string) error {
	if errors.Is(err, witness.ErrHeld) {
		return exit.Unreachable(nil, "another trust witness runs on %s; end that, or give another --state", folder)
	}
	if wrong, is := errors.AsType[*witness.KeyError](err); is {
		return exit.WrongUsage("%v", wrong)
	}
	return exit.Unreachable(err,
		"cannot use the folder %s; give --state one of your own, which nobody else can change", folder)
}
