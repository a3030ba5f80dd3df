package seal

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/proof"
)

// Progress is how far the log is signed and cosigned, by the database's clock.
type Progress struct {
	Head   int64   // the log's newest position
	Signed Covered // by the newest checkpoint

	// Cosigned is the newest checkpoint that enough witnesses of the policy have
	// cosigned.
	Cosigned  Covered
	Witnesses []WitnessProgress // in the order of the policy
}

// Covered is what a checkpoint covers.
type Covered struct {
	Size int64 // events; 0: there is no such checkpoint
	// Age is how long ago it was signed. If there is none, it is how long ago the oldest
	// was signed that was looked at.
	Age time.Duration
}

// Behind returns how many events of the log a checkpoint does not cover.
func (p Progress) Behind(c Covered) int64 { return max(p.Head-c.Size, 0) }

// WitnessProgress is how far a witness has cosigned.
type WitnessProgress struct {
	Witness  proof.PolicyWitness
	Cosigned Covered
	// Waiting is how long ago the oldest checkpoint was signed that it has not cosigned;
	// 0: it has cosigned the newest.
	Waiting time.Duration

	number int64 // of the checkpoint; 0: none
}

// recent is how many of the newest checkpoints are looked at for cosignatures: more than
// a day of a log that never rests. Nobody searches years for a witness that was never
// there.
const recent = 10_000

// ReadProgress reads how far the log is signed and, if there is a policy, cosigned.
func ReadProgress(ctx context.Context, db eventstore.Querier, policy *proof.Policy) (Progress, error) {
	const sql = `select h.position, coalesce(c.number, 0), coalesce(c.origin, ''), coalesce(c.size, 0),
			coalesce(clock_timestamp() - c.signed_at, interval '0')
		from trust.head() h
		left join (select * from trust.log_checkpoints order by number desc limit 1) c on true`

	var p Progress
	var newest int64
	var origin string
	err := db.QueryRow(ctx, sql).Scan(&p.Head, &newest, &origin, &p.Signed.Size, &p.Signed.Age)
	if err != nil || newest == 0 || policy == nil {
		return p, eventstore.Unavailable(err)
	}

	c := cosigning{db: db, origin: origin, after: max(newest-recent, 0), policy: policy}
	if p.Witnesses, err = c.witnesses(ctx); err != nil {
		return p, err
	}
	p.Cosigned = p.Signed
	if policy.NeedsWitnesses() {
		p.Cosigned, err = c.enough(ctx, p.Witnesses)
	}
	return p, err
}

// cosigning looks for cosignatures on the checkpoints of an origin that have a higher
// number than after.
type cosigning struct {
	db     eventstore.Querier
	origin string
	after  int64
	policy *proof.Policy
}

// keys returns the keys of the witnesses, in the order of the policy.
func (c cosigning) keys() (keys []string) {
	for _, w := range c.policy.Witnesses {
		keys = append(keys, w.Key.Vkey())
	}
	return keys
}

// witnesses returns how far each witness is.
func (c cosigning) witnesses(ctx context.Context) ([]WitnessProgress, error) {
	const sql = `select coalesce(c.number, 0), coalesce(c.size, 0),
			coalesce(clock_timestamp() - coalesce(c.signed_at, missed.signed_at), interval '0'),
			coalesce(clock_timestamp() - missed.signed_at, interval '0')
		from unnest($1::text[]) with ordinality key (vkey, n)
		left join lateral (select number from trust.log_cosignatures
			where witness = key.vkey and number > $2 order by number desc limit 1) s on true
		left join trust.log_checkpoints c on c.number = s.number and c.origin = $3
		left join lateral (select signed_at from trust.log_checkpoints
			where number > greatest($2, c.number) and origin = $3 order by number limit 1) missed on true
		order by key.n`

	rows, err := c.db.Query(ctx, sql, c.keys(), c.after, c.origin)
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w WitnessProgress, err error) {
		return w, row.Scan(&w.number, &w.Cosigned.Size, &w.Cosigned.Age, &w.Waiting)
	})
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	for i := range all {
		all[i].Witness = c.policy.Witnesses[i]
	}
	return all, nil
}

// enough returns the newest checkpoint that enough witnesses have cosigned.
func (c cosigning) enough(ctx context.Context, witnesses []WitnessProgress) (Covered, error) {
	// What comes after the last cosignature of a witness has none of it. So even if many
	// have been away for long, the search begins near its end.
	var upTo int64
	last := map[string]int64{}
	for _, w := range witnesses {
		last[w.Witness.Name] = w.number
	}
	for _, w := range witnesses {
		if _, may := c.policy.Enough(func(o proof.PolicyWitness) bool { return last[o.Name] >= w.number }); may {
			upTo = max(upTo, w.number)
		}
	}

	for upTo > c.after {
		found, lowest, err := c.newestOf(ctx, upTo)
		if err != nil || found.Size > 0 {
			return found, err
		}
		upTo = lowest - 1 // and thus below all, if it has looked at none
	}
	return c.oldest(ctx)
}

// newestOf returns the newest checkpoint up to a number that enough witnesses have
// cosigned, and the lowest number that it has looked at; 0: there are no more.
func (c cosigning) newestOf(ctx context.Context, upTo int64) (found Covered, lowest int64, err error) {
	const sql = `select c.number, c.size, clock_timestamp() - c.signed_at,
			array_agg(array_position($1::text[], s.witness))
		from trust.log_cosignatures s join trust.log_checkpoints c on c.number = s.number
		where s.witness = any($1) and s.number > $2 and s.number <= $3 and c.origin = $4
		group by c.number order by c.number desc limit 1000`

	rows, err := c.db.Query(ctx, sql, c.keys(), c.after, upTo, c.origin)
	if err != nil {
		return found, 0, eventstore.Unavailable(err)
	}
	var covered Covered
	var by []int64
	_, err = pgx.ForEachRow(rows, []any{&lowest, &covered.Size, &covered.Age, &by}, func() error {
		cosigned := map[string]bool{}
		for _, n := range by {
			cosigned[c.policy.Witnesses[n-1].Name] = true
		}
		_, is := c.policy.Enough(func(w proof.PolicyWitness) bool { return cosigned[w.Name] })
		if is && found.Size == 0 {
			found = covered
		}
		return nil
	})
	return found, lowest, eventstore.Unavailable(err)
}

// oldest returns how old the oldest checkpoint is that is looked at.
func (c cosigning) oldest(ctx context.Context) (none Covered, err error) {
	const sql = `select clock_timestamp() - signed_at from trust.log_checkpoints
		where number > $1 and origin = $2 order by number limit 1`
	err = c.db.QueryRow(ctx, sql, c.after, c.origin).Scan(&none.Age)
	return none, eventstore.Unavailable(err)
}
