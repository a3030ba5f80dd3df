package seal

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/proof"
)

// SignerConfig says how checkpoints are signed.
type SignerConfig struct {
	// Pool connects as trust_projector.
	Pool *pgxpool.Pool
	// Reader reads the events that name lost heads.
	Reader *eventstore.Reader
	// Origin is the name under which the log is signed; empty: DefaultOrigin.
	Origin string
	Seeds  proof.Seeds
	// Every is the least time between two checkpoints. It is up to twice as long
	// while the log does not rest.
	Every time.Duration
	// Kept returns the newest checkpoint that was kept outside the database; nil: none.
	Kept func() ([]byte, error)
	// Keep keeps one there, for good before it returns.
	Keep func(note []byte) error
	// Grown tells, without waiting, that the sealer has sealed more.
	Grown  <-chan struct{}
	Logger *slog.Logger
}

// Refusal says why nothing is signed. Its words hold no value of an event.
type Refusal struct{ Why string } //nolint:errname // it reads as what it is

func (r *Refusal) Error() string { return "no checkpoint is signed: " + r.Why }

// ErrOtherKey says that another key signs now, so this process has to read its own again.
var ErrOtherKey = errors.New("the key that signs checkpoints was changed")

// DefaultOrigin is the origin of a log that has not been given one.
func DefaultOrigin(ctx context.Context, db eventstore.Querier) (string, error) {
	id, err := eventstore.LogID(ctx, db)
	return "salga-trust/" + id.String(), err
}

// Signer signs checkpoints of what the sealer has sealed. Any number of them may run:
// each signs only while it holds the sealer.
type Signer struct {
	config SignerConfig
	sealer *Sealer
	proven bool   // the log and the key were right once
	copied string // the newest checkpoint that this process has looked at for its copy outside
}

// NewSigner returns the signer beside a sealer.
func NewSigner(config SignerConfig, sealer *Sealer) *Signer {
	return &Signer{config: config, sealer: sealer}
}

// idle is how long a signer sleeps that is not told that anything has grown: another
// process may seal, and trouble may have been mended.
const idle = 5 * time.Second

// Run signs until ctx ends. It returns early only with ErrOtherKey.
func (s *Signer) Run(ctx context.Context) error {
	said, pause := "", s.config.Every
	for {
		err := s.Sign(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to stop
		case errors.Is(err, ErrOtherKey):
			return err
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			s.config.Logger.ErrorContext(ctx, "cannot sign", slog.String("why", follow.Describe(err)))
		}

		if !wait(ctx, pause, nil) {
			return nil
		}
		select {
		case <-s.config.Grown:
			pause = s.longer(pause)
		default:
			pause = s.config.Every
			if !wait(ctx, idle, s.config.Grown) {
				return nil
			}
		}
	}
}

// busiest is how many times longer than Every the pause between two checkpoints becomes.
// What is signed is kept for ever, and takes more than the events if it is signed for
// each few of them. But whoever waits for a proof does not wait for more than 5 seconds.
const busiest = 2

// longer returns the pause after one during which the log has grown. After one during
// which it has not, it is Every again: so whoever waits for a checkpoint while little is
// going on does not wait for long.
func (s *Signer) longer(pause time.Duration) time.Duration {
	return min(2*pause, busiest*s.config.Every)
}

// wait waits until something comes, but not longer than d. It returns false if ctx ends.
func wait(ctx context.Context, d time.Duration, comes <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-comes:
	case <-timer.C:
	}
	return true
}

// Sign signs what was sealed since the last checkpoint. Errors: *Refusal, ErrOtherKey.
func (s *Signer) Sign(ctx context.Context) error {
	err := pgx.BeginTxFunc(ctx, s.config.Pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		return s.signIn(ctx, tx)
	})

	refusal, refused := errors.AsType[*Refusal](err)
	if !refused {
		return err
	}
	s.sealer.refused.Store(refusal)
	if err := follow.Halt(ctx, s.config.Pool, Name, refusal.Error()); err != nil {
		return err
	}
	return &follow.PlainError{Text: refusal.Error(), Err: refusal}
}

func (s *Signer) signIn(ctx context.Context, tx pgx.Tx) error {
	// Postgres may end this session if the process stands still: another signer goes on.
	if _, err := tx.Exec(ctx, "set local idle_in_transaction_session_timeout = '5s'"); err != nil {
		return err
	}
	position, err := follow.Hold(ctx, tx, Name)
	if err != nil {
		return refuseBackwards(err)
	}

	signer, err := s.enter(ctx, tx)
	if err != nil {
		return err
	}
	newest, err := Newest(ctx, tx)
	if err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	grown := position > 0 && (newest.Origin != signer.Name() || int64(newest.Size) != position)
	if !grown && s.proven && s.copied == newest.Note && s.sealer.refused.Load() == nil {
		return nil
	}

	outside, err := s.kept()
	if err != nil {
		return err
	}
	sealed, err := s.fits(ctx, tx, signer.Name(), uint64(position), newest.Checkpoint, outside)
	if err != nil {
		return err
	}
	switch {
	case grown && sealed:
		err = s.publish(ctx, tx, signer, uint64(position))
	case sealed:
		err = s.copyOut(newest, outside)
	}
	if err != nil {
		return err
	}
	return s.goOn(ctx, tx, position)
}

