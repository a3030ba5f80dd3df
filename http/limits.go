package http

import (
	"context"
	"encoding/base64"
	"net/netip"
	"sync"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/http/sharedcount"
)

// Limit is how often something may be done.
type Limit struct {
	Count int
	Per   time.Duration
}

// Limits are the rate limits. Each can be set.
type Limits struct {
	LoginAccount    Limit // password checks for one account from one address
	LoginSlow       Limit // password checks for one account; beyond it they are slowed, not refused
	LoginAddress    Limit // password checks from one address
	RegisterEmail   Limit // registrations of one e-mail address
	RegisterAddress Limit // registrations from one address: kiosks, carrier NAT
	ResetEmail      Limit // letters with a code to one e-mail address
	ResetAddress    Limit // requests for such a letter from one address
	RedeemAddress   Limit // one-time codes tried from one address
	Export          Limit // exports of one's own data
	Erasure         Limit // erasures of oneself, with the right password
	Account         Limit // everything else that one account does
	Service         Limit // everything that one program does
	SignedInAddress Limit // everything that needs an account, from one address
	Address         Limit // everything that needs no account, from one address
	Assets          Limit // the documentation and the assets of pages, from one address
}

// DefaultLimits returns those of the contract. The last three are ours: a municipality's
// whole office may share one address.
func DefaultLimits() Limits {
	return Limits{
		LoginAccount:    Limit{5, time.Minute},
		LoginSlow:       Limit{30, time.Minute},
		LoginAddress:    Limit{30, time.Minute},
		RegisterEmail:   Limit{3, time.Hour},
		RegisterAddress: Limit{30, time.Hour},
		ResetEmail:      Limit{3, time.Hour},
		ResetAddress:    Limit{30, time.Hour},
		RedeemAddress:   Limit{30, time.Minute},
		Export:          Limit{5, time.Hour},
		Erasure:         Limit{1, 24 * time.Hour},
		Account:         Limit{60, time.Minute},
		Service:         Limit{6000, time.Minute},
		SignedInAddress: Limit{3000, time.Minute},
		Address:         Limit{600, time.Minute},
		Assets:          Limit{300, time.Minute},
	}
}

// whole reports whether every limit lets something through: one that was not set would
// refuse everything.
func (l Limits) whole() bool {
	for _, one := range []Limit{
		l.LoginAccount, l.LoginSlow, l.LoginAddress, l.RegisterEmail, l.RegisterAddress, l.ResetEmail, l.ResetAddress,
		l.RedeemAddress, l.Export, l.Erasure, l.Account, l.Service, l.SignedInAddress, l.Address, l.Assets,
	} {
		if one.Count < 1 || one.Per <= 0 {
			return false
		}
	}
	return true
}

// rate is how often a route may be used: see the route table.
type rate string

// The classes of limits. The zero value is not one of them, so that a route without a
// class is noticed.
const (
	// unlimited is for monitoring, which must get its answer even while its address is
	// flooded: /health touches nothing, /ready checks once at a time for all who ask, and
	// /metrics is open to a few addresses of ours.
	unlimited rate = "unlimited"
	// assetRate and publicRate count by address.
	assetRate  rate = "assets"
	publicRate rate = "public"
	// accountRate and exportRate count by account and by address.
	accountRate rate = "account"
	exportRate  rate = "export"
	// programRate counts by service account, on whatever route, in place of the route's
	// own class.
	programRate rate = "program"
	// erasureRate counts by account. The handler asks its gate itself, since only some
	// attempts count.
	erasureRate rate = "erasure"
	// loginRate counts by address, by account and address, and by account; see guess.
	loginRate rate = "login"
	// registerRate counts by address and by e-mail address.
	registerRate rate = "register"
	// resetRate counts by address and by e-mail address, of all letters with a code.
	resetRate rate = "reset"
	// redeemRate counts by address: a code that is nobody's is counted against nobody.
	redeemRate rate = "redeem"
)

