package http

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"github.com/danielgtaylor/huma/v2"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/http/console"
)

// route is one line of the table.
type route struct {
	// id is the operation's id in the document.
	id     string
	method string
	path   string

	// who may use the route, see permissions.
	who who
	// scope is what a program needs to use it; empty: no program may, unless everybody
	// may.
	scope domain.Scope
	// rate is how often it may be used.
	rate rate
	// waits names what a query reads: a projection, or logItself. The answer waits until
	// that has reached Min-Event-Position.
	waits string
	// versioned routes honour If-Match.
	versioned bool
	// query marks a question that is sent by POST because of its size: it changes
	// nothing, so that it takes no Idempotency-Key.
	query bool
	// bare routes are open even to callers who must set up a second factor first, see
	// Config.RequireTOTP.
	bare bool

	// serve handles the request, see on; raw does where the answer is not JSON.
	serve serve
	raw   func(*server) http.Handler
	// page makes an answer for people, who show their session by a cookie; asks names the
	// parameters that its address may have.
	page console.Page
	asks []string

	// form routes take a form instead of JSON, change nothing, and refuse in the form of
	// RFC 6749.
	form bool

	// summary is for the document, which leaves hidden routes out.
	summary string
	hidden  bool
	// codes are for the document: the refusals that do not follow from the other fields.
	codes []domain.Code
	// statuses are exceptions to the table of statuses.
	statuses map[domain.Code]int
	// status of a success; 0: 200.
	status int
	// formats of an answer that is not only JSON.
	formats []Format
	// media is the type of an answer that is never JSON.
	media string

	// reaches is what reached returns, looked up once.
	reaches map[party]reach
}

type serve func(s *server, api huma.API, r *route, op huma.Operation)

// logItself is for queries that read the log, not a read table.
const logItself = "log"

// apiBase begins every path of the API; probes, metrics and documentation are outside it.
const apiBase = "/api/v1"

