package http

import (
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
)

// Line is what tests see of a line of the route table.
type Line struct {
	ID, Method, Path, Waits         string
	Account, Command                bool
	Versioned, Raw, Hidden, Limited bool
	ReadsLog                        bool
	Reaches                         map[string]string // by party
}

// Lines is the route table.
func Lines() []Line {
	var lines []Line
	for _, r := range routes() {
		reaches := map[string]string{}
		for _, p := range parties() {
			reaches[string(p)] = r.who.reach(p).String()
		}
		lines = append(lines, Line{
			Reaches: reaches,
			ID:      r.id, Method: r.method, Path: r.path, Waits: r.waits, Account: r.who.account(),
			Command: r.command(), Versioned: r.versioned, Raw: r.raw != nil, Hidden: r.hidden,
			Limited: r.rate != unlimited, ReadsLog: r.readsLog(),
		})
	}
	return lines
}

// parties lists all of them.
func parties() []party {
	all := []party{anonymous}
	for _, role := range domain.Roles() {
		all = append(all, party(role))
	}
	return append(all, platformAdmin)
}

// FirstFault gives the first fault of the route table, or of the line with this id after
// change has spoilt it.
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

// NewLimiter is newLimiter; the function is its take.
func NewLimiter(count int, per time.Duration, now func() time.Time) func(string) (time.Duration, bool) {
	l := newLimiter(Limit{Count: count, Per: per}, now)
	return func(key string) (time.Duration, bool) {
		sum := sha256.Sum256([]byte(key))
		return l.take(limitKey(sum[:]))
	}
}

// Delay is delay.
func Delay(over int) time.Duration { return delay(over) }

// Verify tells whether a token of a kind is accepted.
func (t Tokens) Verify(kind, text string) error {
	_, err := t.verify(kind, text)
	return err
}

// StrictJSON is strictJSON.
func StrictJSON(data []byte, v any) error { return strictJSON(data, v) }

// PermissionsPage is docs/permissions.md.
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
			cell := map[reach]string{nothing: "–", own: "own", ownTenant: "own tenant",
				everything: "all"}[r.who.reach(p)]
			if r.who == holder {
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

Made from the table in [http/permissions.go](../http/permissions.go), which the server asks at every request; a test calls every cell over
HTTP. Paths are below ` + "`/api/v1`" +
	`, but for the first ones. Roles are those of this moment, not those of the token.

- **–**: 403 (401 for who is not signed in). **own**: the own account and what is about oneself. **own tenant**: everything of the own
  municipality, or of SALGA for its own people. **all**: of every municipality.
- What lies beyond somebody's reach answers exactly as if it were not there.
- *platform admin* is an admin of SALGA. What they see of municipalities in the audit log has personal values sealed.
- Field workers find people by their exact e-mail address or phone number only.
- *own session*: whoever holds the refresh token. *by address*: from the networks in ` + "`METRICS_FROM`" + `.

`

// FromTags is exampleOf for the schema of a value's type.
func FromTags(v any) (any, error) {
	schemas := huma.NewMapRegistry(schemaPrefix, huma.DefaultSchemaNamer)
	return exampleOf(schemas, "it", schemas.Schema(reflect.TypeOf(v), true, "It"))
}
