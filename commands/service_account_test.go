package commands_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
)

// program creates a service account of CPT with every scope, and returns it, its secret
// and the call of a program that has just shown the secret.
func (w *world) program(t *testing.T, name string) (domain.ServiceAccount, string, commands.Call) {
	t.Helper()
	made, err := w.CreateServiceAccount(t.Context(), commands.System(w.cpt),
		domain.CreateServiceAccount{Name: name, Scopes: domain.Scopes()})
	ok(t, err)

	a := made.Value.Account
	session, err := w.AdmitProgram(t.Context(), commands.Client{Account: a.ID, Secret: made.Value.Secret})
	ok(t, err)
	call, err := w.AuthenticateProgram(t.Context(), commands.Call{Origin: domain.Origin{IP: "196.25.1.1"}}, session)
	ok(t, err)
	return a, made.Value.Secret, call
}

func TestACommandOfAProgramThatIsRevokedMeanwhileIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	resident := w.citizen(t, "CPT", "thandi@example.org")
	a, _, call := w.program(t, "SMS")
	record := smsAlert()
	record.Subject, record.Channel = resident.User, domain.USSD

	_, err := w.RevokeServiceAccount(t.Context(), commands.System(w.cpt),
		commands.RevokeServiceAccount{Account: a.ID})
	ok(t, err)
	w.unchanged(t, func() {
		_, err = w.RecordConsent(t.Context(), call, record) // the call was authenticated before
		refused(t, err, domain.CodeInvalidToken)
	})
}

func TestAProgramsActsNameItAndKeepItsOriginOutOfAnybodysKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	resident := w.citizen(t, "CPT", "thandi@example.org")
	a, _, call := w.program(t, "SMS")
	record := smsAlert()
	record.Subject = resident.User

	_, err := w.RecordConsent(t.Context(), call, record)
	refused(t, err, domain.CodeInvalid) // it does not say the channel
	record.Channel = domain.USSD
	done, err := w.RecordConsent(t.Context(), call, record)
	ok(t, err)
	if done.Value.RecordedBy != a.ID.Actor() {
		t.Errorf("recorded by %s, want %s", done.Value.RecordedBy, a.ID)
	}

	events, err := w.store.LoadPersonal(t.Context(), w.cpt, domain.ConsentsOf(resident.User))
	ok(t, err)
	last := events[len(events)-1]
	origin, open := last.Origin.Get()
	if last.Actor != a.ID.Actor() || last.Metadata.ActorRole != domain.RoleProgram ||
		!open || origin.IP != "196.25.1.1" ||
		last.Event.(*domain.ConsentGranted).RecordedBy != domain.ByProgram {
		t.Errorf("%+v", last)
	}

	// The resident's erasure is about people: what a program did for them does not stop
	// it.
	_, err = w.EraseMe(t.Context(), resident,
		commands.EraseMe{Confirmation: commands.EraseConfirmation, Password: password})
	ok(t, err)
	_, err = w.RecordConsent(t.Context(), call, record)
	refused(t, err, domain.CodeSubjectErased)
}

// A program acts for others, but is no member of the staff: whatever its scopes, it does
// not do what a clerk, an officer or an admin does.
func TestAProgramIsRefusedWhatStaffDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, _, program := w.program(t, "SMS")
	resident, other := w.walkIn(t, "7"), w.walkIn(t, "8")
	granted := w.onPaper(t, resident, true, time.Time{})
	citizen := w.citizen(t, "CPT", "thandi@example.org")

	ctx, seen := t.Context(), "ID card"
	for what, act := range map[string]func() error{
		"records a resident": func() error {
			_, err := w.RecordResident(ctx, program, commands.RecordResident{
				FullName: "Piet Botha", Phone: "0821234567",
			})
			return err
		},
		"corrects a resident": func() error {
			_, err := w.ChangeResident(ctx, program, commands.ChangeResident{User: resident, FullName: &seen})
			return err
		},
		"merges": func() error {
			_, err := w.MergeResidents(ctx, program, commands.MergeResidents{From: resident, Into: other})
			return err
		},
		"parts": func() error {
			_, err := w.UnmergeResidents(ctx, program, commands.UnmergeResidents{From: resident})
			return err
		},
		"annuls": func() error {
			_, err := w.AnnulConsent(ctx, program, commands.AnnulConsent{
				Consent: granted.ID, Reason: "wrong", Evidence: evidence(),
			})
			return err
		},
		"hands out a code for a password": func() error {
			_, err := w.IssueResetCode(ctx, program, commands.IssueResetCode{
				User: citizen.User, IdentityDocument: seen,
			})
			return err
		},
		"hands out a code for an account": func() error {
			_, err := w.IssueSignInCode(ctx, program, commands.IssueSignInCode{User: resident, IdentityDocument: seen})
			return err
		},
		"lodges a request": func() error {
			_, err := w.LodgeRequest(ctx, program, commands.LodgeRequest{Subject: resident, Kind: domain.AccessRequest})
			return err
		},
		"makes another program": func() error {
			_, err := w.CreateServiceAccount(ctx, program, domain.CreateServiceAccount{
				Name: "another", Scopes: domain.Scopes(),
			})
			return err
		},
		"makes itself another secret": func() error {
			_, err := w.RotateSecret(ctx, program, commands.RotateSecret{Account: a.ID})
			return err
		},
		"closes an account": func() error {
			_, err := w.DeactivateUser(ctx, program, commands.DeactivateUser{User: citizen.User})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			w.unchanged(t, func() { refused(t, act(), domain.CodeForbidden) })
		})
	}
}

