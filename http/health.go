package http

import (
	"context"
	"slices"
	"strings"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// ReadyState is what keeps the system from serving well.
type ReadyState struct {
	// Failed are the failed parts without which it cannot serve: database, migrations,
	// keys, importing.
	Failed []string
	// Why says more than the names of the parts, in words for operators and without
	// values.
	Why string
	// Projectors are those that are not up to date.
	Projectors []ProjectorState
	// Warnings are problems to resolve while it serves: recorded_in_future,
	// clock_differs, replica_unused.
	Warnings []string
}

// ProjectorState is a projector that is not up to date.
type ProjectorState struct {
	Name  string `json:"name" example:"users"`
	State string `json:"state" doc:"behind or halted" example:"behind"`
}

type healthOutput struct {
	Body struct {
		Status  string `json:"status" enum:"healthy"`
		Version string `json:"version" example:"1.0.0"`
	} `nameHint:"Health"`
}

func (s *server) health(context.Context, commands.Call, *struct{}) (*healthOutput, error) {
	var out healthOutput
	out.Body.Status, out.Body.Version = "healthy", s.config.Version
	return &out, nil
}

type readyOutput struct {
	Body struct {
		Status     string           `json:"status" enum:"ready,degraded"`
		Projectors []ProjectorState `json:"projectors,omitempty" nullable:"false" doc:"Those behind or halted."`
		Warnings   []string         `json:"warnings,omitempty" nullable:"false" enum:"recorded_in_future,clock_differs,replica_unused" doc:"Trouble that an operator must resolve while the system serves. recorded_in_future: the newest event was recorded ahead of the database's clock. clock_differs: the clocks of server and database are more than 5 s apart, so nothing is recorded. replica_unused: the replica is behind, away or no copy of the database, so queries are read on the primary."`
	} `nameHint:"Ready"`
}

func (s *server) ready(ctx context.Context, _ commands.Call, _ *struct{}) (*readyOutput, error) {
	state := s.config.Ready(ctx)

	if len(state.Failed) > 0 {
		e := domain.Refuse(domain.CodeUnavailable, "Not ready: %s.", strings.Join(state.Failed, ", "))
		if state.Why != "" {
			e = domain.Refuse(domain.CodeUnavailable, "Not ready: %s (%s).", strings.Join(state.Failed, ", "),
				state.Why)
		}
		for _, part := range state.Failed {
			e.Fields = append(e.Fields, domain.FieldError{
				Field: part, Code: "not_ready", Message: "This part is not ready.",
			})
		}
		if slices.Equal(state.Failed, []string{"importing"}) {
			return nil, newProblem(e, nil) // not logged: a first start takes time, and needs no attention
		}
		return nil, e
	}

	var out readyOutput
	out.Body.Status = "ready"
	if len(state.Projectors) > 0 || len(state.Warnings) > 0 {
		out.Body.Status, out.Body.Projectors, out.Body.Warnings = "degraded", state.Projectors, state.Warnings
	}
	return &out, nil
}
