package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/eventstore/seal"
)

// sealing returns how far the log is signed and cosigned, and what is wrong with that. A
// policy that cannot be read is a trouble of its own, and hides nothing else.
func sealing(ctx context.Context, o *opened) (p seal.Progress, troubles []string, err error) {
	policy, _, unread := logPolicy(o.config)
	if p, err = seal.ReadProgress(ctx, o.pool, policy); err != nil {
		return p, nil, err
	}

	if unread != nil {
		troubles = append(troubles, "no witness is asked, and no cosignature counted: "+exit.OneLine(unread))
	}
	return p, append(troubles, witnessTroubles(p)...), nil
}

// checkpoint is a line of trust status about one of the newest checkpoints.
type checkpoint struct {
	By         string `json:"by"` // signed, cosigned (by enough witnesses), or by a witness
	Size       int64  `json:"size"`
	NotCovered int64  `json:"not_covered"`
	Age        int64  `json:"age_seconds"`
}

// checkpoints returns the newest checkpoints: that was signed, that enough witnesses
// cosigned, and that each of them did. Nobody cosigns without witnesses.
func checkpoints(p seal.Progress) (all []checkpoint) {
	add := func(by string, c seal.Covered) {
		all = append(all, checkpoint{by, c.Size, p.Behind(c), int64(c.Age.Seconds())})
	}

	add("signed", p.Signed)
	if len(p.Witnesses) > 0 {
		add("cosigned", p.Cosigned)
	}
	for _, w := range p.Witnesses {
		add("by "+w.Witness.Name, w.Cosigned)
	}
	return all
}

func writeCheckpoints(p *program, newest []checkpoint) error {
	table := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
	if _, err := fmt.Fprint(table, "checkpoint\tevents\tnot covered\tage\n"); err != nil {
		return err
	}
	for _, c := range newest {
		age := (time.Duration(c.Age) * time.Second).String()
		if c.Size == 0 {
			age = "never"
		}
		if _, err := fmt.Fprintf(table, "%s\t%d\t%d\t%s\n", c.By, c.Size, c.NotCovered, age); err != nil {
			return err
		}
	}
	return table.Flush()
}