// gates are those of one class: for addresses, for persons, and for those who are slowed.
// Nil: none.
type gates struct{ address, person, slow *gate }

// newGates makes the gates of all classes. The names are those of their keys in Redis.
func newGates(l Limits, on bool, now func() time.Time, shared *sharedcount.Redis) map[rate]gates {
	if !on {
		return map[rate]gates{}
	}

	at := func(name string, limit Limit) *gate {
		return &gate{name: name, limit: limit, shared: shared, memory: newLimiter(limit, now)}
	}
	signedIn := at("signed-in-address", l.SignedInAddress)
	return map[rate]gates{
		assetRate:   {address: at("assets", l.Assets)},
		publicRate:  {address: at("address", l.Address)},
		accountRate: {address: signedIn, person: at("account", l.Account)},
		exportRate:  {address: signedIn, person: at("export", l.Export)},
		programRate: {person: at("service", l.Service)},
		erasureRate: {person: at("erasure", l.Erasure)},
		loginRate: {
			address: at("login-address", l.LoginAddress), person: at("login-account", l.LoginAccount),
			slow: at("login-slow", l.LoginSlow),
		},
		resetRate:  {address: at("reset-address", l.ResetAddress), person: at("reset-email", l.ResetEmail)},
		redeemRate: {address: at("redeem-address", l.RedeemAddress)},
		registerRate: {
			address: at("register-address", l.RegisterAddress), person: at("register-email", l.RegisterEmail),
		},
	}
}

// gate is where one limit is counted: in Redis, for all processes together, if there is
// one and it answers, and in the memory of this process. What passes is counted in memory
// either way, so that nobody begins anew when Redis goes away.
type gate struct {
	name   string
	limit  Limit
	shared *sharedcount.Redis
	memory *limiter
}

// take counts one request, or returns how long to wait.
func (g *gate) take(ctx context.Context, key limitKey) (wait time.Duration, ok bool) {
	wait, counted := g.shared.Take(ctx, g.named(key), sharedcount.Limit(g.limit))
	if !counted {
		return g.memory.take(key)
	}

	if wait == 0 {
		_, _ = g.memory.take(key)
	}
	return wait, wait == 0
}

// over counts one request even beyond the limit, and returns by how many the limit is
// exceeded.
func (g *gate) over(ctx context.Context, key limitKey) int {
	here := g.memory.over(key)
	if over, counted := g.shared.Over(ctx, g.named(key), sharedcount.Limit(g.limit), g.limit.Count+slowSteps); counted {
		return over
	}
	return here
}

// giveBack removes the newest count.
func (g *gate) giveBack(ctx context.Context, key limitKey) {
	g.memory.giveBack(key)
	g.shared.GiveBack(ctx, g.named(key))
}

// named returns the key of this gate in Redis.
func (g *gate) named(key limitKey) string {
	return g.name + ":" + base64.RawURLEncoding.EncodeToString(key[:])
}

// pass counts a request at a gate under the key made of the parts. A nil gate lets
// everything through.
func (s *server) pass(ctx context.Context, at *gate, parts ...string) error {
	if at == nil {
		return nil
	}
	if wait, ok := at.take(ctx, s.limitKey(parts...)); !ok {
		return newProblem(domain.Refuse(codeRateLimited, "Too many requests; try again later."), nil).retry(wait)
	}
	return nil
}

// giveBack undoes the last count of pass.
func (s *server) giveBack(ctx context.Context, at *gate, parts ...string) {
	if at != nil {
		at.giveBack(ctx, s.limitKey(parts...))
	}
}

// limitKey returns the key that limits count by: of a fixed size, however much was sent,
// and a keyed digest, so that memory and Redis hold nobody's address, not even an erased
// person's.
func (s *server) limitKey(parts ...string) limitKey {
	sum := s.config.Commands.Store.Digest(append([]string{"limit"}, parts...)...)
	return limitKey(sum[:])
}

