package domain

import (
	"time"

	"github.com/google/uuid"
)

// Events of a user's session stream. Sessions are not folded: the open ones are in the
// command side's own table, written in the same append.
type (
	// SessionStarted says that somebody signed in.
	SessionStarted struct {
		SessionID uuid.UUID `json:"session_id"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	// SessionEnded says that one session, all, or all but one ended.
	SessionEnded struct {
		// SessionID is zero with ScopeAll, and the session that goes on with ScopeOthers.
		SessionID uuid.UUID `json:"session_id,omitzero"`
		Scope     string    `json:"scope"` // ScopeOne, ScopeAll or ScopeOthers
		Cause     string    `json:"cause"`
	}
	// SessionReuseDetected says that an old refresh token was used again: either it or
	// its successor was stolen. The whole family ends.
	SessionReuseDetected struct {
		SessionID uuid.UUID `json:"session_id"`
	}
	// SignInFailed says that sign-in to a known account failed, or another check of its
	// password, such as one within a session. At most one is recorded per minute and
	// account, with the number of failures since the last, so that strangers cannot fill
	// the log.
	SignInFailed struct {
		Count int `json:"count"`
		// Cause is that of the newest failure: for a sign-in "password",
		// "account_inactive", "municipality_inactive" or, if the password was right,
		// FailedByCode; FailedByOneTimeCode; otherwise the command that had the password
		// checked, such as "user.change_password".
		Cause string `json:"cause"`
	}
)

// What a SessionEnded ends.
const (
	ScopeOne    = "one"
	ScopeAll    = "all"
	ScopeOthers = "others"
)

// Why sessions end.
const (
	CauseLogout          = "logout"
	CausePasswordChanged = "password_changed"
	CauseDeactivated     = "deactivated"
	CauseReuse           = "reuse"
	CauseSecondFactor    = "second_factor_changed"
)

const (
	// FailedByCode is the cause of a failed sign-in whose password was right.
	FailedByCode = "totp"
	// FailedByOneTimeCode is the cause where somebody had a user's one-time code half
	// right.
	FailedByOneTimeCode = "one_time_code"
)

// EventType implements Event.
func (*SessionStarted) EventType() string { return "session.started.v1" }

// EventType implements Event.
func (*SessionEnded) EventType() string { return "session.ended.v1" }

// EventType implements Event.
func (*SessionReuseDetected) EventType() string { return "session.reuse_detected.v1" }

// EventType implements Event.
func (*SignInFailed) EventType() string { return "session.sign_in_failed.v1" }

func (*SessionReuseDetected) changes() []FieldChange {
	return []FieldChange{turned("reuse_detected", true)}
}

// RecordID returns the session the event is about.
func (e *SessionStarted) RecordID() uuid.UUID { return e.SessionID }

// RecordID returns the session the event is about, or none if all end.
func (e *SessionEnded) RecordID() uuid.UUID { return e.SessionID }

// RecordID returns the session the event is about.
func (e *SessionReuseDetected) RecordID() uuid.UUID { return e.SessionID }
