package main

import (
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	api "github.com/salga-trust/engine/http/client" // load_test.go has a client of its own
	"github.com/salga-trust/engine/internal/pgtest"
)

// journey is the README's tour, walked only with the generated client. A chapter leaves
// here what later ones need.
type journey struct {
	t      *testing.T
	site   *site
	email  string
	nobody *api.Client
	nomsa  *api.Client // the citizen, once she has signed in
	office *api.Client // an officer of her municipality, once there is one
	admin  *api.Client // its admin, then

	account *api.UserBody    // hers, in Cape Town
	consent *api.ConsentBody // hers to alerts by SMS
	newest  int64            // position of the last change
}

const journeyPassword = "correct horse battery"

func TestTheClientWalksTheTourOfTheReadme(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	j := &journey{t: t, site: s, email: "nomsa@example.org", nobody: api.New("http://" + s.addr)}
	for _, chapter := range []func(){
		j.anybodyLooks, j.sheRegisters, j.sheAgrees, j.sheTakesItBack, j.aFormFromThreeDaysAgo,
		j.theSameAddressElsewhere, j.anOfficerFindsHer, j.anOfficerAnswersForHer, j.aProgramAsks,
		j.sheGoes,
	} {
		chapter()
	}
}

// ok ends the journey at an error.
func (j *journey) ok(err error) {
	j.t.Helper()
	if err != nil {
		j.t.Fatal(err)
	}
}

// refused checks a refusal's code.
func (j *journey) refused(err error, code api.ProblemCode) {
	j.t.Helper()
	if api.CodeOf(err) != code {
		j.t.Errorf("got %v, want %s", err, code)
	}
}

// followed waits for the read tables. It waits longer than the API, which answers within
// two seconds on any machine.
func (j *journey) followed() {
	j.t.Helper()
	pgtest.Eventually(j.t, "the read tables have followed", j.site.caughtUp)
}

// signIn returns the client of somebody with an account.
func (j *journey) signIn(email, municipality string) *api.Client {
	j.t.Helper()
	tokens, err := j.nobody.Login(j.t.Context(), api.LoginBody{
		Email: email, Password: journeyPassword, MunicipalityCode: &municipality,
	}, nil)
	j.ok(err)
	return j.nobody.As(tokens.Body.AccessToken)
}

// register registers her address in a municipality.
func (j *journey) register(municipality string) (*api.Answer[api.UserBody], error) {
	return j.nobody.Register(j.t.Context(), api.RegisterBody{
		Email: j.email, Password: journeyPassword, FullName: "Nomsa Dlamini",
		PreferredLanguage: new(api.RegisterBodyPreferredLanguageZu), MunicipalityCode: municipality,
		Consent: api.RegisterConsentBody{Purpose: "platform_registration", Language: "zu", Consented: true},
	}, nil)
}

// check asks whether her data may be processed.
func (j *journey) check(want bool, p api.CheckConsentParams) *api.DecidedBody {
	j.t.Helper()
	check, err := j.nomsa.CheckConsent(j.t.Context(), &p)
	j.ok(err)
	if check.Body.Allowed != want {
		j.t.Errorf("%s: allowed %v, want %v: %+v", p.Purpose, check.Body.Allowed, want, check.Body.DecidedBy)
	}
	return check.Body.DecidedBy
}

func (j *journey) anybodyLooks() {
	found, err := j.nobody.ListMunicipalities(j.t.Context(), &api.ListMunicipalitiesParams{Q: new("cape town")})
	j.ok(err)
	if m := found.Body.Items; len(m) != 1 || m[0].Name != "City of Cape Town" || found.Body.Next != nil {
		j.t.Errorf("municipalities: %+v", found.Body)
	}

	purposes, err := j.nobody.ListPurposes(j.t.Context(), &api.ListPurposesParams{MunicipalityCode: new("CPT")})
	j.ok(err)
	for _, p := range purposes.Body.Items {
		if p.Code == "sms_alert" && strings.HasPrefix(p.Notice.Texts["zu"], "Ukukuthumelela izaziso ze-SMS") {
			return
		}
	}
	j.t.Errorf("no sms_alert in isiZulu: %+v", purposes.Body.Items)
}

