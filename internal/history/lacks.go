package history

import (
	"fmt"

	"github.com/google/uuid"
)

// Lacks returns what is missing from a run that its verdict needs to mean anything: that
// no rule was broken says nothing if nothing could have broken it.
func Lacks(run Run) (lacks []string) {
	there := make(map[uuid.UUID]bool, len(run.Appends))
	for _, e := range run.Log {
		there[e.Append] = true
	}

	outcomes, unknown, end := map[Outcome]int{}, 0, Moment(0)
	for _, a := range run.Appends {
		outcomes[a.Outcome]++
		if a.Outcome == Unknown && there[a.ID] {
			unknown++
		}
		end = max(end, a.Answered)
	}

	demand := func(n int, what string, args ...any) {
		if n == 0 {
			lacks = append(lacks, fmt.Sprintf(what, args...))
		}
	}
	demand(outcomes[Added], "no append was acknowledged")
	demand(outcomes[Conflicting], "no append met a conflict")
	demand(outcomes[Taken], "no append asked for a claim that was taken")
	demand(outcomes[Refused], "no append was refused")
	demand(unknown, "no append of unknown outcome is in the log")
	demand(len(run.Looks), "no reader looked")
	demand(len(run.Reads), "there are no reads")
	demand(len(run.Tables), "there are no read tables")
	for _, t := range run.Tables {
		demand(len(t.Rows), "%s has no rows", t.Name)
	}

	return append(lacks, stopped(run.Looks, end)...)
}

// stopped names the readers that did not look again after the last answer, so that nobody
// knows what they would have seen.
func stopped(looks []Look, end Moment) (lacks []string) {
	newest := map[int]Moment{}
	for _, l := range looks {
		newest[l.Reader] = max(newest[l.Reader], l.Began)
	}
	for reader, began := range newest {
		if began < end {
			lacks = append(lacks, fmt.Sprintf("reader %d did not look after the last answer", reader))
		}
	}
	return lacks
}
