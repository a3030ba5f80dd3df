package http

import (
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
	LoginAccount    Limit // sign-ins to an account
	LoginAddress    Limit // sign-ins from an address
	RegisterEmail   Limit // registrations of an e-mail address
	RegisterAddress Limit // registrations from an address: kiosks, carrier NAT
	Export          Limit // exports of one's own data
	Erasure         Limit // erasures of oneself, once the password was right
	Account         Limit // everything else of an account
	Address         Limit // everything that needs no account, from an address
}

// DefaultLimits are those of the contract. Address is ours: a municipality's whole office may sit behind one address.
func DefaultLimits() Limits {
	return Limits{
		LoginAccount:    Limit{5, time.Minute},
		LoginAddress:    Limit{30, time.Minute},
		RegisterEmail:   Limit{3, time.Hour},
		RegisterAddress: Limit{30, time.Hour},
		Export:          Limit{5, time.Hour},
		Erasure:         Limit{1, 24 * time.Hour},
		Account:         Limit{60, time.Minute},
		Address:         Limit{600, time.Minute},
	}
}

// whole tells whether every limit lets something through: one that was forgotten would refuse everything.
func (l Limits) whole() bool {
	for _, one := range []Limit{
		l.LoginAccount, l.LoginAddress, l.RegisterEmail, l.RegisterAddress, l.Export, l.Erasure, l.Account, l.Address,
	} {
		if one.Count < 1 || one.Per <= 0 {
			return false
		}
	}
	return true
}

// limiter counts in memory: in any stretch of Per, at most Count are let through. What is refused is not counted, so the time to
// wait is exact.
type limiter struct {
	limit Limit
	now   func() time.Time

	mu   sync.Mutex
	seen map[string][]time.Time // the newest Count, oldest first
}

// maxKeys bounds the memory that strangers can take; beyond it, keys are forgotten.
const maxKeys = 100_000

func newLimiter(limit Limit, now func() time.Time) *limiter {
	return &limiter{limit: limit, now: now, seen: map[string][]time.Time{}}
}

// take counts one, or tells how long to wait.
func (l *limiter) take(key string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	times := l.current(l.seen[key], now)
	if len(times) >= l.limit.Count {
		if len(times) == 0 {
			return l.limit.Per, false
		}
		return times[0].Add(l.limit.Per).Sub(now), false
	}
	if len(l.seen) >= maxKeys {
		l.forget(now)
	}
	l.seen[key] = append(times, now)
	return 0, true
}

// giveBack takes back the newest one that was counted.
func (l *limiter) giveBack(key string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.seen[key]); n > 0 {
		l.seen[key] = l.seen[key][:n-1]
	}
}

// current drops the times that are too long ago to count.
func (l *limiter) current(times []time.Time, now time.Time) []time.Time {
	for len(times) > 0 && now.Sub(times[0]) >= l.limit.Per {
		times = times[1:]
	}
	return times
}

// maxKey bounds the bytes of one key. An address is never longer, so what is longer is nobody's, and shares a limit.
const maxKey = 4 * domain.MaxEmail

// emailKey is what limits of an e-mail address count by: its canonical form, or else each spelling would have a
// limit of its own.
func emailKey(email string) string {
	if len(email) > maxKey {
		return "too long"
	}
	return domain.CanonicalEmail(email)
}

// forget makes room: first what no longer counts, then whatever comes first.
func (l *limiter) forget(now time.Time) {
	for key, times := range l.seen {
		if len(l.current(times, now)) == 0 {
			delete(l.seen, key)
		}
	}
	for key := range l.seen {
		if len(l.seen) < maxKeys*9/10 {
			return
		}
		delete(l.seen, key)
	}
}

// rate is how often a route may be used: see the route table.
type rate string

// The classes of limits. The zero value is none of them, so that a route without one is noticed.
const (
	unlimited    rate = "unlimited" // what watches us, and the documentation
	publicRate   rate = "public"    // by address
	accountRate  rate = "account"   // by account
	exportRate   rate = "export"    // by account
	erasureRate  rate = "erasure"   // by account; the handler asks its own gate, since only some attempts count
	loginRate    rate = "login"     // by address and by the account that is tried
	registerRate rate = "register"  // by address and by e-mail address
)

// gates are the limiters of one class: for addresses, and for who is concerned. Nil: none.
type gates struct{ address, person *limiter }

func newGates(l Limits, on bool, now func() time.Time) map[rate]gates {
	if !on {
		return map[rate]gates{}
	}
	public := newLimiter(l.Address, now)
	return map[rate]gates{
		publicRate:   {address: public},
		accountRate:  {person: newLimiter(l.Account, now)},
		exportRate:   {person: newLimiter(l.Export, now)},
		erasureRate:  {person: newLimiter(l.Erasure, now)},
		loginRate:    {address: newLimiter(l.LoginAddress, now), person: newLimiter(l.LoginAccount, now)},
		registerRate: {address: newLimiter(l.RegisterAddress, now), person: newLimiter(l.RegisterEmail, now)},
	}
}
