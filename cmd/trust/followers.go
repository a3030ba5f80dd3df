package main

import (
	"slices"
	"strings"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/relay"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/webhooks"
)

// followers lists everything that follows the log. Each has a process of its own under
// trust up, a name that trust project takes, and a line in trust status. To add one, add
// it here.
func followers() []follow.Follower {
	return append(projections.Followers(), &seal.Sealer{}, &webhooks.Follower{})
}

// observed lists what status and metrics show: besides followers, the relay, if the
// settings say where to. It has a command of its own, because it needs more than the log.
func observed(c *settings.Config) []follow.Follower {
	all := followers()
	if c.Relay.URL != "" {
		all = append(all, &relay.Relay{})
	}
	return all
}

// namesOf lists the names of followers, as help texts and errors show them.
func namesOf[F follow.Follower](all []F) []string {
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.Name()
	}
	return names
}

// choose returns followers by name, each once; "all" names all of them. what is their
// name in a refusal.
func choose[F follow.Follower](what string, from []F, names []string) ([]F, error) {
	known, wanted := namesOf(from), map[string]bool{}
	for _, name := range names {
		if name != "all" && !slices.Contains(known, name) {
			return nil, exit.WrongUsage("there is no %s %q; choose from %s, or all", what, name,
				strings.Join(known, ", "))
		}
		wanted[name] = true
	}

	var chosen []F
	for _, f := range from {
		if wanted["all"] || wanted[f.Name()] {
			chosen = append(chosen, f)
		}
	}
	return chosen, nil
}
