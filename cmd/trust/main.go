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
	"github.com/salga-trust/engine/projections"
)

// cli is the grammar: one field a command, each in a file of its own.
type cli struct {
	Up      upCmd      `cmd:"" help:"Run everything on a bare machine: Postgres, migrations, import, API, projectors."`
	Serve   serveCmd   `cmd:"" help:"Run the API alone."`
	Project projectCmd `cmd:"" help:"Run what follows the log: ${followers}, or all."`
	Migrate migrateCmd `cmd:"" help:"Bring the database's schema up to date."`
	Import  struct {
		Municipalities importMunicipalitiesCmd `cmd:"" help:"Register municipalities; repeatable."`
		Purposes       importPurposesCmd       `cmd:"" help:"Define purposes for all municipalities; repeatable."`
	} `cmd:"" help:"Import a CSV file."`
	Admin struct {
		Create    adminCreateCmd    `cmd:"" help:"Make an admin of a municipality, or of SALGA; repeatable."`
		ResetTOTP adminResetTOTPCmd `cmd:"" name:"reset-totp" help:"Remove the second factor of somebody who lost it, where no other admin can."`
	} `cmd:"" help:"Manage admins."`
	Keys struct {
		Rotate keysRotateCmd `cmd:"" help:"Change the master key from MASTER_KEY to NEW_MASTER_KEY; repeatable."`
	} `cmd:"" help:"Manage the keys that personal data is sealed under."`
	Log struct {
		Renew logRenewCmd `cmd:"" help:"Tell clients that positions which they hold are of another log: after a failover that lost events."`
	} `cmd:"" help:"Manage the log's id."`
	Seed     seedCmd     `cmd:"" help:"Fill a development system with made-up residents; repeatable."`
	Status   statusCmd   `cmd:"" help:"Show the log's head and each projector; exit 1 when one is halted."`
	Replay   replayCmd   `cmd:"" help:"Replay what people had agreed to at an instant, as known at an instant."`
	Exposure exposureCmd `cmd:"" help:"List who read a person's data, or whose data an account read."`
	Rekey    rekeyCmd    `cmd:"" help:"Find what was keyed by the spelling it was given in by its canonical form: after an upgrade; repeatable."`
	Codes    codesCmd    `cmd:"" help:"Give older events their codes, and demand one of every event from then on: once after an upgrade; repeatable."`
	Disown   disownCmd   `cmd:"" help:"Say that a forged event, whose code does not hold, is none of ours: readers pass it as empty."`
	Verify   verifyCmd   `cmd:"" help:"Re-read the whole log and compare the read tables with it; exit 1 at the first difference."`
	Rebuild  rebuildCmd  `cmd:"" help:"Make read tables anew from the log, beside those that are read, and switch to them."`
	Backup   backupCmd   `cmd:"" help:"Write the log and the keys to a folder, or the keys alone."`
	Restore  restoreCmd  `cmd:"" help:"Fill a new database from a backup; who was erased since stays erased."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
	Prepare  prepareCmd  `cmd:"" hidden:"" help:"What trust up does before anything else; part names one step."`

	Settings settings.Flags `embed:""`
}

// program is what a command runs with.
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

// stopSignals are what asks a command to end: also that its terminal was closed, unless
// it was started to outlive that (nohup).
func stopSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// outliveReaders lets a command that goes on survive the end of whatever reads its
// standard output or standard error: Go ends a program that writes there with SIGPIPE,
// before it could stop what it runs or remove what it made.
func outliveReaders() { signal.Ignore(syscall.SIGPIPE) }

// run parses and runs one command, and gives its exit code.
func run(ctx context.Context, args []string) int {
	var grammar cli
	names := kong.Vars{
		"followers": strings.Join(namesOf(followers()), ", "),
		"tables":    strings.Join(namesOf(projections.All()), ", "),
	}
	parser, err := kong.New(&grammar, kong.Name("trust"), kong.Vars(settings.Meanings()), names,
		kong.Description("SALGA Trust Engine: consent under POPIA for South African municipalities."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.ExplicitGroups([]kong.Group{{
			Key: "settings", Title: "Settings, also as environment variables (--http-addr is HTTP_ADDR):",
		}}))
	if err != nil {
		return report(err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return report(usageError(err))
	}
	s, err := settings.Read(flagValues(parsed), os.Environ())
	if err != nil {
		return report(err)
	}
	p := &program{settings: s, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
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

// flagValues gives the settings among the flags that were given, by the names of their
// variables.
func flagValues(parsed *kong.Context) map[string]string {
	given := map[string]string{}
	for _, flag := range parsed.Flags() {
		if flag.Group != nil && flag.Group.Key == "settings" && flag.Set {
			given[settings.VariableOf(flag.Name)] = fmt.Sprint(flag.Target.Interface())
		}
	}
	return given
}

// report prints an error on one line, and gives the exit code.
func report(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "trust: "+exit.OneLine(err))
	}
	return exit.CodeOf(err)
}