// emailKey returns the key that limits of an e-mail address count by: its canonical form,
// since otherwise each spelling would have a limit of its own. Texts too long to be an
// address share one limit.
func emailKey(email string) string {
	if domain.Oversize(email, domain.MaxEmail) {
		return ""
	}
	return domain.CanonicalEmail(email)
}

// guess returns a function that counts each check of a password, whatever needs it: a
// sign-in, a command of a signed-in person, a repeat that must show the first request's
// password. All count together, so that somebody who finds an open session cannot guess
// through it.
//
// The key is the e-mail address alone, which is all that a sign-in has. With the
// municipality in the key, each of its codes would have a limit of its own. Nothing is
// looked up, so an address without an account has the same limits.
func (s *server) guess(rt *route, address netip.Addr) func(ctx context.Context, email string) error {
	if !s.config.RateLimit {
		return nil
	}

	gates, from := s.gates[loginRate], addressKey(address)
	return func(ctx context.Context, email string) error {
		account := emailKey(email)
		if rt.rate != loginRate { // a sign-in's address was counted before its body was read
			if err := s.pass(ctx, gates.address, from); err != nil {
				return err
			}
		}
		if err := s.pass(ctx, gates.person, account, from); err != nil {
			return err
		}
		return s.slow(ctx, gates.slow.over(ctx, s.limitKey(account)))
	}
}

// A password check beyond the limit of its account waits: a tenth of a second for the
// first one over, two tenths for the second, and so on, up to three seconds. So the owner
// still gets in while others guess from many addresses, and each of them can try less in
// a minute. The check waits before anything is looked up, so it holds no database
// connection and no turn to hash; and for at most half of the time that its request has
// left.
const (
	slowStep  = 100 * time.Millisecond
	slowSteps = 30
	// maxWaiting bounds how many requests wait at once. Beyond it, a request is told that
	// the system is busy: only somebody with more than a thousand addresses can send that
	// many.
	maxWaiting = 1000
)

// delay returns how long a check waits when it is this many over the limit.
func delay(over int) time.Duration { return min(time.Duration(over), slowSteps) * slowStep }

// slow makes a password check wait when it is over the limit by this many.
func (s *server) slow(ctx context.Context, over int) error {
	pause := delay(over)
	if deadline, has := ctx.Deadline(); has {
		pause = min(pause, time.Until(deadline)/2)
	}
	if pause <= 0 {
		return nil
	}

	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return domain.Refuse(domain.CodeOverloaded, "Too many people are signing in right now; try again.")
	}

	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// limiter counts in memory: in any period of Per, it lets at most Count through. A
// refused request is not counted, so the time to wait is exact. Package sharedcount does
// the same in Redis.
//
// It takes at most 10 MiB: maxKeys keys of some 100 bytes in their maps, and room for
// maxTimes times of 4 bytes (more only if Count is larger). When it is full, it compares
// a few keys and forgets the one with the fewest times, so that a flood of new keys
// forgets its own. A key without a count for two Per is forgotten, and its memory
// released.
type limiter struct {
	limit Limit
	now   func() time.Time
	began time.Time

	mu         sync.Mutex
	young, old map[limitKey][]uint32 // times in milliseconds since began, oldest first
	turned     time.Time             // when young last became old
	times      int                   // how many times both have room for
	sweep      *time.Timer           // turns even if no more requests come
}

// limitKey is a keyed digest of 128 bits: nobody can find two texts with the same one.
type limitKey [16]byte

const (
	maxKeys  = 1 << 16
	maxTimes = 1 << 19
	// compared is how many keys are compared to find one to forget.
	compared = 8
)

func newLimiter(limit Limit, now func() time.Time) *limiter {
	l := &limiter{limit: limit, now: now, began: now(), turned: now(), young: map[limitKey][]uint32{}}
	l.sweep = time.AfterFunc(limit.Per, l.sweepUp)
	l.sweep.Stop()
	return l
}