// routes is the table of all routes: a route that is not in it does not exist.
func routes() []route {
	const api = apiBase
	return []route{
		{
			id: "health", method: "GET", path: "/health",
			who: everyone, rate: unlimited,
			serve: on((*server).health), summary: "Liveness: is the process running? Checks nothing else",
		},
		{
			id: "ready", method: "GET", path: "/ready",
			who: everyone, rate: unlimited,
			serve: on((*server).ready), summary: "Readiness: can it serve? 503 names the parts that cannot",
			codes: []domain.Code{domain.CodeUnavailable},
		},
		{
			id: "metrics", method: "GET", path: "/metrics",
			who: scraper, rate: unlimited,
			raw: (*server).metrics, summary: "Metrics for Prometheus",
		},
		{
			id: "root", method: "GET", path: "/",
			who: everyone, rate: assetRate, hidden: true,
			raw: (*server).root,
		},
		{
			id: "docs", method: "GET", path: "/docs",
			who: everyone, rate: assetRate,
			raw: (*server).docs, summary: "This documentation as a page",
		},
		{
			id: "docs_asset", method: "GET", path: "/docs/{asset}",
			who: everyone, rate: assetRate, hidden: true,
			raw: (*server).docsAsset,
		},
		{
			id: "openapi", method: "GET", path: "/openapi.json",
			who: everyone, rate: assetRate,
			raw: (*server).openapi, summary: "This documentation as OpenAPI 3.1",
		},
		{
			id: "log_checkpoint", method: "GET", path: "/log/checkpoint",
			who: everyone, rate: assetRate, hidden: true, // C2SP has its documentation
			raw: (*server).logCheckpoint,
		},
		{
			id: "log_tile", method: "GET", path: tilePrefix + "*",
			who: everyone, rate: assetRate, hidden: true,
			raw: (*server).logTile,
		},

		{
			id: "register", method: "POST", path: api + "/auth/register",
			who: everyone, rate: registerRate, status: 201,
			serve:   on((*server).register),
			summary: "Register as a citizen, giving the consent that registration requires",
			codes: []domain.Code{
				domain.CodeUnknownMunicipality, domain.CodeMunicipalityInactive, domain.CodeConsentRequired,
				domain.CodeWordingMismatch, domain.CodeEmailTaken, domain.CodeOverloaded, domain.CodeSubjectErased,
			},
			statuses: map[domain.Code]int{domain.CodeMunicipalityInactive: http.StatusBadRequest},
		},
		{
			id: "login", method: "POST", path: api + "/auth/login",
			who: everyone, rate: loginRate,
			serve: on((*server).login), summary: "Sign in",
			codes: []domain.Code{
				domain.CodeInvalidCredentials, domain.CodeTOTPRequired, domain.CodeTOTPLocked, domain.CodeOverloaded,
			},
		},
		{
			id: "refresh", method: "POST", path: api + "/auth/refresh",
			who: holder, rate: publicRate,
			serve: on((*server).refresh), summary: "Exchange a refresh token for a new pair of tokens",
			codes: []domain.Code{
				domain.CodeInvalidToken, domain.CodeSessionEnded, domain.CodeAccountInactive,
				domain.CodeMunicipalityInactive,
			},
		},
		{
			id: "logout", method: "POST", path: api + "/auth/logout",
			who: holder, rate: publicRate, status: 204,
			serve: on((*server).logout), summary: "End the session that a refresh token belongs to",
			codes: []domain.Code{domain.CodeInvalidToken},
		},
		{
			id: "token", method: "POST", path: api + "/auth/token",
			who: everyone, rate: publicRate, form: true,
			raw: (*server).token, summary: "Get an access token for a program (RFC 6749 §4.4)",
			codes: []domain.Code{codeTooLarge},
		},

		{
			id: "request_password_reset", method: "POST", path: api + "/auth/password-reset",
			who: everyone, rate: resetRate, status: 202,
			serve: on((*server).requestPasswordReset),
			summary: "Have a code for a new password sent to your e-mail address; " +
				"the answer is the same whether or not it has an account",
			codes: []domain.Code{domain.CodeOverloaded},
		},
		{
			id: "redeem_code", method: "POST", path: api + "/auth/redeem",
			who: everyone, rate: redeemRate, status: 204,
			serve:   on((*server).redeemCode),
			summary: "Set a new password with a reset code, or open an account with a sign-in code",
			codes: []domain.Code{
				domain.CodeCodeInvalid, domain.CodeConsentRequired, domain.CodeWordingMismatch, domain.CodeEmailTaken,
				domain.CodeOverloaded,
			},
		},

		{
			id: "get_me", method: "GET", path: api + "/users/me",
			who: self, rate: accountRate, waits: logItself, bare: true,
			serve: on((*server).me), summary: "Your own account",
		},
		{
			id: "change_me", method: "PATCH", path: api + "/users/me",
			who: self, rate: accountRate, versioned: true,
			serve:   on((*server).changeMe),
			summary: "Change your details; a new e-mail address needs current_password",
			codes:   []domain.Code{domain.CodePasswordWrong, domain.CodeEmailTaken, domain.CodeOverloaded},
		},
		{
			id: "change_password", method: "PUT", path: api + "/users/me/password",
			who: self, rate: accountRate, status: 204,
			serve: on((*server).changePassword), summary: "Change your password; all other sessions end",
			codes: []domain.Code{domain.CodePasswordWrong, domain.CodeOverloaded},
		},
		{
			id: "verify_email", method: "POST", path: api + "/users/me/email/verify",
			who: self, rate: accountRate,
			serve:   on((*server).verifyEmail),
			summary: "Without code: have one sent to your e-mail address; with it: prove that the address is yours",
			codes:   []domain.Code{domain.CodeCodeInvalid, domain.CodeMailNotSetUp, domain.CodeOverloaded},
		},
		{
			id: "set_up_totp", method: "POST", path: api + "/users/me/totp",
			who: self, rate: accountRate, status: 201, bare: true,
			serve:   on((*server).setUpTOTP),
			summary: "Start to set up a second factor (RFC 6238): its secret is shown once; confirm it with a code",
			codes:   []domain.Code{domain.CodePasswordWrong, domain.CodeTOTPAlreadySet, domain.CodeOverloaded},
		},
		{
			id: "confirm_totp", method: "POST", path: api + "/users/me/totp/confirm",
			who: self, rate: accountRate, status: 204, bare: true,
			serve:   on((*server).confirmTOTP),
			summary: "Confirm a second factor with its first code; other sessions end, and sign-in then needs totp",
			codes:   []domain.Code{domain.CodeNotFound, domain.CodeTOTPRequired},
		},
		{
			id: "remove_totp", method: "DELETE", path: api + "/users/me/totp",
			who: self, rate: accountRate, status: 204,
			serve: on((*server).removeTOTP), summary: "Remove your second factor; all other sessions end",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodePasswordWrong, domain.CodeTOTPRequired, domain.CodeTOTPLocked,
				domain.CodeOverloaded,
			},
		},

		{
			id: "list_users", method: "GET", path: api + "/users",
			who: staff, rate: accountRate, waits: "users",
			serve: on((*server).users),
			summary: "People of your municipality, newest first; " +
				"field workers search by exact email, phone, external id",
			codes: []domain.Code{domain.CodeInvalid},
		},
		{
			id: "get_user", method: "GET", path: api + "/users/{id}",
			who: overseers, rate: accountRate, waits: "users",
			serve: on((*server).user), summary: "One account of your municipality",
			codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "create_user", method: "POST", path: api + "/users",
			who: admins, rate: accountRate, status: 201,
			serve: on((*server).createUser), summary: "Create a staff account",
			codes: []domain.Code{
				domain.CodeConsentRequired, domain.CodeEmailTaken, domain.CodeOverloaded, domain.CodeSubjectErased,
			},
		},
		{
			id: "change_role", method: "PUT", path: api + "/users/{id}/role",
			who: admins, rate: accountRate, versioned: true,
			serve: on((*server).changeRole), summary: "Change the role of an account; the last admin stays admin",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodeNoAccount, domain.CodeLastAdmin, domain.CodeConsentRequired,
				domain.CodeSubjectErased,
			},
		},
		{
			id: "deactivate_user", method: "POST", path: api + "/users/{id}/deactivate",
			who: admins, rate: accountRate, versioned: true,
			serve: on((*server).deactivateUser), summary: "Deactivate an account; its sessions end",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodeNoAccount, domain.CodeLastAdmin, domain.CodeSubjectErased,
			},
		},
		{
			id: "reactivate_user", method: "POST", path: api + "/users/{id}/reactivate",
			who: admins, rate: accountRate, versioned: true,
			serve: on((*server).reactivateUser), summary: "Reactivate an account",
			codes: []domain.Code{domain.CodeNotFound, domain.CodeConsentRequired, domain.CodeSubjectErased},
		},
		{
			id: "issue_reset_code", method: "POST", path: api + "/users/{id}/reset-code",
			who: staff, rate: accountRate, status: 201,
			serve:   on((*server).issueResetCode),
			summary: "Hand a code for a new password to somebody whose identity document you have seen",
			codes: []domain.Code{
				domain.CodeForbidden, domain.CodeNotFound, domain.CodeAccountInactive, domain.CodeNoSignIn,
				domain.CodeSubjectErased,
			},
			statuses: map[domain.Code]int{domain.CodeAccountInactive: http.StatusConflict},
		},
		{
			id: "recover_totp", method: "DELETE", path: api + "/users/{id}/totp",
			who: admins, rate: accountRate, versioned: true,
			serve:   on((*server).recoverTOTP),
			summary: "Remove the second factor of someone who has lost their authenticator; their sessions end",
			codes:   []domain.Code{domain.CodeForbidden, domain.CodeNotFound, domain.CodeSubjectErased},
		},

		{
			id: "record_resident", method: "POST", path: api + "/residents",
			who: counter, rate: accountRate, status: 201,
			serve:   on((*server).recordResident),
			summary: "Record a person who has no account; needs no consent",
			codes:   []domain.Code{domain.CodeExternalIDTaken, domain.CodeSubjectErased},
		},
		{
			id: "get_resident", method: "GET", path: api + "/residents/{id}",
			who: staff, rate: accountRate, waits: logItself,
			serve: on((*server).resident), summary: "One person with their external ids",
			codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "change_resident", method: "PATCH", path: api + "/residents/{id}",
			who: counter, rate: accountRate, versioned: true,
			serve:   on((*server).changeResident),
			summary: "Correct a person's details; of someone with an account, only the external ids",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodeHasAccount, domain.CodeExternalIDTaken, domain.CodeSubjectErased,
				domain.CodeMerged,
			},
		},
		{
			id: "issue_sign_in_code", method: "POST", path: api + "/residents/{id}/sign-in",
			who: counter, rate: accountRate, status: 201,
			serve:   on((*server).issueSignInCode),
			summary: "Hand out a sign-in code, with which a recorded person gets an account",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodeHasAccount, domain.CodeMerged, domain.CodeSubjectErased,
			},
		},
		{
			id: "merge_residents", method: "POST", path: api + "/residents/{id}/merge",
			who: registrars, rate: accountRate,
			serve:   on((*server).mergeResidents),
			summary: "Merge this record into another of the same person; decisions count as one history from now on",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodeHasAccount, domain.CodeMerged, domain.CodeHasMerged,
				domain.CodeRequestsOpen, domain.CodeTooManyDecisions, domain.CodeSubjectErased,
				domain.CodeAccountRestsOn,
			},
		},
		{
			id: "unmerge_residents", method: "POST", path: api + "/residents/{id}/unmerge",
			who: registrars, rate: accountRate,
			serve:   on((*server).unmergeResidents),
			summary: "Take a merge back: this record stands alone again",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodeNotMerged, domain.CodeTooManyDecisions, domain.CodeSubjectErased,
			},
		},

		{
			id: "register_municipality", method: "POST", path: api + "/municipalities",
			who: platformAdmins, rate: accountRate, status: 201,
			serve: on((*server).registerMunicipality), summary: "Register a municipality",
			codes: []domain.Code{domain.CodeCodeTaken, domain.CodeNameTaken},
		},
		{
			id: "list_municipalities", method: "GET", path: api + "/municipalities",
			who: everyone, rate: publicRate, waits: "municipalities",
			serve: on((*server).municipalities), summary: "Municipalities, newest first",
			codes: []domain.Code{domain.CodeInvalid},
		},
		{
			id: "get_municipality", method: "GET", path: api + "/municipalities/{id}",
			who: everyone, rate: publicRate, waits: "municipalities",
			serve: on((*server).municipality), summary: "One municipality, by id or code",
			codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "change_municipality", method: "PATCH", path: api + "/municipalities/{id}",
			who: platformAdmins, rate: accountRate, versioned: true,
			serve: on((*server).changeMunicipality), summary: "Change a municipality's details",
			codes: []domain.Code{domain.CodeNotFound, domain.CodeNameTaken},
		},
		{
			id: "deactivate_municipality", method: "POST", path: api + "/municipalities/{id}/deactivate",
			who: platformAdmins, rate: accountRate, versioned: true,
			serve:   on((*server).deactivateMunicipality),
			summary: "Deactivate a municipality: nobody can register or sign in",
			codes:   []domain.Code{domain.CodeNotFound},
		},
		{
			id: "reactivate_municipality", method: "POST", path: api + "/municipalities/{id}/reactivate",
			who: platformAdmins, rate: accountRate, versioned: true,
			serve: on((*server).reactivateMunicipality), summary: "Reactivate a municipality",
			codes: []domain.Code{domain.CodeNotFound},
		},

		{
			id: "list_purposes", method: "GET", path: api + "/purposes",
			who: everyone, rate: publicRate, waits: logItself,
			serve: on((*server).purposes), summary: "The purposes in force, or those retired, with the wording to show",
			codes: []domain.Code{domain.CodeUnknownMunicipality, domain.CodeInvalid},
		},
		{
			id: "get_purpose", method: "GET", path: api + "/purposes/{code}",
			who: everyone, rate: publicRate, waits: logItself,
			serve: on((*server).purpose), summary: "One purpose, even if retired",
			codes:    []domain.Code{domain.CodeUnknownMunicipality, domain.CodeUnknownPurpose},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},
		{
			id: "list_notices", method: "GET", path: api + "/purposes/{code}/notices",
			who: everyone, rate: publicRate, waits: logItself,
			serve: on((*server).notices), summary: "Every version of a purpose's wording, oldest first",
			codes:    []domain.Code{domain.CodeUnknownMunicipality, domain.CodeUnknownPurpose, domain.CodeInvalid},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},
		{
			id: "get_notice", method: "GET", path: api + "/purposes/{code}/notices/{version}",
			who: everyone, rate: publicRate, waits: logItself,
			serve: on((*server).notice), summary: "One version of a purpose's wording",
			codes:    []domain.Code{domain.CodeUnknownMunicipality, domain.CodeUnknownPurpose, domain.CodeNotFound},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},

		{
			id: "define_purpose", method: "POST", path: api + "/purposes",
			who: admins, rate: accountRate, status: 201,
			serve:   on((*server).definePurpose),
			summary: "Define a purpose of your municipality; SALGA's admins define the defaults for all",
			codes:   []domain.Code{domain.CodePurposeTaken},
		},
		{
			id: "publish_notice", method: "POST", path: api + "/purposes/{code}/notices",
			who: admins, rate: accountRate, versioned: true, status: 201,
			serve: on((*server).publishNotice), summary: "Publish the next version of a purpose's wording",
			codes:    []domain.Code{domain.CodeUnknownPurpose},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},
		{
			id: "retire_purpose", method: "POST", path: api + "/purposes/{code}/retire",
			who: admins, rate: accountRate, versioned: true,
			serve: on((*server).retirePurpose), summary: "Retire a purpose: nothing more is recorded for it",
			codes:    []domain.Code{domain.CodeUnknownPurpose},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},

		{
			id: "record_consent", method: "POST", path: api + "/consents",
			who: selfOrStaff, scope: domain.ScopeRecord, rate: accountRate, status: 201,
			serve:   on((*server).recordConsent),
			summary: "Record a grant or a refusal; staff may record one for another person",
			codes: []domain.Code{
				domain.CodeForbidden, domain.CodeNotFound, domain.CodeUnknownPurpose, domain.CodePurposeNotConsent,
				domain.CodeWordingMismatch, domain.CodeNoticeChanged, domain.CodeAlreadyGranted, domain.CodeInForce,
				domain.CodeEvidenceRequired, domain.CodeCompetentPerson, domain.CodeGivenInFuture,
				domain.CodeMerged, domain.CodeSubjectErased,
			},
		},
		{
			id: "list_consents", method: "GET", path: api + "/consents",
			who: selfOrStaff, scope: domain.ScopeRead, rate: accountRate, waits: "consents",
			serve: on((*server).consents), summary: "Consents, including withdrawn ones, newest first",
			codes: []domain.Code{domain.CodeForbidden, domain.CodeInvalid},
		},
		{
			id: "prove_consent", method: "GET", path: api + "/consents/{id}/proof",
			who: selfOrOverseers, rate: accountRate, waits: logItself, media: bundleMedia,
			serve: on((*server).proveConsent),
			summary: "A file that proves a decision to anybody, offline; it waits up to 5 seconds for a checkpoint, " +
				"and the log records that it was issued",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodeInvalid, domain.CodeNotProvable, domain.CodeProofPending,
			},
		},
		{
			id: "check_consent", method: "GET", path: api + "/consents/check",
			who: selfOrStaff, scope: domain.ScopeCheck, rate: accountRate, waits: logItself,
			serve:    on((*server).checkConsent),
			summary:  "May personal data be processed for this purpose at an instant, as known at an instant?",
			codes:    []domain.Code{domain.CodeForbidden, domain.CodeUnknownPurpose, domain.CodeInvalid},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},
		{
			id: "check_consents", method: "POST", path: api + "/consents/check",
			who: staff, scope: domain.ScopeCheck, rate: accountRate, waits: logItself, query: true,
			serve:    on((*server).checkConsents),
			summary:  "The same question about up to 1000 people, answered from one moment; it changes nothing",
			codes:    []domain.Code{domain.CodeUnknownPurpose, domain.CodeInvalid},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},
		{
			id: "get_consent", method: "GET", path: api + "/consents/{id}",
			who: selfOrStaff, scope: domain.ScopeRead, rate: accountRate, waits: "consents",
			serve: on((*server).consent), summary: "One consent",
			codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "withdraw_consent", method: "POST", path: api + "/consents/{id}/withdraw",
			who: selfOrStaff, scope: domain.ScopeRecord, rate: accountRate,
			serve:   on((*server).withdrawConsent),
			summary: "Withdraw a consent; doing so again changes nothing, unless given_at is earlier",
			codes: []domain.Code{
				domain.CodeForbidden, domain.CodeNotFound, domain.CodeNotGranted, domain.CodeAnnulled,
				domain.CodeGivenInFuture,
				domain.CodeEvidenceRequired, domain.CodeLastAdmin, domain.CodeSubjectErased,
			},
		},
		{
			id: "annul_consent", method: "POST", path: api + "/consents/{id}/annul",
			who: overseers, rate: accountRate,
			serve:   on((*server).annulConsent),
			summary: "Annul an entry made in error: as known from now on, it never counted",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodeNotGranted, domain.CodeNotWithdrawn, domain.CodeAnnulled,
				domain.CodeEvidenceRequired, domain.CodeAccountRestsOn, domain.CodeSubjectErased,
			},
		},

		{
			id: "create_service_account", method: "POST", path: api + "/service-accounts",
			who: admins, rate: accountRate, status: 201,
			serve:   on((*server).createServiceAccount),
			summary: "Create what a program signs in with; its secret is shown once",
			codes:   []domain.Code{domain.CodeNameTaken},
		},
		{
			id: "list_service_accounts", method: "GET", path: api + "/service-accounts",
			who: admins, rate: accountRate, waits: logItself,
			serve: on((*server).serviceAccounts), summary: "Service accounts of your municipality, newest first",
			codes: []domain.Code{domain.CodeInvalid},
		},
		{
			id: "get_service_account", method: "GET", path: api + "/service-accounts/{id}",
			who: admins, rate: accountRate, waits: logItself,
			serve: on((*server).serviceAccount), summary: "One service account",
			codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "rotate_secret", method: "POST", path: api + "/service-accounts/{id}/rotate",
			who: admins, rate: accountRate,
			serve:   on((*server).rotateSecret),
			summary: "Make another secret, shown once; the former one stays good for a while",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodeServiceAccountRevoked, domain.CodeTooManySecrets,
			},
		},
		{
			id: "revoke_service_account", method: "POST", path: api + "/service-accounts/{id}/revoke",
			who: admins, rate: accountRate,
			serve:   on((*server).revokeServiceAccount),
			summary: "End a service account, its secrets and its tokens; doing so again changes nothing",
			codes:   []domain.Code{domain.CodeNotFound},
		},

		{
			id: "register_webhook", method: "POST", path: api + "/webhooks",
			who: admins, rate: accountRate, status: 201,
			serve:   on((*server).registerWebhook),
			summary: "Have events sent to another system over HTTP, from now on; the secret is shown once",
			codes:   []domain.Code{domain.CodeTooManyWebhooks},
		},
		{
			id: "list_webhooks", method: "GET", path: api + "/webhooks",
			who: admins, rate: accountRate, waits: logItself,
			serve: on((*server).webhooks), summary: "Webhooks of your municipality that are not deleted, newest first",
			codes: []domain.Code{domain.CodeInvalid},
		},
		{
			id: "get_webhook", method: "GET", path: api + "/webhooks/{id}",
			who: admins, rate: accountRate, waits: logItself,
			serve: on((*server).webhook), summary: "One webhook",
			codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "delete_webhook", method: "DELETE", path: api + "/webhooks/{id}",
			who: admins, rate: accountRate,
			serve:   on((*server).deleteWebhook),
			summary: "Send nothing to a webhook any more, also nothing outstanding; doing so again changes nothing",
			codes:   []domain.Code{domain.CodeNotFound},
		},
		{
			id: "resume_webhook", method: "POST", path: api + "/webhooks/{id}/resume",
			who: admins, rate: accountRate,
			serve:   on((*server).resumeWebhook),
			summary: "Send to a paused webhook again, beginning with what it did not acknowledge",
			codes:   []domain.Code{domain.CodeNotFound, domain.CodeWebhookDeleted},
		},
		{
			id: "list_deliveries", method: "GET", path: api + "/webhooks/{id}/deliveries",
			who: admins, rate: accountRate, waits: logItself,
			serve:   on((*server).deliveries),
			summary: "What was sent to a webhook in the last 30 days, and what is outstanding, newest first",
			codes:   []domain.Code{domain.CodeNotFound, domain.CodeInvalid},
		},

		{
			id: "list_programs", method: "GET", path: api + "/data-rights/programs",
			who: self, rate: accountRate, waits: logItself,
			serve:   on((*server).programs),
			summary: "The programs of your municipality that may ask about you, and what each may do",
			codes:   []domain.Code{domain.CodeInvalid},
		},
		{
			id: "list_reads", method: "GET", path: api + "/data-rights/reads",
			who: self, rate: accountRate, waits: logItself,
			serve: on((*server).myReads), summary: "Who read your data, newest first",
			codes: []domain.Code{domain.CodeInvalid},
		},
		{
			id: "my_data", method: "GET", path: api + "/data-rights/my-data",
			who: self, rate: exportRate, waits: logItself,
			serve: on((*server).myData), summary: "Everything held about you (POPIA s23)",
		},
		{
			id: "my_data_page", method: "GET", path: api + "/data-rights/my-data/page",
			who: self, rate: exportRate, waits: logItself, media: "text/html; charset=utf-8",
			serve:   on((*server).myPage),
			summary: "Everything held about you, as a page to read and print in English, isiZulu or Afrikaans",
		},
		{
			id: "delete_account", method: "DELETE", path: api + "/data-rights/delete-account",
			who: self, rate: accountRate,
			serve:   on((*server).eraseMe),
			summary: "Erase your account and everything that identifies you (POPIA s24)",
			codes: []domain.Code{
				domain.CodePasswordWrong, domain.CodeRetentionHold, domain.CodeStaffRecordKept, domain.CodeLastAdmin,
				domain.CodeSubjectErased,
			},
		},
		{
			id: "list_certificates", method: "GET", path: api + "/data-rights/certificates",
			who: auditors, rate: accountRate, waits: logItself,
			serve:   on((*server).certificates),
			summary: "Certificates of erasure, newest first; SALGA's admins see every municipality's",
			codes:   []domain.Code{domain.CodeForbidden, domain.CodeInvalid},
		},
		{
			id: "get_certificate", method: "GET", path: api + "/data-rights/certificates/{id}",
			who: everyone, rate: publicRate, waits: logItself,
			serve: on((*server).certificate), summary: "One certificate of erasure; it names nobody",
			codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "lodge_request", method: "POST", path: api + "/data-rights/requests",
			who: selfOrStaff, rate: accountRate, status: 201,
			serve:   on((*server).lodgeRequest),
			summary: "Request access, correction or erasure, or object (POPIA s11(3), s23, s24)",
			codes: []domain.Code{
				domain.CodeForbidden, domain.CodeNotFound, domain.CodeMerged, domain.CodeSubjectErased,
				domain.CodeTooManyOpen,
			},
		},
		{
			id: "list_requests", method: "GET", path: api + "/data-rights/requests",
			who: overseers, rate: accountRate, waits: logItself,
			serve:   on((*server).tenantRequests),
			summary: "Your municipality's requests with one status, earliest due date first",
			codes:   []domain.Code{domain.CodeInvalid},
		},
		{
			id: "get_request", method: "GET", path: api + "/data-rights/requests/{id}",
			who: overseers, rate: accountRate, waits: logItself,
			serve: on((*server).request), summary: "One request of your municipality",
			codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "get_rights", method: "GET", path: api + "/data-rights/subject",
			who: selfOrOverseers, rate: accountRate, waits: logItself,
			serve: on((*server).rights), summary: "One person's requests, and the holds on their data",
			codes: []domain.Code{domain.CodeForbidden, domain.CodeNotFound},
		},
		{
			id: "request_data", method: "GET", path: api + "/data-rights/requests/{id}/data",
			who: overseers, rate: accountRate, waits: logItself,
			serve:   on((*server).requestData),
			summary: "Everything held about the person who requested access, to hand to them",
			codes:   []domain.Code{domain.CodeNotFound},
		},
		{
			id: "request_data_page", method: "GET", path: api + "/data-rights/requests/{id}/data/page",
			who: overseers, rate: accountRate, waits: logItself, media: "text/html; charset=utf-8",
			serve:   on((*server).requestPage),
			summary: "Everything held about the person who requested access, as a page to print in their language",
			codes:   []domain.Code{domain.CodeNotFound},
		},
		{
			id: "fulfil_request", method: "POST", path: api + "/data-rights/requests/{id}/fulfil",
			who: overseers, rate: accountRate,
			serve:   on((*server).fulfilRequest),
			summary: "Close a request as fulfilled; for an erasure, this carries it out and needs an admin",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodeRequestClosed, domain.CodeRetentionHold, domain.CodeStaffRecordKept,
				domain.CodeLastAdmin, domain.CodeSubjectErased, domain.CodeSecondPerson,
			},
		},
		{
			id: "refuse_request", method: "POST", path: api + "/data-rights/requests/{id}/refuse",
			who: overseers, rate: accountRate,
			serve: on((*server).refuseRequest), summary: "Close a request as refused, with the ground",
			codes: []domain.Code{domain.CodeNotFound, domain.CodeRequestClosed, domain.CodeSubjectErased},
		},
		{
			id: "place_hold", method: "POST", path: api + "/data-rights/holds",
			who: overseers, rate: accountRate, status: 201,
			serve: on((*server).placeHold), summary: "Keep a person's data from being erased",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodeMerged, domain.CodeSubjectErased, domain.CodeTooManyOpen,
			},
		},
		{
			id: "list_holds", method: "GET", path: api + "/data-rights/holds",
			who: overseers, rate: accountRate, waits: logItself,
			serve: on((*server).holds), summary: "Your municipality's holds, newest first",
			codes: []domain.Code{domain.CodeInvalid},
		},
		{
			id: "get_hold", method: "GET", path: api + "/data-rights/holds/{id}",
			who: overseers, rate: accountRate, waits: logItself,
			serve: on((*server).hold), summary: "One hold of your municipality, lifted or not",
			codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "lift_hold", method: "POST", path: api + "/data-rights/holds/{id}/lift",
			who: overseers, rate: accountRate,
			serve: on((*server).liftHold), summary: "Lift a hold; doing so again changes nothing",
			codes: []domain.Code{domain.CodeNotFound, domain.CodeSubjectErased},
		},

		{
			id: "subject_history", method: "GET", path: api + "/compliance/subjects/{id}/history",
			who: overseers, scope: domain.ScopeEvents, rate: accountRate, waits: logItself,
			serve: on((*server).history), summary: "Every consent event of one person, oldest first, in full",
			codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "export_consents", method: "GET", path: api + "/compliance/consents",
			who: overseers, rate: accountRate, waits: logItself, formats: []Format{JSON, CSV, NDJSON},
			serve:   on((*server).export),
			summary: "Stream the state of the municipality's consents at an instant, replayed from events",
			codes: []domain.Code{
				domain.CodeInvalid, domain.CodeUnknownPurpose, domain.CodeNotFound, domain.CodeOverloaded,
			},
		},
		{
			id: "list_consents_as_of", method: "GET", path: api + "/compliance/consents/list",
			who: overseers, rate: accountRate, waits: logItself,
			serve:   on((*server).listAsOf),
			summary: "The municipality's consents at an instant, person by person, replayed from events: in pages",
			codes:   []domain.Code{domain.CodeInvalid, domain.CodeUnknownPurpose, domain.CodeNotFound},
		},
		{
			id: "count_consents", method: "GET", path: api + "/compliance/consents/summary",
			who: overseers, rate: accountRate, waits: logItself,
			serve:   on((*server).countConsents),
			summary: "Count the municipality's consents at an instant, by one or several of their features",
			codes:   []domain.Code{domain.CodeInvalid, domain.CodeUnknownPurpose, domain.CodeOverloaded},
		},
		{
			id: "purpose_impact", method: "GET", path: api + "/compliance/purposes/{code}/impact",
			who: overseers, rate: accountRate, waits: "consents",
			serve:    on((*server).impact),
			summary:  "Who would have to be asked again if the next notice of a purpose required it",
			codes:    []domain.Code{domain.CodeUnknownPurpose, domain.CodeInvalid},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},
		{
			id: "exposure", method: "GET", path: api + "/compliance/exposure",
			who: overseers, rate: accountRate, waits: logItself,
			serve:   on((*server).exposure),
			summary: "Who read a person's data, or whose data an account read, newest first",
			codes:   []domain.Code{domain.CodeInvalid, domain.CodeNotFound},
		},
		{
			id: "activity", method: "GET", path: api + "/compliance/activity",
			who: overseers, rate: accountRate, waits: logItself,
			serve:   on((*server).activity),
			summary: "What was recorded in your municipality of late, who looked most, and which requests wait",
			codes:   []domain.Code{domain.CodeInvalid, domain.CodeBeingCounted},
		},
		{
			id: "propagation", method: "GET", path: api + "/compliance/propagation",
			who: overseers, rate: accountRate, waits: logItself,
			serve:   on((*server).propagation),
			summary: "How long withdrawals take to other systems, and which have not arrived",
		},
		{
			id: "get_system", method: "GET", path: api + "/system",
			who: platformAdmins, rate: accountRate, waits: logItself,
			serve:   on((*server).system),
			summary: "How far the log and each of its followers are, and what an operator must resolve",
		},
		{
			id: "audit_log", method: "GET", path: api + "/audit-logs",
			who: auditors, rate: accountRate, waits: logItself,
			serve:   on((*server).auditLog),
			summary: "The audit log, newest first; SALGA's admins see other municipalities' personal values sealed",
			codes:   []domain.Code{domain.CodeForbidden, domain.CodeInvalid},
		},
	}
}

