package http

import "time"

// Line is what tests see of a line of the route table.
type Line struct {
	ID, Method, Path, Waits, Who             string
	Account, SignedIn, Command, PlatformOnly bool
	Versioned, Raw, Hidden, Limited          bool
}

// Lines is the route table.
func Lines() []Line {
	var lines []Line
	for _, r := range routes() {
		lines = append(lines, Line{
			ID: r.id, Method: r.method, Path: r.path, Waits: r.waits, Who: string(r.who), Account: r.who.account(), SignedIn: r.who == signedIn,
			Command: r.command(), PlatformOnly: r.who == platformAdmins, Versioned: r.versioned, Raw: r.raw != nil, Hidden: r.hidden,
			Limited: r.rate != unlimited,
		})
	}
	return lines
}

// FirstFault gives the first fault of the route table, or of the line with this id after change has spoilt it.
func FirstFault(id, spoil string) error {
	for _, r := range routes() {
		if r.id == id {
			switch spoil {
			case "who":
				r.who = ""
			case "unknown who":
				r.who = "the cat"
			case "rate":
				r.rate = ""
			case "handler":
				r.serve, r.raw = nil, nil
			case "waits":
				r.waits = ""
			case "id":
				r.id = ""
			}
		}
		if err := r.validate(); err != nil {
			return err
		}
	}
	return nil
}

// StatusOf gives a code's status.
func StatusOf(code string) (int, bool) {
	for c, status := range statuses() {
		if string(c) == code {
			return status, true
		}
	}
	return 0, false
}

// EdgeCodes are the codes that only this package knows.
func EdgeCodes() []string {
	return []string{
		string(codeMalformed), string(codeUnsupportedMedia), string(codeTooLarge), string(codeMethodNotAllowed),
		string(codeRateLimited), string(codeInternal),
	}
}

// IfMatch is ifMatch.
func IfMatch(headers ...string) (int, error) { return ifMatch(headers) }

// NewLimiter is newLimiter; the function is its take.
func NewLimiter(count int, per time.Duration, now func() time.Time) func(string) (time.Duration, bool) {
	return newLimiter(Limit{Count: count, Per: per}, now).take
}

// Verify tells whether a token of a kind is accepted.
func (t Tokens) Verify(kind, text string) error {
	_, err := t.verify(kind, text)
	return err
}

// StrictJSON is strictJSON.
func StrictJSON(data []byte, v any) error { return strictJSON(data, v) }