func (j *journey) sheRegisters() {
	account, err := j.register("CPT")
	j.ok(err)
	if u := account.Body; u.MunicipalityCode != "CPT" || u.Role != api.UserBodyRoleCitizen || u.Phone != nil ||
		account.Position() == 0 {
		j.t.Errorf("registered: %+v", account)
	}

	j.account, j.newest = &account.Body, account.Position()
	j.nomsa = j.signIn(j.email, "CPT")

	me, err := j.nomsa.GetMe(j.t.Context(), nil)
	j.ok(err)
	if !reflect.DeepEqual(me.Body, *j.account) || me.ETag() == "" {
		j.t.Errorf("she is %+v, and registered %+v", me, j.account)
	}
}

func (j *journey) sheAgrees() {
	agree := api.RecordConsentBody{Purpose: "sms_alert", Language: "zu", Consented: true}
	once := &api.RecordConsentParams{IdempotencyKey: new("sms, yes")}

	first, err := j.nomsa.RecordConsent(j.t.Context(), agree, once)
	j.ok(err)
	if c := first.Body; !c.Consented || c.ConsentedAt == nil ||
		!strings.HasPrefix(*c.PurposeDescription, "Ukukuthumelela izaziso ze-SMS") {
		j.t.Errorf("granted: %+v", c)
	}

	again, err := j.nomsa.RecordConsent(j.t.Context(), agree, once)
	j.ok(err)
	if again.Body.ID != first.Body.ID || again.Position() != first.Position() {
		j.t.Errorf("sent again it is another: %+v, %+v", again, first)
	}

	_, err = j.nomsa.RecordConsent(j.t.Context(), agree, nil)
	j.refused(err, api.ProblemCodeAlreadyGranted)
	j.consent, j.newest = &first.Body, first.Position()
	j.check(true, api.CheckConsentParams{Purpose: "sms_alert"})
}

func (j *journey) sheTakesItBack() {
	withdrawn, err := j.nomsa.WithdrawConsent(j.t.Context(), j.consent.ID, &api.WithdrawConsentBody{
		Reason: new("too many messages"),
	}, nil)
	j.ok(err)
	if !withdrawn.Body.Withdrawn || withdrawn.Body.WithdrawnAt == nil {
		j.t.Errorf("withdrawn: %+v", withdrawn.Body)
	}

	j.newest = withdrawn.Position()
	if by := j.check(false, api.CheckConsentParams{Purpose: "sms_alert"}); by == nil ||
		by.EventType != "consent.withdrawn.v1" {
		j.t.Errorf("decided by %+v", by)
	}
	j.check(true, api.CheckConsentParams{Purpose: "sms_alert", At: &j.consent.RecordedAt})
}

// The two clocks: as we know today, it was allowed three days ago; as we knew then, it
// was not.
func (j *journey) aFormFromThreeDaysAgo() {
	then := time.Now().Add(-3 * 24 * time.Hour)
	form, err := j.nomsa.RecordConsent(j.t.Context(), api.RecordConsentBody{
		Purpose: "newsletter", Language: "zu", Consented: true,
		Channel: new(api.RecordConsentBodyChannelPaper), GivenAt: &then,
		Evidence: &api.EvidenceBody{SHA256: strings.Repeat("9f86d081", 8), Reference: "form 114"},
	}, nil)
	j.ok(err)
	if *form.Body.Channel != api.ConsentBodyChannelPaper || form.Body.RecordedAt.Sub(form.Body.GivenAt) < 71*time.Hour {
		j.t.Errorf("form: %+v", form.Body)
	}

	j.newest = form.Position()
	j.check(true, api.CheckConsentParams{Purpose: "newsletter", At: &then})
	if by := j.check(false, api.CheckConsentParams{Purpose: "newsletter", At: &then, KnownAt: &then}); by != nil {
		j.t.Errorf("known then: %+v", by)
	}

	j.followed()
	list, err := j.nomsa.ListConsents(j.t.Context(), &api.ListConsentsParams{MinEventPosition: &j.newest})
	j.ok(err)
	if len(list.Body.Items) != 3 { // one of them is what her account rests on
		j.t.Errorf("her consents: %+v", list.Body.Items)
	}
}

