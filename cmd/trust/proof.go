package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/proof"
)

// proofCheckCommand needs no settings: whoever checks a proof has only this binary, the
// file and a policy.
const proofCheckCommand = "proof check <file>"

type proofCheckCmd struct {
	File   string `arg:"" help:"The decision bundle, a JSON file."`
	Policy string `placeholder:"FILE" help:"The log's policy (C2SP tlog-policy), from somebody you trust; without it nothing is proven."`
	JSON   bool   `name:"json" help:"Print the report as JSON."`
}

// Run checks a decision bundle offline and says in sentences what it proves.
func (c proofCheckCmd) Run(p *program) error {
	data, err := readBounded(c.File, proof.MaxBundle)
	if err != nil {
		return exit.WrongUsage("read the bundle: %v", err)
	}
	policy, err := policyOrNone(c.Policy)
	if err != nil {
		return exit.WrongUsage("read the policy: %v", err)
	}

	report, err := proof.Check(data, policy)
	if c.JSON {
		if err := printReport(p.stdout, report, err); err != nil {
			return err
		}
	}
	switch {
	case errors.Is(err, proof.ErrUnreadable):
		return exit.WrongUsage("unreadable: %s", printable(err.Error()))
	case err != nil:
		return exit.NotSo("not proven: %s", printable(err.Error()))
	}

	if !c.JSON {
		if err := sayReport(p.stdout, report); err != nil {
			return err
		}
	}
	if !report.Proven {
		return exit.NotSo("not proven: the file agrees with itself, but its signer wrote the policy in it; give the " +
			"log's own by --policy")
	}
	return nil
}

// readBounded reads a file, and of a larger one only so much that its reader sees that it
// is too large.
func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read

	return io.ReadAll(io.LimitReader(file, limit+1))
}

// policyOrNone returns nil if no file is named.
func policyOrNone(path string) (*proof.Policy, error) {
	if path == "" {
		return nil, nil
	}
	text, err := readBounded(path, proof.MaxPolicy)
	if err != nil {
		return nil, err
	}
	return proof.ParsePolicy(text)
}

// printReport prints JSON: the report, or why there is none.
func printReport(w io.Writer, report proof.Report, failed error) error {
	var answer any = report
	if failed != nil {
		answer = struct {
			Proven     bool   `json:"proven"`
			Unreadable bool   `json:"unreadable"`
			Reason     string `json:"reason"`
		}{Unreadable: errors.Is(failed, proof.ErrUnreadable), Reason: failed.Error()}
	}

	data, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", data)
	return err
}

// sayReport prints sentences for people.
func sayReport(w io.Writer, r proof.Report) error {
	var text strings.Builder
	verdict := "Proven."
	if !r.Proven {
		verdict = "Not proven: the file agrees with itself, and no more."
	}
	fmt.Fprintf(&text, "%s\n\n%s\n", verdict, r.Decision)
	if r.Receipt.Wording != "" {
		fmt.Fprintf(&text, "The words shown: %q\n", r.Receipt.Wording)
	}

	text.WriteString("\nWhat was shown:\n")
	for _, sentence := range r.Holds {
		fmt.Fprintf(&text, "- %s\n", sentence)
	}
	text.WriteString("\nWhat was not:\n")
	for _, sentence := range r.DoesNot {
		fmt.Fprintf(&text, "- %s\n", sentence)
	}

	_, err := io.WriteString(w, printable(text.String()))
	return err
}

// printable replaces what could command a terminal: a stranger wrote parts of the text.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