// take counts one request, or returns how long to wait.
func (l *limiter) take(key limitKey) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()

	now := l.clock()
	times := l.current(key, now)
	if len(times) >= l.limit.Count {
		l.put(key, times)
		oldest := times[len(times)-l.limit.Count]
		return l.limit.Per - time.Duration(now-oldest)*time.Millisecond, false
	}

	l.put(key, append(times, now))
	return 0, true
}

// over counts one request even beyond the limit, and returns by how many the limit is
// exceeded.
func (l *limiter) over(key limitKey) int {
	l.mu.Lock()
	defer l.mu.Unlock()

	now := l.clock()
	times := append(l.current(key, now), now)
	if most := l.limit.Count + slowSteps; len(times) > most {
		times = times[:copy(times, times[len(times)-most:])]
	}
	l.put(key, times)
	return max(0, len(times)-l.limit.Count)
}

// giveBack removes the newest count.
func (l *limiter) giveBack(key limitKey) {
	l.mu.Lock()
	defer l.mu.Unlock()

	if times := l.current(key, l.clock()); len(times) > 0 {
		l.put(key, times[:len(times)-1])
	}
}

// clock returns the time in milliseconds since began. It also forgets old keys.
func (l *limiter) clock() uint32 {
	now := l.now()
	l.turn(now)
	// It wraps after 49 days, and so do all differences.
	return uint32(now.Sub(l.began).Milliseconds())
}

// turn forgets keys without a count for Per: each key that is counted moves to the young.
func (l *limiter) turn(now time.Time) {
	age := now.Sub(l.turned)
	if age < l.limit.Per {
		return
	}

	l.drop(l.old)
	l.old = l.young
	if age >= 2*l.limit.Per {
		l.drop(l.old)
		l.old = nil
	}
	l.young, l.turned = map[limitKey][]uint32{}, now
}

func (l *limiter) drop(keys map[limitKey][]uint32) {
	for _, times := range keys {
		l.times -= cap(times)
	}
}

// sweepUp turns when no more requests come.
func (l *limiter) sweepUp() {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.turn(l.now())
	if len(l.young)+len(l.old) > 0 {
		l.sweep.Reset(l.limit.Per)
	}
}

// current returns the times of a key that still count, moved to the front of the key's
// own memory. The caller must put them back.
func (l *limiter) current(key limitKey, now uint32) []uint32 {
	times, known := l.young[key]
	if !known {
		times = l.old[key]
	}

	gone := 0
	for gone < len(times) && time.Duration(now-times[gone])*time.Millisecond >= l.limit.Per {
		gone++
	}
	return times[:copy(times, times[gone:])]
}

// put stores a key's times among the young.
func (l *limiter) put(key limitKey, times []uint32) {
	for _, keys := range []map[limitKey][]uint32{l.young, l.old} {
		l.times -= cap(keys[key])
		delete(keys, key)
	}
	l.makeRoom(cap(times))

	if len(l.young) == 0 {
		l.sweep.Reset(l.limit.Per)
	}
	l.times += cap(times)
	l.young[key] = times
}

// makeRoom forgets keys until there is room for one more.
func (l *limiter) makeRoom(times int) {
	for n := len(l.young) + len(l.old); n > 0 && (n >= maxKeys || l.times+times > maxTimes); n-- {
		l.forgetOne()
	}
}

// forgetOne compares a few keys and forgets the one with the fewest times.
func (l *limiter) forgetOne() {
	var from map[limitKey][]uint32
	var least limitKey

	for _, keys := range []map[limitKey][]uint32{l.old, l.young} {
		n := 0
		for key, times := range keys {
			if from == nil || len(times) < len(from[least]) {
				from, least = keys, key
			}
			if n++; n == compared {
				break
			}
		}
	}

	l.times -= cap(from[least])
	delete(from, least)
}