func (j *journey) theSameAddressElsewhere() {
	other, err := j.register("JHB")
	j.ok(err)
	if other.Body.MunicipalityCode != "JHB" || other.Body.ID == j.account.ID {
		j.t.Errorf("in Johannesburg she is %+v", other.Body)
	}
	j.newest = other.Position()
	_, err = j.register("CPT")
	j.refused(err, api.ProblemCodeEmailTaken)
}

// anOfficerFindsHer in Cape Town, and only there.
func (j *journey) anOfficerFindsHer() {
	j.office = j.officer("CPT")
	j.followed()

	found, err := j.office.ListUsers(j.t.Context(), &api.ListUsersParams{Email: &j.email, MinEventPosition: &j.newest})
	j.ok(err)
	shown := *j.account
	shown.SecondFactor = nil // only she herself may see whether she has one
	if len(found.Body.Items) != 1 || !reflect.DeepEqual(found.Body.Items[0], shown) {
		j.t.Errorf("the officer finds %+v, not %+v", found.Body.Items, shown)
	}
	_, err = j.nomsa.ListUsers(j.t.Context(), nil)
	j.refused(err, api.ProblemCodeForbidden)
}

// anOfficerAnswersForHer: what was in force just after she agreed, in which words, who
// recorded it, who has looked at it since?
func (j *journey) anOfficerAnswersForHer() {
	history, err := j.office.SubjectHistory(j.t.Context(), j.account.ID, nil)
	j.ok(err)
	events := history.Body.Items
	if len(events) != 4 || events[1].EventID == events[2].EventID || events[2].Reason == nil ||
		*events[2].Reason != "too many messages" {
		j.t.Fatalf("her history: %+v", events)
	}
	granted := events[1]
	if *granted.PurposeDescription != *j.consent.PurposeDescription || *granted.SHA256 != *j.consent.SHA256 ||
		*granted.Actor != j.account.ID {
		j.t.Errorf("granted: %+v", granted)
	}

	then := func(format api.ExportConsentsParamsFormat) string {
		export, err := j.office.ExportConsents(j.t.Context(), &api.ExportConsentsParams{
			AsOf: &j.consent.RecordedAt, Position: &j.newest, Purpose: new("sms_alert"), Format: &format,
		})
		j.ok(err)
		defer func() { _ = export.Body.Close() }()
		text, err := io.ReadAll(export.Body)
		j.ok(err)
		if export.Position() != j.newest {
			j.t.Errorf("the export is at position %d, and was asked for at %d", export.Position(), j.newest)
		}
		return string(text)
	}
	if lines := then(api.ExportConsentsParamsFormatNdjson); !strings.Contains(lines, `"withdrawn":false`) ||
		!strings.Contains(lines, `{"end":true,"count":1,`) {
		j.t.Errorf("when she had just agreed: %s", lines)
	}
	if first, second := then(api.ExportConsentsParamsFormatCsv),
		then(api.ExportConsentsParamsFormatCsv); first != second {
		j.t.Errorf("asked twice: %s and %s", first, second)
	}

	looked, err := j.office.Exposure(j.t.Context(), &api.ExposureParams{SubjectID: new(j.account.ID)})
	j.ok(err)
	if reads := looked.Body.Items; len(reads) != 5 ||
		reads[3].Route != "GET /api/v1/compliance/subjects/{id}/history" || reads[4].Fields != "profile" {
		j.t.Errorf("who has looked: %+v", reads)
	}

	log, err := j.office.AuditLog(j.t.Context(), &api.AuditLogParams{RecordID: new(j.consent.ID)})
	j.ok(err)
	if entries := log.Body.Items; len(entries) != 2 || entries[0].Changes["withdrawn"].New != true ||
		*entries[1].UserID != j.account.ID {
		j.t.Errorf("the audit of her consent: %+v", entries)
	}

	_, err = j.nomsa.SubjectHistory(j.t.Context(), j.account.ID, nil)
	j.refused(err, api.ProblemCodeForbidden)
}

