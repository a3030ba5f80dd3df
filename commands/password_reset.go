package commands

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/salga-trust/engine/domain"
)

// RequestPasswordReset asks to send a code for a new password to an address, if it has an
// account.
type RequestPasswordReset struct {
	Email            string
	MunicipalityCode string
}

// RequestPasswordReset answers at once and without looking anything up, so that neither
// the answer nor its time says whether there is an account. What was asked for waits in a
// queue for SendResetCodes. A server that sends no mail forgets it. Errors:
// validation_failed; overloaded, if the queue is full.
func (h *Handler) RequestPasswordReset(
	_ context.Context, call Call, c RequestPasswordReset,
) (Answer[struct{}], error) {
	var f domain.Faults
	f.Email("email", domain.CanonicalEmail(c.Email))
	if domain.IsBlank(c.MunicipalityCode) {
		f.Add("municipality_code", "required", "Give the code of the municipality.")
	}
	if err := f.Err(); err != nil || h.mail == nil {
		return Answer[struct{}]{}, err
	}

	return Answer[struct{}]{}, h.resets.add(waitingReset{call: call, asked: c})
}

const (
	// resetPause separates the look-up of an account from the answer: carried out at once,
	// it would slow down the very next request, by more where there is an account.
	resetPause = 500 * time.Millisecond
	// resetRetry is the pause after which a request is tried again that the log did not
	// take, and resetTries how often it is tried. A code that comes much later helps nobody.
	resetRetry = 2 * time.Second
	resetTries = 3
	maxResets  = 1_000
)

// resets is what was asked for and waits, oldest first. A crash loses it: whoever gets no
// letter asks again.
type resets struct {
	mu    sync.Mutex
	queue []waitingReset
	waker *time.Timer

	working sync.Mutex // one at a time
}

type waitingReset struct {
	call  Call
	asked RequestPasswordReset
	tries int
}

func (q *resets) add(w waitingReset) error {
	q.mu.Lock()
	defer q.mu.Unlock()

	if len(q.queue) >= maxResets {
		return domain.Refuse(domain.CodeOverloaded, "Too many requests are waiting; try again.")
	}
	q.queue = append(q.queue, w)
	if len(q.queue) == 1 {
		q.waker.Reset(resetPause)
	}
	return nil
}

func (q *resets) next() (w waitingReset, waits bool) {
	q.mu.Lock()
	defer q.mu.Unlock()

	if len(q.queue) == 0 {
		return waitingReset{}, false
	}
	w, q.queue[0] = q.queue[0], waitingReset{}
	q.queue = q.queue[1:]
	return w, true
}

// again puts back a request that failed, unless it was tried often enough.
func (q *resets) again(w waitingReset) (dropped bool) {
	if w.tries++; w.tries >= resetTries {
		return true
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, w)
	q.waker.Reset(resetRetry)
	return false
}

// SendResetCodes asks to issue and send the codes that were asked for and wait. It is for
// a process that is about to stop.
type SendResetCodes struct{}

// SendResetCodes does it. It returns the log's error if the log is unavailable.
func (h *Handler) SendResetCodes(ctx context.Context, _ Call, _ SendResetCodes) (Answer[struct{}], error) {
	h.resets.working.Lock()
	defer h.resets.working.Unlock()

	for {
		w, waits := h.resets.next()
		if !waits {
			return Answer[struct{}]{}, nil
		}

		err := h.sendResetCode(ctx, w.call, w.asked)
		if err == nil {
			continue
		}

		refusal, refused := errors.AsType[*domain.Error](err)
		passing := refused && domain.Refusals()[refusal.Code].Class == domain.ClassUnavailable
		dropped := !passing && ctx.Err() == nil || h.resets.again(w)
		h.log.WarnContext(ctx, "a code for a new password was not sent",
			slog.Bool("dropped", dropped), slog.Any("error", err))
		if !dropped {
			return Answer[struct{}]{}, err
		}
	}
}

// visitResets is SendResetCodes in the background.
func (h *Handler) visitResets() {
	//nolint:forbidigo // the requests behind these have long been answered
	ctx, cancel := context.WithTimeout(context.Background(), writeLimit)
	defer cancel()
	_, _ = h.SendResetCodes(ctx, Call{}, SendResetCodes{})
}

// sendResetCode issues a code and hands the letter over, if the address has an account
// that is open. Otherwise it leaves no trace.
func (h *Handler) sendResetCode(ctx context.Context, call Call, c RequestPasswordReset) error {
	account, err := h.account(ctx, SignIn{Email: c.Email, MunicipalityCode: c.MunicipalityCode})
	if err != nil || account.User == nobody(account.Tenant).User {
		return err
	}
	call.Tenant, call.Key = account.Tenant, ""

	var letter domain.Letter
	r := request{name: "user.request_password_reset", tenant: account.Tenant}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, _ Call) (domain.Append, error) {
		state, err := h.openAccount(ctx, account.Tenant, account.User)
		if err != nil || !state.open {
			return domain.Append{}, err
		}

		text, issue := h.newCode(account.User, domain.PasswordResetCode)
		letter = state.letter(issue, text)
		return domain.Append{
			Tenant: account.Tenant, Expects: state.expects,
			Writes: []domain.Write{{
				Stream: domain.UserOf(account.User), Expected: state.user.Version, Events: []domain.Event{
					&domain.ResetCodeIssued{CodeIssue: domain.CodeIssue{
						CodeID: issue.Code, Channel: domain.CodeByEmail, ExpiresAt: issue.ExpiresAt,
					}},
				},
			}},
			Side: []domain.SideWrite{issue},
		}, nil
	})
	if err != nil || len(done.Events) == 0 {
		return err
	}
	return h.mail(letter)
}
