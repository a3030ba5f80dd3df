package http

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/salga-trust/engine/domain"
)

// Limit is how often something may be done.
type Limit struct {
	Count int
	Per   time.Duration
}

// Limits are the rate limits, each settable.
type Limits struct {
	LoginAccount Limit // checks of the password of an account from an address
	// checks of the password of an account from all addresses; beyond it each is slowed,
	// none refused
	LoginSlow       Limit
	LoginAddress    Limit // checks of passwords from an address
	RegisterEmail   Limit // registrations of an e-mail address
	RegisterAddress Limit // registrations from an address: kiosks, carrier NAT
	Export          Limit // exports of one's own data
	Erasure         Limit // erasures of oneself, once the password was right
	Account         Limit // everything else of an account
	SignedInAddress Limit // everything that needs an account, from an address
	Address         Limit // everything that needs no account, from an address
	Assets          Limit // the documentation and what belongs to pages, from an address
}

// DefaultLimits are those of the contract. The last three are ours: a municipality's
// whole office may sit behind one address.
func DefaultLimits() Limits {
	return Limits{
		LoginAccount:    Limit{5, time.Minute},
		LoginSlow:       Limit{30, time.Minute},
		LoginAddress:    Limit{30, time.Minute},
		RegisterEmail:   Limit{3, time.Hour},
		RegisterAddress: Limit{30, time.Hour},
		Export:          Limit{5, time.Hour},
		Erasure:         Limit{1, 24 * time.Hour},
		Account:         Limit{60, time.Minute},
		SignedInAddress: Limit{3000, time.Minute},
		Address:         Limit{600, time.Minute},
		Assets:          Limit{300, time.Minute},
	}
}

// whole tells whether every limit lets something through: one that was forgotten would
// refuse everything.
func (l Limits) whole() bool {
	for _, one := range []Limit{
		l.LoginAccount, l.LoginSlow, l.LoginAddress, l.RegisterEmail, l.RegisterAddress, l.Export, l.Erasure, l.Account,
		l.SignedInAddress, l.Address, l.Assets,
	} {
		if one.Count < 1 || one.Per <= 0 {
			return false
		}
	}
	return true
}

// rate is how often a route may be used: see the route table.
type rate string

// The classes of limits. The zero value is none of them, so that a route without one is
// noticed.
const (
	// unlimited is for what watches us, which must get its answer also while its address
	// is flooded: /health touches nothing, /ready looks once at a time for all who ask,
	// and /metrics is for few addresses, all ours.
	unlimited    rate = "unlimited"
	assetRate    rate = "assets"   // by address
	publicRate   rate = "public"   // by address
	accountRate  rate = "account"  // by account and address
	exportRate   rate = "export"   // by account and address
	erasureRate  rate = "erasure"  // by account; the handler asks its own gate, since only some attempts count
	loginRate    rate = "login"    // by address, by the account that is tried from it, and by that account; see guess
	registerRate rate = "register" // by address and by e-mail address
)

// gates are the limiters of one class: for addresses, for who is concerned, and for who
// is slowed. Nil: none.
type gates struct{ address, person, slow *limiter }

func newGates(l Limits, on bool, now func() time.Time) map[rate]gates {
	if !on {
		return map[rate]gates{}
	}

	signedIn := newLimiter(l.SignedInAddress, now)
	return map[rate]gates{
		assetRate:   {address: newLimiter(l.Assets, now)},
		publicRate:  {address: newLimiter(l.Address, now)},
		accountRate: {address: signedIn, person: newLimiter(l.Account, now)},
		exportRate:  {address: signedIn, person: newLimiter(l.Export, now)},
		erasureRate: {person: newLimiter(l.Erasure, now)},
		loginRate: {
			address: newLimiter(l.LoginAddress, now), person: newLimiter(l.LoginAccount, now),
			slow: newLimiter(l.LoginSlow, now),
		},
		registerRate: {address: newLimiter(l.RegisterAddress, now), person: newLimiter(l.RegisterEmail, now)},
	}
}

// pass counts a request at a gate under what the parts say; a nil gate lets everything
// through.
func (s *server) pass(gate *limiter, parts ...string) error {
	if gate == nil {
		return nil
	}
	if wait, ok := gate.take(s.limitKey(parts...)); !ok {
		return newProblem(domain.Refuse(codeRateLimited, "Too many requests; try again later."), nil).retry(wait)
	}
	return nil
}

// giveBack takes back what pass counted last.
func (s *server) giveBack(gate *limiter, parts ...string) {
	if gate != nil {
		gate.giveBack(s.limitKey(parts...))
	}
}

// limitKey is what limits count by: of a fixed size however much was sent, and keyed, so
// that the memory holds nobody's address, nor that of a person who was erased.
func (s *server) limitKey(parts ...string) limitKey {
	sum := s.config.Commands.Store.Digest(append([]string{"limit"}, parts...)...)
	return limitKey(sum[:])
}

// emailKey is what limits of an e-mail address count by: its canonical form, or else each
// spelling would have a limit of its own. What is too long is nobody's, and shares one.
func emailKey(email string) string {
	if domain.Oversize(email, domain.MaxEmail) {
		return ""
	}
	return domain.CanonicalEmail(email)
}

