package http

import (
	"context"
	"maps"
	"sync"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// who names a permission: who may use a route. The zero value is none, so that a route
// without one is noticed.
type who string

// The permissions.
const (
	everyone        who = "everyone"
	scraper         who = "addresses in METRICS_FROM"
	holder          who = "holder of a refresh token" // the handler verifies the token
	self            who = "anyone signed in"
	selfOrStaff     who = "anyone signed in; staff also for others"
	selfOrOverseers who = "anyone signed in; manager, admin also for others"
	staff           who = "field_worker, manager, admin"
	counter         who = "field_worker, manager, admin of a municipality"
	registrars      who = "manager, admin of a municipality"
	overseers       who = "manager, admin"
	auditors        who = "manager, admin; platform admin for all municipalities"
	admins          who = "admin"
	platformAdmins  who = "platform admin"
)

// reach is how far a caller gets with a route. Anything beyond it seems not to exist.
type reach int

// The reaches, each within the next.
const (
	nothing    reach = iota // 403
	own                     // the caller's account, and data about the caller
	ownTenant               // all of the caller's municipality, or of SALGA for its people
	everything              // all municipalities
)

// party is a role; SALGA's admins are a party of their own, and so are programs.
type party string

const (
	anonymous     party = "anonymous"
	platformAdmin party = "platform admin"
	program       party = "program"
)

func partyOf(call commands.Call) party {
	switch {
	case call.IsProgram():
		return program
	case call.User.IsZero():
		return anonymous
	case call.IsPlatformAdmin():
		return platformAdmin
	default:
		return party(call.Role())
	}
}

// permissions is the table of how far each party reaches with each permission; a party
// that is not listed reaches nothing. The guard asks it at every request,
// docs/permissions.md is made from it, and a test calls every route as every party: for
// their own data, their municipality's, another's and SALGA's.
//
// It is made once, and nobody changes it.
//
// What a program reaches depends on its scopes, so the line of a route names the scope:
// see reached. Besides these routes, a program reaches what is open to everybody.
//
//nolint:gochecknoglobals // made once, never written
var permissions = sync.OnceValue(func() map[who]map[party]reach {
	const (
		citizen, worker, manager = party(domain.Citizen), party(domain.FieldWorker), party(domain.Manager)
		admin, liaison           = party(domain.Admin), party(domain.SAPSLiaison)
	)
	open := map[party]reach{
		anonymous: everything, citizen: everything, worker: everything, manager: everything, admin: everything,
		liaison: everything, platformAdmin: everything, program: everything,
	}

	return map[who]map[party]reach{
		everyone: open,
		scraper:  open, // from the addresses in METRICS_FROM
		holder: { // for the session of that token, which no program has
			anonymous: everything, citizen: everything, worker: everything, manager: everything, admin: everything,
			liaison: everything, platformAdmin: everything,
		},
		self: {citizen: own, worker: own, manager: own, admin: own, liaison: own, platformAdmin: own},
		selfOrStaff: {
			citizen: own, worker: ownTenant, manager: ownTenant, admin: ownTenant, liaison: own,
			platformAdmin: ownTenant,
		},
		selfOrOverseers: {
			citizen: own, worker: own, manager: ownTenant, admin: ownTenant, liaison: own,
			platformAdmin: ownTenant,
		},
		staff:          {worker: ownTenant, manager: ownTenant, admin: ownTenant, platformAdmin: ownTenant},
		counter:        {worker: ownTenant, manager: ownTenant, admin: ownTenant}, // SALGA has no residents
		registrars:     {manager: ownTenant, admin: ownTenant},
		overseers:      {manager: ownTenant, admin: ownTenant, platformAdmin: ownTenant},
		auditors:       {manager: ownTenant, admin: ownTenant, platformAdmin: everything},
		admins:         {admin: ownTenant, platformAdmin: ownTenant},
		platformAdmins: {platformAdmin: everything},
	}
})

// reach returns how far a party gets.
func (w who) reach(p party) reach { return permissions()[w][p] }

// reached returns how far each party gets with a route: a program that has the route's
// scope gets as far as staff do.
func (r *route) reached() map[party]reach {
	reached := maps.Clone(permissions()[r.who])
	if r.scope != "" {
		reached[program] = ownTenant
	}
	return reached
}

func (w who) known() bool {
	_, known := permissions()[w]
	return known
}

// account reports whether the caller must be signed in.
func (w who) account() bool { return w.known() && w.reach(anonymous) == nothing }

type reachKey struct{}

// reachOf returns how far the caller of a request gets, as the guard found.
func reachOf(ctx context.Context) reach {
	r, _ := ctx.Value(reachKey{}).(reach)
	return r
}

func (r reach) String() string {
	return [...]string{nothing: "nothing", own: "own", ownTenant: "own tenant", everything: "everything"}[r]
}
