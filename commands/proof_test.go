package commands_test

import (
	"context"
	"sync"
	"testing"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// meddled is a store on which something happens between what a command proves and what it
// appends: just before the first call of one method.
type meddled struct {
	commands.Store
	method string
	once   sync.Once
	event  func()
}

func (s *meddled) before(method string) {
	if method == s.method {
		s.once.Do(s.event)
	}
}

func (s *meddled) Load(
	ctx context.Context, tenant domain.TenantID, streams ...domain.Stream,
) ([]domain.Recorded, error) {
	s.before("Load")
	return s.Store.Load(ctx, tenant, streams...)
}

func (s *meddled) LoadPersonal(
	ctx context.Context, tenant domain.TenantID, streams ...domain.Stream,
) ([]domain.Recorded, error) {
	s.before("LoadPersonal")
	return s.Store.LoadPersonal(ctx, tenant, streams...)
}

func (s *meddled) Append(ctx context.Context, a domain.Append) (domain.Appended, error) {
	s.before("Append")
	return s.Store.Append(ctx, a)
}

// meddling is a world in which a password or an address changes while a command is
// checking it.
type meddling struct {
	*world
	t    *testing.T
	call commands.Call
}

const address = "one@example.co.za"

func (w meddling) changePassword() {
	w.t.Helper()
	_, err := w.ChangePassword(w.t.Context(), w.call,
		commands.ChangePassword{Current: password, New: "quite another one"})
	ok(w.t, err)
}

func (w meddling) changeAddress() {
	w.t.Helper()
	_, err := w.ChangeProfile(w.t.Context(), w.call, commands.ChangeProfile{
		Email: new("moved@example.co.za"), CurrentPassword: password,
	})
	ok(w.t, err)
}

func (w meddling) signIn(h *commands.Handler) error {
	_, err := h.SignIn(w.t.Context(), commands.Call{},
		commands.SignIn{Email: address, Password: password, MunicipalityCode: "CPT"})
	return err
}

func (w meddling) move(h *commands.Handler) error {
	_, err := h.ChangeProfile(w.t.Context(), w.call, commands.ChangeProfile{
		Email: new("new@example.co.za"), CurrentPassword: password,
	})
	return err
}

func (w meddling) erase(h *commands.Handler) error {
	_, err := h.EraseMe(w.t.Context(), w.call,
		commands.EraseMe{Confirmation: commands.EraseConfirmation, Password: password})
	return err
}

// Hashing takes time. A password or an address is proven on the version that the append
// expects: if it was changed meanwhile, it opens nothing, moves nothing and erases
// nobody.
func TestWhatACommandProvesItProvesOnTheVersionItAppendsOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method  string
		meddle  func(meddling)
		command func(meddling, *commands.Handler) error
		want    domain.Code
	}{
		"sign in, before the account is loaded": {
			"Load", meddling.changePassword, meddling.signIn,
			domain.CodeInvalidCredentials,
		},
		"sign in, before the session is appended": {
			"Append", meddling.changePassword, meddling.signIn,
			domain.CodeInvalidCredentials,
		},
		"sign in by an address that moves": {
			"Load", meddling.changeAddress, meddling.signIn,
			domain.CodeInvalidCredentials,
		},
		"a new address, before the account is loaded": {
			"LoadPersonal", meddling.changePassword, meddling.move,
			domain.CodePasswordWrong,
		},
		"a new address, before it is appended": {
			"Append", meddling.changePassword, meddling.move,
			domain.CodePasswordWrong,
		},
		"an erasure, before the account is loaded": {
			"LoadPersonal", meddling.changePassword, meddling.erase,
			domain.CodePasswordWrong,
		},
		"an erasure, before it is appended": {
			"Append", meddling.changePassword, meddling.erase,
			domain.CodePasswordWrong,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := meddling{newWorld(t), t, commands.Call{}}
			w.call = w.citizen(t, "CPT", address)

			store := &meddled{Store: w.store, method: c.method, event: func() { c.meddle(w) }}
			refused(t, c.command(w, commands.New(store, commands.Config{})), c.want)
		})
	}
}