// sheGoes: she takes a copy of all her data, and is erased; her consents stay, but nobody
// can tell whose they are.
func (j *journey) sheGoes() {
	mine, err := j.nomsa.MyData(j.t.Context(), nil)
	j.ok(err)
	if d := mine.Body; d.Profile.Email == nil || *d.Profile.Email != j.email || len(d.Consents) != 3 ||
		len(d.Reads) != 7 || len(d.Recipients) != 2 {
		j.t.Errorf("her data: %+v", d)
	}

	page, err := j.nomsa.MyDataPage(j.t.Context(), nil)
	j.ok(err)
	text, err := io.ReadAll(page.Body)
	j.ok(err)
	j.ok(page.Body.Close())
	if !strings.Contains(string(text), `<html lang="zu">`) || !strings.Contains(string(text), "Nomsa Dlamini") {
		j.t.Errorf("her page: %s", text)
	}

	_, err = j.nomsa.DeleteAccount(j.t.Context(),
		&api.EraseBody{Confirmation: "DELETE MY ACCOUNT", Password: "wrong"}, nil)
	j.refused(err, api.ProblemCodePasswordWrong)
	gone, err := j.nomsa.DeleteAccount(j.t.Context(),
		&api.EraseBody{Confirmation: "DELETE MY ACCOUNT", Password: journeyPassword}, nil)
	j.ok(err)

	certificate, err := j.nobody.GetCertificate(j.t.Context(), gone.Body.CertificateID, nil)
	j.ok(err)
	if certificate.Body.SubjectID != j.account.ID || certificate.Body.Position != gone.Position() {
		j.t.Errorf("certificate %+v of %+v", certificate.Body, gone.Body)
	}

	_, err = j.nomsa.GetMe(j.t.Context(), nil)
	j.refused(err, api.ProblemCodeSessionEnded)
	history, err := j.office.SubjectHistory(j.t.Context(), j.account.ID, nil)
	j.ok(err)
	if events := history.Body.Items; len(events) != 6 || events[2].Reason != nil || events[2].Personal != "erased" {
		j.t.Errorf("her history: %+v", events)
	}
}

// aProgramAsks lets a program of her municipality ask about her, until it is revoked; she
// sees its name.
func (j *journey) aProgramAsks() {
	made, err := j.admin.CreateServiceAccount(j.t.Context(), api.CreateServiceAccountBody{
		Name: "SMS alerts", Scopes: []string{"consents:check"},
	}, nil)
	j.ok(err)
	token, err := j.nobody.FetchToken(j.t.Context(), made.Body.ClientID, *made.Body.ClientSecret)
	j.ok(err)

	program := j.nobody.As(token.AccessToken)
	ask := &api.CheckConsentParams{Purpose: "sms_alert", SubjectID: &j.account.ID}
	check, err := program.CheckConsent(j.t.Context(), ask)
	j.ok(err)
	if check.Body.Reason == "" || check.Body.Position < made.Position() {
		j.t.Errorf("the program is told %+v", check.Body)
	}
	_, err = program.ListConsents(j.t.Context(), &api.ListConsentsParams{SubjectID: &j.account.ID})
	j.refused(err, api.ProblemCodeInsufficientScope)

	programs, err := j.nomsa.ListPrograms(j.t.Context(), nil)
	j.ok(err)
	if shown := programs.Body.Items; len(shown) != 1 || shown[0].Name != "SMS alerts" || shown[0].ID != made.Body.ID {
		j.t.Errorf("she sees the programs %+v", shown)
	}

	_, err = j.admin.RevokeServiceAccount(j.t.Context(), made.Body.ID, nil)
	j.ok(err)
	_, err = program.CheckConsent(j.t.Context(), ask)
	j.refused(err, api.ProblemCodeInvalidToken)
	_, err = j.nobody.FetchToken(j.t.Context(), made.Body.ClientID, *made.Body.ClientSecret)
	j.refused(err, "invalid_client")
}

// officer signs in as a manager of a municipality, whose account its first admin makes.
func (j *journey) officer(municipality string) *api.Client {
	j.t.Helper()
	j.site.feed(journeyPassword+"\n", "admin", "create", "--municipality", municipality, "--email",
		"admin@example.org").expect(j.t, exit.CodeDone, "made")
	j.admin = j.signIn("admin@example.org", municipality)
	made, err := j.admin.CreateUser(j.t.Context(), api.CreateUserBody{
		Email: "officer@example.org", Password: journeyPassword, FullName: "Sipho Zulu", Role: "manager",
	}, nil)
	j.ok(err)
	j.newest = made.Position()
	return j.signIn("officer@example.org", municipality)
}
