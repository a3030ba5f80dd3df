package http

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
)

// SystemState is how far the log and its followers are.
type SystemState struct {
	Head      int64     // the log's newest position
	Log       uuid.UUID // which log it is
	Followers []FollowerState
	Warnings  []Warning
	CheckedAt time.Time
}

// FollowerState is how far one follower is.
type FollowerState struct {
	Name     string
	Position int64
	Lag      int64  // in events
	State    string // running, halted or stopped
	// Ahead says that it has applied events which the log does not hold.
	Ahead bool
	// Error says why it halted or, without ErrorSince, why its leader stepped down. It
	// holds nothing personal; empty: there was none.
	Error      string
	ErrorSince time.Time // zero: it did not halt
	SeenAt     time.Time // its last sign of life; zero: never
}

// Warning is a problem that an operator must resolve.
type Warning struct {
	Code   string `json:"code" enum:"no_writes,recorded_in_future,clock_differs,replica_unused" doc:"no_writes: nothing is recorded. recorded_in_future: the newest event was recorded ahead of the database's clock. clock_differs: the clocks of server and database are more than 5 s apart, so nothing is recorded. replica_unused: the replica is behind, away or no copy of the database, so queries are read on the primary."`
	Detail string `json:"detail" doc:"The same in words, for an operator." example:"the database is read-only"`
}

type systemBody struct {
	Position  int64          `json:"position" doc:"The log's newest position." example:"1043"`
	Log       uuid.UUID      `json:"log" format:"uuid" doc:"The id of the log that positions belong to."`
	CheckedAt instant        `json:"checked_at" doc:"When this was looked up."`
	Followers []followerBody `json:"followers" nullable:"false" doc:"What follows the log, such as read tables, in order of name."`
	Warnings  []Warning      `json:"warnings" nullable:"false" doc:"Trouble that an operator must resolve."`
}

type followerBody struct {
	Name       string   `json:"name" example:"users"`
	Position   int64    `json:"position" doc:"It has applied every event up to here." example:"1043"`
	Lag        int64    `json:"lag" doc:"How many events it has yet to read." example:"0"`
	State      string   `json:"state" enum:"running,halted,stopped" doc:"halted: it does not get past the event after its position. stopped: no process runs it."`
	CaughtUp   bool     `json:"caught_up" doc:"It has applied all that the log holds." example:"true"`
	Ahead      bool     `json:"ahead" doc:"It has applied events that the log does not hold, because the log went backwards." example:"false"`
	LastError  *string  `json:"last_error" doc:"Why it halted or, if error_since is null, why its leading process last stepped down; null: no error." example:"event 1044: the event's JSON is malformed"`
	ErrorSince *instant `json:"error_since" nullable:"true" doc:"Since when it has been halted; null: it is not."`
	SeenAt     *instant `json:"seen_at" nullable:"true" doc:"Its last sign of life; null: it never ran."`
}

func followerOf(f FollowerState) followerBody {
	return followerBody{
		Name: f.Name, Position: f.Position, Lag: f.Lag, State: f.State, CaughtUp: f.Lag == 0 && !f.Ahead,
		Ahead: f.Ahead, LastError: orNull(f.Error), ErrorSince: instantOrNull(f.ErrorSince),
		SeenAt: instantOrNull(f.SeenAt),
	}
}

type systemOutput struct {
	Body systemBody `nameHint:"System"`
}

// system shows how far the log and its followers are, as trust status does.
func (s *server) system(ctx context.Context, _ commands.Call, _ *struct{}) (*systemOutput, error) {
	state, err := s.config.System(ctx)
	if err != nil {
		return nil, err
	}

	return &systemOutput{Body: systemBody{
		Position: state.Head, Log: state.Log, CheckedAt: instant(state.CheckedAt),
		Followers: each(state.Followers, followerOf), Warnings: append([]Warning{}, state.Warnings...),
	}}, nil
}
