package seal

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/proof"
)

// Signed is a checkpoint as it was signed.
type Signed struct {
	proof.Checkpoint

	Number   int64  // 1, 2, 3 … as they were signed
	Note     string // with the log's own signatures alone
	SignedAt time.Time
}

// ErrNone says that there is no such checkpoint yet.
var ErrNone = domain.Refuse(domain.CodeNotFound, "No checkpoint has been signed yet.")

const selectSigned = `select number, origin, size, root, note, signed_at from trust.log_checkpoints `

// Newest returns the checkpoint that was signed last. Error: ErrNone.
func Newest(ctx context.Context, db eventstore.Querier) (Signed, error) {
	return one(db.Query(ctx, selectSigned+"order by number desc limit 1"))
}

func one(rows pgx.Rows, err error) (Signed, error) {
	if err != nil {
		return Signed{}, eventstore.Unavailable(err)
	}
	signed, err := pgx.CollectExactlyOneRow(rows, scanSigned)
	if errors.Is(err, pgx.ErrNoRows) {
		return signed, ErrNone
	}
	return signed, eventstore.Unavailable(err)
}

func scanSigned(row pgx.CollectableRow) (s Signed, err error) {
	var size int64
	var root []byte
	if err := row.Scan(&s.Number, &s.Origin, &size, &root, &s.Note, &s.SignedAt); err != nil {
		return s, err
	}
	if len(root) != len(s.Root) || size < 1 {
		return s, &Difference{What: "a checkpoint has no root or no size"}
	}
	s.Size, s.Root = uint64(size), proof.Hash(root)
	return s, nil
}

// addSigned stores a checkpoint. The caller holds the sealer.
func addSigned(ctx context.Context, tx pgx.Tx, c proof.Checkpoint, note []byte) error {
	const add = `insert into trust.log_checkpoints (number, origin, size, root, note)
		select coalesce(max(number), 0) + 1, $1, $2, $3, $4 from trust.log_checkpoints`
	_, err := tx.Exec(ctx, add, c.Origin, int64(c.Size), c.Root[:], string(note))
	return eventstore.Unavailable(err)
}

// Cosignatures returns the lines of the witnesses on a checkpoint, in the order in which
// they came.
func Cosignatures(ctx context.Context, db eventstore.Querier, number int64) ([]string, error) {
	const sql = `select line from trust.log_cosignatures where number = $1 order by received_at, witness`

	rows, err := db.Query(ctx, sql, number)
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return lines, eventstore.Unavailable(err)
}

// Cosign stores the line by which a witness vouches for a checkpoint, once. The caller
// has verified it; the role is trust_projector. witness is the witness's key.
func Cosign(ctx context.Context, db follow.Execer, number int64, witness, line string) error {
	const add = `insert into trust.log_cosignatures (number, witness, line) values ($1, $2, $3) on conflict do nothing`
	_, err := db.Exec(ctx, add, number, witness, line)
	return eventstore.Unavailable(err)
}

// CosignedSize returns the size of the newest checkpoint of an origin that the key of a
// witness has cosigned; 0: it has cosigned none of the recent ones.
func CosignedSize(ctx context.Context, db eventstore.Querier, origin, witness string) (uint64, error) {
	const sql = `select coalesce((select c.size from trust.log_cosignatures s
		join trust.log_checkpoints c on c.number = s.number
		where s.witness = $1 and c.origin = $2 and s.number > (select max(number) - $3 from trust.log_checkpoints)
		order by s.number desc limit 1), 0)`

	var size int64
	err := db.QueryRow(ctx, sql, witness, origin, recent).Scan(&size)
	return uint64(size), eventstore.Unavailable(err)
}

// Keys are an origin and the keys that its checkpoints are verified with.
type Keys struct {
	Origin    string
	Verifiers []string // as C2SP signed-note writes keys; Ed25519 first
	Since     time.Time
}

// AllKeys lists the origins and keys that checkpoints were ever signed under, oldest
// first. The last is the one in force.
func AllKeys(ctx context.Context, db eventstore.Querier) ([]Keys, error) {
	rows, err := db.Query(ctx, "select origin, verifiers, since from trust.log_signers order by number")
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Keys])
	return keys, eventstore.Unavailable(err)
}

// addKeys puts an origin and its keys in force.
func addKeys(ctx context.Context, db follow.Execer, signer *proof.Signer) error {
	const add = `insert into trust.log_signers (number, origin, verifiers)
		select coalesce(max(number), 0) + 1, $1, $2 from trust.log_signers`
	_, err := db.Exec(ctx, add, signer.Name(), verifiersOf(signer))
	return eventstore.Unavailable(err)
}

func verifiersOf(signer *proof.Signer) []string {
	var all []string
	for _, key := range signer.LogKeys() {
		all = append(all, key.Vkey())
	}
	return all
}
