package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/projections"
)

// settingsCommand is the command that lists the settings, and settingsGroup is what their
// flags are in.
const (
	settingsCommand = "help settings"
	settingsGroup   = "settings"
)

// newParser returns the parser of the command line.
func newParser(grammar *cli) (*kong.Kong, error) {
	names := kong.Vars{
		"followers": strings.Join(namesOf(followers()), ", "),
		"tables":    strings.Join(namesOf(projections.All()), ", "),
	}

	return kong.New(grammar, kong.Name("trust"), names, kong.PostBuild(explainSettings),
		kong.Description("SALGA Trust Engine: consent under POPIA for South African municipalities."),
		kong.Help(printHelp),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.ExplicitGroups([]kong.Group{{
			Key: settingsGroup, Title: "Settings, also as environment variables (--http-addr is HTTP_ADDR):",
		}}))
}

// explainSettings gives the flags of settings their help texts. As variables of the
// grammar, of which the parser tries each in the texts of each flag, the texts would take
// more time than all else that a short command does.
func explainSettings(parser *kong.Kong) error {
	meanings := settings.Meanings()
	for _, flag := range parser.Model.Flags {
		if isSetting(flag) {
			flag.Help = meanings[settings.VariableOf(flag.Name)]
		}
	}
	return nil
}

// printHelp prints the help of one command, or of trust. Every command takes every
// setting as a flag, so they are listed by a command of their own.
func printHelp(options kong.HelpOptions, parsed *kong.Context) error {
	wanted := parsed.Command() == settingsCommand
	for _, flag := range parsed.Model.Flags {
		flag.Hidden = isSetting(flag) && !wanted
	}

	if err := kong.DefaultHelpPrinter(options, parsed); err != nil || wanted {
		return err
	}
	_, err := fmt.Fprintf(parsed.Stdout, "\nRun \"trust %s\" for the settings, which every command takes.\n",
		settingsCommand)
	return err
}

// isSetting reports whether a flag is one of the settings, not one of a command's own.
func isSetting(flag *kong.Flag) bool { return flag.Group != nil && flag.Group.Key == settingsGroup }