// guess counts each check of a password, whatever asks for it: a sign-in, a command of
// somebody signed in, a repeat that must show the first one's password. All count
// together, for whoever found a session open guesses through that.
//
// The account is known by its e-mail address alone. A sign-in has nothing else; with the
// municipality in the key there would be a limit for each of its codes, and as nothing is
// looked up, an address without an account has the same limits.
func (s *server) guess(rt *route, address netip.Addr) func(ctx context.Context, email string) error {
	if !s.config.RateLimit {
		return nil
	}

	gates, from := s.gates[loginRate], addressKey(address)
	return func(ctx context.Context, email string) error {
		account := emailKey(email)
		if rt.rate != loginRate { // of which the address was counted before its body was read
			if err := s.pass(gates.address, from); err != nil {
				return err
			}
		}
		if err := s.pass(gates.person, account, from); err != nil {
			return err
		}
		return s.slow(ctx, gates.slow.over(s.limitKey(account)))
	}
}

// What is over the limit of its account waits: a tenth of a second for the first check
// over it, two for the second, and so on, up to three seconds. So the owner still gets in
// while others guess from many addresses, and each of these learns less in a minute. It
// waits before anything is looked up, so it holds no connection to the database and no
// turn to hash; and at most half of the time that its request has left.
const (
	slowStep  = 100 * time.Millisecond
	slowSteps = 30
	// maxWaiting bounds how many requests wait so at once. Beyond it they are told that
	// the system is busy: whoever can send that many has more than a thousand addresses.
	maxWaiting = 1000
)

// delay is how long a check waits that is so many over the limit.
func delay(over int) time.Duration { return min(time.Duration(over), slowSteps) * slowStep }

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

// limiter counts in memory: in any stretch of Per, at most Count are let through. What is
// refused is not counted, so the time to wait is exact. take, giveBack and over are all
// that the rest knows of it, and would be the commands of a store that several processes
// share.
//
// It takes at most 10 MiB: maxKeys keys of some 100 bytes in their maps, and room for
// maxTimes times of 4 bytes (more only where Count is more). When it is full it forgets
// the one of a few keys that counts least, so that a flood of new keys forgets its own. A
// key that has not counted for two Per is forgotten, and its memory given back.
type limiter struct {
	limit Limit
	now   func() time.Time
	began time.Time

	mu         sync.Mutex
	young, old map[limitKey][]uint32 // when, in milliseconds since began, oldest first
	turned     time.Time             // when young became old last
	times      int                   // for how many times there is room in both
	sweep      *time.Timer           // turns although nobody comes any more
}

// limitKey is a digest of 128 bits: keyed, so nobody finds two that are the same.
type limitKey [16]byte

const (
	maxKeys  = 1 << 16
	maxTimes = 1 << 19
	// looks is how many keys are compared to find one to forget.
	looks = 8
)

func newLimiter(limit Limit, now func() time.Time) *limiter {
	l := &limiter{limit: limit, now: now, began: now(), turned: now(), young: map[limitKey][]uint32{}}
	l.sweep = time.AfterFunc(limit.Per, l.sweepUp)
	l.sweep.Stop()
	return l
}

// take counts one, or tells how long to wait.
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

// over counts one whether or not the limit is reached, and returns by how many it is
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

// giveBack takes back the newest one that was counted.
func (l *limiter) giveBack(key limitKey) {
	l.mu.Lock()
	defer l.mu.Unlock()

	if times := l.current(key, l.clock()); len(times) > 0 {
		l.put(key, times[:len(times)-1])
	}
}

// clock returns the time in milliseconds, after which old keys are gone.
func (l *limiter) clock() uint32 {
	now := l.now()
	l.turn(now)
	return uint32(now.Sub(l.began).Milliseconds()) // wraps after 49 days, and so do all differences
}

// turn forgets what was not counted for Per: each key that counts moves to the young.
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

// sweepUp turns for those who are gone.
func (l *limiter) sweepUp() {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.turn(l.now())
	if len(l.young)+len(l.old) > 0 {
		l.sweep.Reset(l.limit.Per)
	}
}

// current returns the times of a key that still count, moved to the front of the key's
// own memory: put them back.
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

// put keeps a key's times among the young.
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

// makeRoom forgets keys until there is room for another.
func (l *limiter) makeRoom(times int) {
	for n := len(l.young) + len(l.old); n > 0 && (n >= maxKeys || l.times+times > maxTimes); n-- {
		l.forgetOne()
	}
}

// forgetOne forgets the one of some keys that counts least.
func (l *limiter) forgetOne() {
	var from map[limitKey][]uint32
	var least limitKey
	for _, keys := range []map[limitKey][]uint32{l.old, l.young} {
		n := 0
		for key, times := range keys {
			if from == nil || len(times) < len(from[least]) {
				from, least = keys, key
			}
			if n++; n == looks {
				break
			}
		}
	}

	l.times -= cap(from[least])
	delete(from, least)
}