var routeID = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)

func (r *route) validate() error {
	switch {
	case !routeID.MatchString(r.id):
		return fmt.Errorf("%s %s needs an id", r.method, r.path)
	case !r.who.known():
		return fmt.Errorf("%s: it is not said who may use it", r.id)
	case r.rate == "":
		return fmt.Errorf("%s: it is not said how often it may be used", r.id)
	case r.rate == accountRate && !r.who.account():
		return errors.New(r.id + ": a limit by account needs an account")
	case r.scope != "" && !r.who.account():
		return errors.New(r.id + ": a scope is for a route that needs an account")
	case r.waits != "" && r.command():
		return errors.New(r.id + ": a command waits for nothing")
	case r.waits == "" && !r.command() && !r.form && r.page == nil && r.readsLog():
		return errors.New(r.id + ": a query must name the projection or the log that it reads")
	case r.handlers() != 1:
		return errors.New(r.id + ": needs exactly one handler")
	case r.page == nil && len(r.asks) > 0:
		return errors.New(r.id + ": the parameters of a route are those of its handler")
	}
	return nil
}

// handlers counts the ways in which the route is answered.
func (r *route) handlers() (n int) {
	for _, given := range []bool{r.serve != nil, r.raw != nil, r.page != nil} {
		if given {
			n++
		}
	}
	return n
}

// readsLog reports whether the route reads or writes the log: probes and assets do not.
func (r *route) readsLog() bool { return r.rate != unlimited && r.rate != assetRate }

// command reports whether the route changes something.
func (r *route) command() bool { return r.method != http.MethodGet && !r.query && !r.form }
