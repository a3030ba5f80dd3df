package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/salga-trust/engine/domain"
)

// MaxClockDifference is how far the database's clock and a process's clock may differ.
// Beyond it, appends are refused.
const MaxClockDifference = 5 * time.Second

// restamps is how often a batch is sent again with a fresh stamp before the clocks are
// said to differ: on its way to the database it may have waited for a connection, or for
// a server that was paused.
const restamps = 2

// stamped sends a batch with this process's clock, as trust.append takes it, and sends it
// again if the clocks differ. That is safe: what the first attempt added comes back as a
// repeat, and side writes alone have the same effect twice.
func stamped(now func() time.Time, args []any, send func([]any) ([]result, error)) ([]result, error) {
	for try := 0; ; try++ {
		sent := now()
		results, err := send(append(args[:len(args):len(args)], sent))
		if err != nil {
			return nil, err
		}

		differ := false
		for i := range results {
			if results[i].outcome == clocksDiffer {
				results[i].ahead, differ = results[i].clock.Sub(sent), true
			}
		}
		if !differ || try == restamps {
			return results, nil
		}
	}
}

// clockRefusal says how far the database's clock is ahead of this process's, or behind it
// if negative.
func clockRefusal(ahead time.Duration) error {
	cause := fmt.Errorf("the database's clock is %s %s this process's",
		ahead.Abs().Round(time.Millisecond), beside(ahead))

	return domain.Refuse(domain.CodeClockDiffers,
		"The clocks of this server and its database are %s apart, so nothing is recorded: the operator must set "+
			"them right; then try again.",
		ahead.Abs().Round(time.Second)).Because(cause)
}

func beside(ahead time.Duration) string {
	if ahead < 0 {
		return "behind"
	}
	return "ahead of"
}

// Clocks compares the database's clock with this process's, and with the newest event of
// the log.
type Clocks struct {
	// Difference is how far the database's clock is ahead of this process's, or behind it
	// if negative. It is known only to within the duration of the query, and is 0 when it
	// is no longer than that.
	Difference time.Duration
	// Newest is when the newest event was recorded; zero: the log is empty.
	Newest time.Time
	// Future is how far Newest lies in the future of the database's clock. It is 0 up to
	// MaxClockDifference.
	Future time.Duration
}

// Differ tells whether appends are refused because the clocks differ.
func (c Clocks) Differ() bool { return c.Difference.Abs() > MaxClockDifference }

// ReadClocks compares the clocks. Error: CodeUnavailable.
func ReadClocks(ctx context.Context, db Querier) (c Clocks, err error) {
	const sql = "select clock_timestamp(), recorded_at from trust.head()"

	var clock time.Time
	var newest *time.Time
	asked := time.Now()
	if err := db.QueryRow(ctx, sql).Scan(&clock, &newest); err != nil {
		return c, Unavailable(err)
	}
	took := time.Since(asked)

	switch late := clock.Sub(asked); {
	case late < 0:
		c.Difference = late
	case late > took:
		c.Difference = late - took
	}

	if newest != nil {
		c.Newest = newest.UTC()
		if future := newest.Sub(clock); future > MaxClockDifference {
			c.Future = future
		}
	}
	return c, nil
}

// FirstInFuture returns the first position recorded in the future of the database's
// clock; 0: there is none.
func FirstInFuture(ctx context.Context, db Querier) (position int64, err error) {
	const sql = `select case when p.at < h.position then p.at + 1 else 0 end
		from trust.head() h, trust.position_at(clock_timestamp() + $1::interval) p (at)`
	err = db.QueryRow(ctx, sql, MaxClockDifference).Scan(&position)
	return position, Unavailable(err)
}