// copyOut keeps outside what another process has signed, so that each of them knows later
// what was ever shown, not only what it has signed itself.
func (s *Signer) copyOut(newest Signed, outside proof.Checkpoint) error {
	s.copied = newest.Note
	if newest.Size == 0 || newest.Origin == outside.Origin && newest.Size <= outside.Size {
		return nil
	}
	return s.keepOutside([]byte(newest.Note))
}

func (s *Signer) keepOutside(note []byte) error {
	if err := s.config.Keep(note); err != nil {
		return &Refusal{fmt.Sprintf("a copy of the checkpoint cannot be kept: %v", err)}
	}
	return nil
}

func refuseBackwards(err error) error {
	if backwards, is := errors.AsType[*follow.BackwardsError](err); is {
		return &Refusal{backwards.Error()}
	}
	return err
}

// enter returns the signer for the present origin, and makes it known which keys it signs
// with. Keys that are not those in force are refused: they were changed by mistake, or
// the process has old ones.
func (s *Signer) enter(ctx context.Context, tx pgx.Tx) (*proof.Signer, error) {
	origin := s.config.Origin
	if origin == "" {
		var err error
		if origin, err = DefaultOrigin(ctx, tx); err != nil {
			return nil, err
		}
	}
	signer, err := proof.NewSigner(origin, s.config.Seeds)
	if err != nil {
		return nil, &Refusal{err.Error()}
	}

	all, err := AllKeys(ctx, tx)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return signer, addKeys(ctx, tx, signer)
	}

	last := all[len(all)-1]
	own, err := proof.NewSigner(last.Origin, s.config.Seeds)
	switch {
	case err != nil || !slices.Equal(verifiersOf(own), last.Verifiers):
		if s.proven {
			return nil, ErrOtherKey
		}
		return nil, &Refusal{"LOG_SIGNING_KEY is not the key that signed before; give that one, or make this one " +
			"known with trust keys sign"}
	case last.Origin != origin:
		return signer, addKeys(ctx, tx, signer)
	}
	return signer, nil
}

// kept returns the checkpoint that was kept outside the database; the zero one: none.
func (s *Signer) kept() (proof.Checkpoint, error) {
	note, err := s.config.Kept()
	if err != nil {
		return proof.Checkpoint{}, &Refusal{fmt.Sprintf("the copy of the newest checkpoint cannot be read: %v", err)}
	}
	if note == nil {
		return proof.Checkpoint{}, nil
	}

	c, err := proof.Unsigned(note)
	if err != nil {
		return c, &Refusal{fmt.Sprintf("the copy of the newest checkpoint is damaged: %v", err)}
	}
	return c, nil
}

// fits refuses a log that does not begin with the newest checkpoints that were ever shown
// to anybody, as the database and the copy outside of it have them, unless an event says
// that they were lost. sealed tells that everything is sealed that they cover.
func (s *Signer) fits(
	ctx context.Context, tx pgx.Tx, origin string, size uint64, newest, outside proof.Checkpoint,
) (sealed bool, err error) {
	end, err := eventstore.Head(ctx, tx)
	if err != nil {
		return false, err
	}

	sealed = true
	for _, head := range []proof.Checkpoint{newest, outside} {
		if head.Size > size && head.Size <= uint64(end) {
			sealed = false
			continue
		}
		why, err := strays(ctx, tx, uint64(end), head)
		if err != nil {
			return false, err
		}
		if why == "" {
			continue
		}
		if err := s.forgiven(ctx, tx, origin, head, why); err != nil {
			return false, err
		}
	}
	if !sealed || s.proven && newest.Origin == origin {
		return sealed, nil
	}
	return true, s.neverLost(ctx, tx, origin)
}

// strays returns why a log that ends at a position does not begin with what a checkpoint
// covers; empty if it does.
func strays(ctx context.Context, db eventstore.Querier, end uint64, head proof.Checkpoint) (why string, err error) {
	if head.Size == 0 {
		return "", nil
	}
	if head.Size > end {
		return fmt.Sprintf("the log ends at %d, and a checkpoint of %d events was published", end, head.Size), nil
	}

	root, err := proof.Root(head.Size, tilesOf(ctx, db))
	if d, is := errors.AsType[*Difference](err); is {
		return d.Error(), nil
	}
	if err == nil && root != head.Root {
		why = fmt.Sprintf("the first %d events are not those of a checkpoint that was published", head.Size)
	}
	return why, err
}

