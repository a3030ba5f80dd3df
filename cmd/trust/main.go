package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
)

// cli is the grammar: one field for each command, each in a file of its own.
type cli struct {
	Up       upCmd       `cmd:"" help:"Run everything on a bare machine: Postgres, migrations, import, API, projectors."`
	Serve    serveCmd    `cmd:"" help:"Run only the API."`
	Project  projectCmd  `cmd:"" help:"Run projectors, which follow the log: ${followers}, or all."`
	Webhooks webhooksCmd `cmd:"" help:"Send events to the webhooks that admins registered."`
	Relay    relayCmd    `cmd:"" help:"Publish the log to NATS JetStream, for other systems."`
	Migrate  migrateCmd  `cmd:"" help:"Bring the database schema up to date."`
	Import   struct {
		Municipalities importMunicipalitiesCmd `cmd:"" help:"Register municipalities; safe to repeat."`
		Purposes       importPurposesCmd       `cmd:"" help:"Define purposes for all municipalities; safe to repeat."`
		Consents       importConsentsCmd       `cmd:"" help:"Record what another system says that people decided, as claims; safe to repeat."`
	} `cmd:"" help:"Import a CSV file."`
	Admin struct {
		Create    adminCreateCmd    `cmd:"" help:"Create an admin of a municipality, or of SALGA; safe to repeat."`
		ResetTOTP adminResetTOTPCmd `cmd:"" name:"reset-totp" help:"Remove a lost second factor when no other admin can."`
		ResetCode adminResetCodeCmd `cmd:"" name:"reset-code" help:"Make a code for a new password when nobody else can hand one over."`
	} `cmd:"" help:"Manage admins."`
	Keys struct {
		Rotate    keysRotateCmd    `cmd:"" help:"Replace MASTER_KEY by NEW_MASTER_KEY; safe to repeat."`
		Wrap      keysWrapCmd      `cmd:"" help:"Wrap the master key, by OpenBao or Vault or for age, into a file; a wrapping of the same name is replaced."`
		Wrappings keysWrappingsCmd `cmd:"" help:"List the wrappings in such a file."`
		Unwrap    keysUnwrapCmd    `cmd:"" help:"Try whether a wrapping opens the master key; --out writes the key to a new file."`
		Forget    keysForgetCmd    `cmd:"" help:"Remove a wrapping from such a file."`
		Sign      keysSignCmd      `cmd:"" help:"Sign checkpoints with another key: LOG_SIGNING_KEY, or a new one where trust up keeps it."`
		Show      keysShowCmd      `cmd:"" help:"Print the public keys that checkpoints are verified with, oldest first."`
	} `cmd:"" help:"Manage the keys that seal personal data, and those that sign checkpoints."`
	Log struct {
		Renew logRenewCmd `cmd:"" help:"Give the log a new id after a failover that lost events, so that clients start over."`
		Watch logWatchCmd `cmd:"" help:"Compare what a log shows over HTTP with what it showed before; needs no database."`
	} `cmd:"" help:"Manage the log's id, and watch a log from outside."`
	Proof struct {
		Check  proofCheckCmd  `cmd:"" help:"Check a decision bundle offline: exit 0 if it is proven, 1 if not, 2 if the file is unreadable."`
		Export proofExportCmd `cmd:"" help:"Write the decision bundle of a consent to a file; the log records that you looked."`
	} `cmd:"" help:"Prove what people decided."`
	Seed     seedCmd     `cmd:"" help:"Fill a development system with made-up residents; safe to repeat."`
	Status   statusCmd   `cmd:"" help:"Show the log's head and each projector; exit 1 if one is not running."`
	Replay   replayCmd   `cmd:"" help:"Show what people had agreed to at one instant, as known at another."`
	Exposure exposureCmd `cmd:"" help:"List who read a person's data, or whose data an account read."`
	Rekey    rekeyCmd    `cmd:"" help:"Find older accounts by the canonical form of their address, after an upgrade; safe to repeat."`
	Codes    codesCmd    `cmd:"" help:"Give older events a code and require one from then on, once after an upgrade; safe to repeat."`
	Disown   disownCmd   `cmd:"" help:"Declare that a forged event, whose code does not hold, is not ours; readers then pass it as empty."`
	Verify   verifyCmd   `cmd:"" help:"Re-read the whole log and compare the read tables with it; exit 1 at the first difference."`
	Rebuild  rebuildCmd  `cmd:"" help:"Rebuild read tables from the log beside the live ones, then switch to them."`
	Backup   backupCmd   `cmd:"" help:"Write the log and the keys, or only the keys, to a folder."`
	Restore  restoreCmd  `cmd:"" help:"Fill a new database from a backup; people erased since then stay erased."`
	Witness  witnessCmd  `cmd:"" help:"Cosign the checkpoints of other people's logs; needs no database."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
	Help     struct {
		Settings struct{} `cmd:"" help:"List the settings, which every command takes; .env.example also explains the secrets."`
	} `cmd:"" help:"Show help on a topic."`
	Prepare prepareCmd `cmd:"" hidden:"" help:"Do one step of the work that trust up does first."`

	Settings settings.Flags `embed:""`
}

// program is what every command runs with.
type program struct {
	settings settings.Settings
	stdin    *os.File
	stdout   *os.File
	stderr   *os.File
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals()...)
	code := run(ctx, os.Args[1:])
	stop()

	if code == exit.CodeUsage && os.Getenv(exit.PartVariable) != "" {
		code = exit.CodeRefused
	}
	os.Exit(code)
}

// stopSignals are the signals that end a command: SIGHUP, sent when its terminal closes,
// is one of them, unless the command was started to outlive that (nohup).
func stopSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// outliveReaders lets a long-running command survive the end of whatever reads its
// standard output or standard error: by default Go ends a program that writes there with
// SIGPIPE, before it could stop what it runs or remove what it made.
func outliveReaders() { signal.Ignore(syscall.SIGPIPE) }

// run parses and runs one command, and returns its exit code.
func run(ctx context.Context, args []string) int {
	if len(args) == 1 && args[0] == "help" {
		args = []string{"--help"}
	}

	var grammar cli
	parser, err := newParser(&grammar)
	if err != nil {
		return report(err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return report(usageError(err))
	}
	if parsed.Command() == settingsCommand { // before they are read, which may fail
		return report(parsed.PrintUsage(false))
	}

	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	if parsed.Command() != proofCheckCommand { // which is about a file alone
		if p.settings, err = settings.Read(flagValues(parsed), os.Environ()); err != nil {
			return report(err)
		}
	}

	parsed.BindTo(ctx, (*context.Context)(nil)) // ends at SIGINT, SIGTERM and SIGHUP
	return report(parsed.Run(p))
}

// usageError turns the parser's error into one line that says where help is.
func usageError(err error) error {
	command := "trust"
	if parse, ok := errors.AsType[*kong.ParseError](err); ok && parse.Context != nil {
		if selected := parse.Context.Selected(); selected != nil {
			command = "trust " + selected.Path()
		}
	}
	return exit.WrongUsage("%v; see %s --help", err, strings.TrimSpace(command))
}

// flagValues returns the settings given as flags, by the names of their variables.
func flagValues(parsed *kong.Context) map[string]string {
	given := map[string]string{}
	for _, flag := range parsed.Flags() {
		if isSetting(flag) && flag.Set {
			given[settings.VariableOf(flag.Name)] = fmt.Sprint(flag.Target.Interface())
		}
	}
	return given
}

// report prints an error on one line, and returns the exit code.
func report(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "trust: "+exit.OneLine(err))
	}
	return exit.CodeOf(err)
}
