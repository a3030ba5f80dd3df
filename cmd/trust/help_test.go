package main

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
)

func TestHelpOfEachCommandShowsThatCommandAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	parser, err := newParser(&cli{})
	must(t, err)

	for _, command := range withChildren(parser.Model.Node) {
		args := append(strings.Fields(command.Path()), "--help")
		if command.Path() == settingsCommand {
			continue
		}
		t.Run("trust "+strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			o := s.run(args...)
			o.expect(t, exit.CodeDone, `Run "trust help settings"`)

			for _, flag := range parser.Model.Flags {
				if isSetting(flag) && strings.Contains(o.stdout, "--"+flag.Name) {
					t.Errorf("it shows the setting --%s:\n%s", flag.Name, o.stdout)
				}
			}
			for _, flag := range command.Flags {
				if !isSetting(flag) && !strings.Contains(o.stdout, "--"+flag.Name) {
					t.Errorf("it does not show its own flag --%s:\n%s", flag.Name, o.stdout)
				}
			}
			for _, argument := range command.Positional {
				if !strings.Contains(o.stdout, "<"+argument.Name+">") {
					t.Errorf("it does not show its argument <%s>:\n%s", argument.Name, o.stdout)
				}
			}
		})
	}
}

// withChildren returns a command and all below it.
func withChildren(command *kong.Node) []*kong.Node {
	all := []*kong.Node{command}
	for _, child := range command.Children {
		all = append(all, withChildren(child)...)
	}
	return all
}

// A mistake in .env must not hide the list of settings, which may be needed to correct
// it.
func TestTheSettingsAreListedByACommandOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file(".env", "not a setting\n")
	parser, err := newParser(&cli{})
	must(t, err)

	for _, args := range [][]string{{"help", "settings"}, {"help", "settings", "--help"}} {
		o := s.run(args...)
		o.expect(t, exit.CodeDone, "Settings, also as environment variables")
		for _, flag := range parser.Model.Flags {
			if !strings.Contains(o.stdout, "--"+flag.Name) {
				t.Errorf("trust %s does not list --%s:\n%s", strings.Join(args, " "), flag.Name, o.stdout)
			}
		}
	}
	if help := s.run("help"); help != s.run("--help") || help.code != exit.CodeDone {
		t.Errorf("trust help is not trust --help:\n%s%s", help.stdout, help.stderr)
	}
}