// Lost returns those checkpoints of the newest in the database and of some others with
// which the log does not begin, and of which no event says so yet. The role of the
// transaction sees all events.
func Lost(
	ctx context.Context, tx pgx.Tx, r *eventstore.Reader, others ...proof.Checkpoint,
) (lost []proof.Checkpoint, err error) {
	end, err := eventstore.Head(ctx, tx)
	if err != nil {
		return nil, err
	}
	newest, err := Newest(ctx, tx)
	if err != nil && !errors.Is(err, ErrNone) {
		return nil, err
	}

	for _, head := range append(others, newest.Checkpoint) {
		why, err := strays(ctx, tx, uint64(end), head)
		if err != nil {
			return nil, err
		}
		if why == "" || slices.ContainsFunc(lost, func(c proof.Checkpoint) bool { return c.Text() == head.Text() }) {
			continue
		}

		named, err := isNamed(ctx, tx, r, head)
		if err != nil {
			return nil, err
		}
		if !named {
			lost = append(lost, head)
		}
	}
	return lost, nil
}

func (s *Signer) unprovable(err error) error {
	if d, is := errors.AsType[*Difference](err); is {
		return &Refusal{d.Error()}
	}
	return err
}

// forgiven refuses a head that the log does not begin with, unless it was published under
// another origin and the log says that it was lost.
func (s *Signer) forgiven(ctx context.Context, tx pgx.Tx, origin string, head proof.Checkpoint, why string) error {
	if head.Origin == origin {
		return &Refusal{why + " under this origin; if events were lost, run trust log renew" +
			" (with another LOG_ORIGIN, if that is set)"}
	}
	named, err := isNamed(ctx, tx, s.config.Reader, head)
	if err != nil {
		return err
	}
	if !named {
		return &Refusal{why + " as " + head.Origin + ", and no event says that it was lost; run trust log renew"}
	}
	return nil
}

// ForkOf returns the event that says that what a checkpoint covers was lost.
func ForkOf(head proof.Checkpoint) domain.LogForked {
	return domain.LogForked{
		Origin: head.Origin, Size: int64(head.Size), Root: base64.StdEncoding.EncodeToString(head.Root[:]),
	}
}

// isNamed tells whether an event says that what a checkpoint covers was lost.
func isNamed(ctx context.Context, db eventstore.Querier, r *eventstore.Reader, head proof.Checkpoint) (bool, error) {
	forks, err := r.Forks(ctx, db)
	return names(forks, head), err
}

func names(forks []eventstore.Forked, head proof.Checkpoint) bool {
	lost := ForkOf(head)
	return slices.ContainsFunc(forks, func(f eventstore.Forked) bool { return f.LogForked == lost })
}

// neverLost refuses an origin of which the log says that events were lost under it: what
// others hold of it would be contradicted, whatever this database and its copy still
// know.
func (s *Signer) neverLost(ctx context.Context, tx pgx.Tx, origin string) error {
	forks, err := s.config.Reader.Forks(ctx, tx)
	for _, f := range forks {
		if f.Origin == origin {
			return &Refusal{fmt.Sprintf("events were lost under this origin, as event %d says, so nothing is ever "+
				"signed under it again; start with another LOG_ORIGIN", f.Position)}
		}
	}
	return err
}

// publish signs the tree of a size, and keeps the checkpoint outside before anybody can
// see it.
func (s *Signer) publish(ctx context.Context, tx pgx.Tx, signer *proof.Signer, size uint64) error {
	root, err := proof.Root(size, tilesOf(ctx, tx))
	if err != nil {
		return s.unprovable(err)
	}
	c := proof.Checkpoint{Origin: signer.Name(), Size: size, Root: root}
	note, err := signer.Sign(c, time.Now())
	if err != nil {
		return fmt.Errorf("sign a checkpoint: %w", err)
	}

	if err := addSigned(ctx, tx, c, note); err != nil {
		return err
	}
	s.copied = string(note)
	return s.keepOutside(note)
}

// goOn ends a halt that was the signer's, in this process or in one before it.
func (s *Signer) goOn(ctx context.Context, tx pgx.Tx, position int64) error {
	if s.sealer.refused.Swap(nil) == nil && s.proven {
		return nil
	}
	s.proven = true
	return follow.Advance(ctx, tx, Name, position)
}

// Rotate makes other keys those that sign, under the present origin, in a transaction of
// the role trust_projector. Keys that sign already stay. Error: ErrNone, if nothing was
// signed yet.
func Rotate(ctx context.Context, tx pgx.Tx, seeds proof.Seeds) error {
	// So that no signer is between its look at the keys and its signature.
	if _, err := follow.Hold(ctx, tx, Name); err != nil {
		return err
	}
	all, err := AllKeys(ctx, tx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return ErrNone
	}

	last := all[len(all)-1]
	signer, err := proof.NewSigner(last.Origin, seeds)
	if err != nil || slices.Equal(verifiersOf(signer), last.Verifiers) {
		return err
	}
	return addKeys(ctx, tx, signer)
}
