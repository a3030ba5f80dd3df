package http

import (
	"context"
	"crypto/sha256"
	"maps"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/http/sharedcount"
)

// Line is a line of the route table as tests see it.
type Line struct {
	ID, Method, Path, Waits         string
	Account, Command                bool
	Versioned, Raw, Hidden, Limited bool
	Scope                           domain.Scope
	Form                            bool
	ReadsLog                        bool
	// Reaches are kept by party.
	Reaches map[string]string
}

// Lines returns the route table of the API.
func Lines() []Line { return linesOf(routes()) }

// PageLines returns the part of the table that is for people.
func PageLines() []Line { return linesOf(pages()) }

func linesOf(table []route) []Line {
	var lines []Line
	for _, r := range table {
		reaches := map[string]string{}
		for _, p := range parties() {
			reaches[string(p)] = r.reached()[p].String()
		}
		lines = append(lines, Line{
			ID: r.id, Method: r.method, Path: r.path, Waits: r.waits,
			Reaches: reaches,
			Account: r.who.account(), Command: r.command(), Versioned: r.versioned, Raw: r.raw != nil, Hidden: r.hidden,
			Limited: r.rate != unlimited, ReadsLog: r.readsLog(), Scope: r.scope, Form: r.form,
		})
	}
	return lines
}

// parties returns all parties.
func parties() []party {
	all := []party{anonymous}
	for _, role := range domain.Roles() {
		all = append(all, party(role))
	}
	return append(all, platformAdmin, program)
}

// FirstFault returns the first fault of the route table, after spoiling one thing in the
// line with this id.
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

// RefusalOf is refusalOf.
func RefusalOf(code domain.Code) (status int, example string) {
	r, _ := refusalOf(code)
	return r.status, r.example
}

// EdgeCodes are the codes that only this package knows.
func EdgeCodes() []domain.Code { return slices.Sorted(maps.Keys(edgeRefusals())) }

// IfMatch is ifMatch.
func IfMatch(headers ...string) (int, error) { return ifMatch(headers) }

// ClientAddress is clientAddress.
func ClientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	return clientAddress(r, trusted)
}

// NewLimiter returns the take of a limiter that newLimiter makes.
func NewLimiter(count int, per time.Duration, now func() time.Time) func(string) (time.Duration, bool) {
	l := newLimiter(Limit{Count: count, Per: per}, now)
	return func(key string) (time.Duration, bool) {
		sum := sha256.Sum256([]byte(key))
		return l.take(limitKey(sum[:]))
	}
}

// SharedLimiter is a gate of one process.
type SharedLimiter struct{ gate *gate }

// NewSharedLimiter returns the gate of a process that counts in Redis, if that is there.
func NewSharedLimiter(limit Limit, shared *sharedcount.Redis, now func() time.Time) SharedLimiter {
	return SharedLimiter{&gate{name: "test", limit: limit, shared: shared, memory: newLimiter(limit, now)}}
}

// Take is take.
func (l SharedLimiter) Take(ctx context.Context, key byte) (time.Duration, bool) {
	return l.gate.take(ctx, limitKey{key})
}

// Over is over.
func (l SharedLimiter) Over(ctx context.Context, key byte) int {
	return l.gate.over(ctx, limitKey{key})
}

// GiveBack is giveBack.
func (l SharedLimiter) GiveBack(ctx context.Context, key byte) { l.gate.giveBack(ctx, limitKey{key}) }

// Delay is delay.
func Delay(over int) time.Duration { return delay(over) }

// Verify tells whether a token of a kind is accepted.
func (t Tokens) Verify(kind, text string) error {
	_, err := t.verify(text, kind)
	return err
}

// StrictJSON is strictJSON.
func StrictJSON(data []byte, v any) error { return strictJSON(data, v) }

// PermissionsPage returns docs/permissions.md.
func PermissionsPage() string {
	var page strings.Builder
	page.WriteString(permissionsIntroduction)
	row := func(cells ...string) { page.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

	head := []string{"route"}
	for _, p := range parties() {
		head = append(head, string(p))
	}

	row(head...)
	row(slices.Repeat([]string{"---"}, len(head))...)

	for _, r := range routes() {
		if r.hidden {
			continue
		}
		cells := []string{"`" + r.method + " " + strings.TrimPrefix(r.path, "/api/v1") + "`"}

		for _, p := range parties() {
			cell := map[reach]string{
				nothing: "–", own: "own", ownTenant: "own tenant", everything: "all",
			}[r.reached()[p]]
			if p == program && r.scope != "" {
				cell = "`" + string(r.scope) + "`"
			}
			if r.who == holder && p != program {
				cell = "own session"
			}
			if r.who == scraper {
				cell = "by address"
			}
			cells = append(cells, cell)
		}
		row(cells...)
	}

	return page.String()
}

const permissionsIntroduction = `# Who may do what

Made from the table in [http/permissions.go](../http/permissions.go), which the server consults at every request. A test
calls every cell over HTTP. All paths but the first few are below ` + "`/api/v1`" + `. A role is the
current one, not the one in the token.

- **–**: 403, or 401 without a sign-in. **own**: your own account and records about you. **own tenant**: everything in
  your municipality, or in SALGA for its own staff. **all**: everything in every municipality.
- A request for anything beyond a party's reach is answered exactly as if the thing did not exist.
- *platform admin* is an administrator of SALGA. In the audit log they see the personal values of municipalities sealed.
- Field workers find people only by their exact e-mail address, phone number or external id.
- *program*: a service account of your municipality. The cell names the scope that its token needs; with it, a program
  reaches everything of that kind in its municipality.
- *own session*: the holder of the refresh token. *by address*: callers from the networks in ` + "`METRICS_FROM`" + `.

`

// FromTags is exampleOf for the schema of a value's type.
func FromTags(v any) (any, error) {
	schemas := huma.NewMapRegistry(schemaPrefix, huma.DefaultSchemaNamer)
	return exampleOf(schemas, "it", schemas.Schema(reflect.TypeOf(v), true, "It"))
}