func TestAWrongCodeNamesTheProgramThatTriedIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, _, program := w.program(t, "SMS")
	citizen := w.citizen(t, "CPT", "thandi@example.org")
	code := w.resetCode(t, w.staff(t, domain.Admin, "admin@example.org"), citizen.User)

	_, err := w.RedeemCode(t.Context(), program, commands.RedeemCode{Code: wrongly(code), Password: newPassword})
	refused(t, err, domain.CodeCodeInvalid)
	events := w.events(t, w.cpt, domain.SessionsOf(citizen.User))
	last := events[len(events)-1]
	if _, failed := last.Event.(*domain.SignInFailed); !failed || last.Actor != a.ID.Actor() ||
		last.Metadata.ActorRole != domain.RoleProgram {
		t.Errorf("%+v", last)
	}
}

func TestTheNameOfAProgramIsTakenOnceByTwoAtOnceAndFreedByARevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	create := func(name string) (commands.Answer[commands.IssuedSecret], error) {
		return w.CreateServiceAccount(t.Context(), commands.System(w.cpt),
			domain.CreateServiceAccount{Name: name, Scopes: domain.Scopes()})
	}

	outcomes := make(chan error, 2)
	for _, name := range []string{"SMS alerts", "sms  ALERTS"} {
		go func() {
			_, err := create(name)
			outcomes <- err
		}()
	}
	taken := 0
	for range 2 {
		if err := <-outcomes; err != nil {
			refused(t, err, domain.CodeNameTaken)
			taken++
		}
	}
	if taken != 1 {
		t.Fatalf("%d of two were refused", taken)
	}

	all, err := w.ServiceAccounts(t.Context(), w.cpt)
	ok(t, err)
	_, err = w.RevokeServiceAccount(t.Context(), commands.System(w.cpt),
		commands.RevokeServiceAccount{Account: all[0].ID})
	ok(t, err)
	_, err = create("SMS Alerts")
	ok(t, err)
}

// visits counts what a check of a secret asks of the log.
type visits struct {
	commands.Store
	asked []string
}

func (v *visits) ClientSecrets(ctx context.Context, id domain.ServiceAccountID) ([]domain.ClientDigest, error) {
	v.asked = append(v.asked, "secrets")
	return v.Store.ClientSecrets(ctx, id)
}

func (v *visits) Load(ctx context.Context, t domain.TenantID, s ...domain.Stream) ([]domain.Recorded, error) {
	v.asked = append(v.asked, "streams")
	return v.Store.Load(ctx, t, s...)
}

func (v *visits) Digest(parts ...string) [32]byte {
	v.asked = append(v.asked, "digest")
	return v.Store.Digest(parts...)
}

func TestAWrongSecretAndAnUnknownClientCostTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, secret, _ := w.program(t, "SMS")
	counted := &visits{Store: w.store}
	h := commands.New(counted, commands.Config{})

	for what, c := range map[string]commands.Client{
		"a wrong secret":    {Account: a.ID, Secret: secret + "x"},
		"an unknown client": {Account: domain.ServiceAccountID{UUID: uuid.New()}, Secret: secret},
		"no client":         {Secret: secret},
	} {
		counted.asked = nil
		_, err := h.AdmitProgram(t.Context(), c)
		refused(t, err, domain.CodeInvalidCredentials)
		if len(counted.asked) != 2 || counted.asked[0] != "secrets" || counted.asked[1] != "digest" {
			t.Errorf("%s: %v", what, counted.asked)
		}
	}
}

// What somebody with the API's login but without the master key can put into the table
// opens nothing: a digest is keyed.
func TestASecretOutsideTheLogOpensNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, secret, _ := w.program(t, "SMS")
	admit := func() error {
		_, err := w.AdmitProgram(t.Context(), commands.Client{Account: a.ID, Secret: secret})
		return err
	}
	ok(t, admit())

	stolen := w.db.Conn(t, pgtest.Query)
	if _, err := stolen.Exec(t.Context(), "select digest from trust.client_secrets"); err == nil {
		t.Error("the API's login reads the table of secrets")
	}

	// The right digest, of a secret that the log does not know.
	_, err := w.db.Superuser(t).Exec(t.Context(), "update trust.client_secrets set secret_id = gen_random_uuid()")
	ok(t, err)
	refused(t, admit(), domain.CodeInvalidCredentials)
}

func TestARepeatOfARotationShowsNoSecretAndMakesNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, _, _ := w.program(t, "SMS")
	call := commands.System(w.cpt)
	call.Key = newKey()
	rotate := commands.RotateSecret{Account: a.ID, Overlap: time.Hour}

	first, err := w.RotateSecret(t.Context(), call, rotate)
	ok(t, err)
	again, err := w.RotateSecret(t.Context(), call, rotate)
	ok(t, err)
	if first.Value.Secret == "" || again.Value.Secret != "" || again.Position != first.Position ||
		len(again.Value.Account.Secrets) != 2 {
		t.Errorf("%+v\n%+v", first, again)
	}
	_, err = w.AdmitProgram(t.Context(), commands.Client{Account: a.ID, Secret: first.Value.Secret})
	ok(t, err)

	rotate.Overlap = 0
	_, err = w.RotateSecret(t.Context(), call, rotate)
	if e, is := errors.AsType[*domain.Error](err); !is || e.Code != domain.CodeIdempotencyKeyReused {
		t.Errorf("another overlap under the same key: %v", err)
	}
}
