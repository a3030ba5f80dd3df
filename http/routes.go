package http

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"github.com/danielgtaylor/huma/v2"

	"github.com/salga-trust/engine/domain"
)

// route is one line of the table.
type route struct {
	id     string // of the operation in the document
	method string
	path   string
	who    who  // may use it, see permissions
	rate   rate // how often
	// waits names what a query reads: a projection, or logItself; it answers no sooner
	// than that has reached Min-Event-Position.
	waits     string
	versioned bool                // honours If-Match
	status    int                 // of a success; 0: 200
	summary   string              // for the document
	codes     []domain.Code       // refusals besides those that follow from the rest of the line, for the document
	statuses  map[domain.Code]int // where the table of statuses does not fit
	hidden    bool                // not in the document
	bare      bool                // also for whoever must set up a second factor first, see Config.RequireTOTP
	formats   []Format            // of an answer that is not only JSON
	media     string              // of an answer that is not JSON at all

	serve serve                      // made with on
	raw   func(*server) http.Handler // or what is not JSON

	reaches map[party]reach // what permissions says of who, looked up once
}

type serve func(s *server, api huma.API, r *route, op huma.Operation)

// logItself is what a query reads that reads no read table.
const logItself = "log"

// apiBase is where the API begins; beside it are probes, metrics and documentation.
const apiBase = "/api/v1"

// routes is the table of all routes: what is not in it does not exist.
func routes() []route {
	const api = apiBase
	return []route{
		{
			id: "health", method: "GET", path: "/health", who: everyone, rate: unlimited, serve: on((*server).health),
			summary: "Is the process alive? Touches nothing.",
		},
		{
			id: "ready", method: "GET", path: "/ready", who: everyone, rate: unlimited, serve: on((*server).ready),
			summary: "Can it serve? 503 names the part that cannot.", codes: []domain.Code{domain.CodeUnavailable},
		},
		{
			id: "metrics", method: "GET", path: "/metrics", who: scraper, rate: unlimited, raw: (*server).metrics,
			summary: "Metrics for Prometheus",
		},
		{
			id: "root", method: "GET", path: "/", who: everyone, rate: assetRate, raw: (*server).root,
			hidden: true,
		},
		{
			id: "docs", method: "GET", path: "/docs", who: everyone, rate: assetRate, raw: (*server).docs,
			summary: "This documentation as a page",
		},
		{
			id: "docs_asset", method: "GET", path: "/docs/{asset}", who: everyone, rate: assetRate, raw: (*server).
				docsAsset,
			hidden: true,
		},
		{
			id: "openapi", method: "GET", path: "/openapi.json", who: everyone, rate: assetRate, raw: (*server).openapi,
			summary: "This documentation as OpenAPI 3.1",
		},

		{
			id: "register", method: "POST", path: api + "/auth/register", who: everyone, rate: registerRate,
			status: 201,
			serve:  on((*server).register), summary: "Register as a citizen, with the consent this rests on",
			codes: []domain.Code{
				domain.CodeUnknownMunicipality, domain.CodeMunicipalityInactive, domain.CodeConsentRequired,
				domain.CodeWordingMismatch, domain.CodeEmailTaken, domain.CodeOverloaded, domain.CodeSubjectErased,
			},
			statuses: map[domain.Code]int{domain.CodeMunicipalityInactive: http.StatusBadRequest},
		},
		{
			id: "login", method: "POST", path: api + "/auth/login", who: everyone, rate: loginRate,
			serve: on((*server).login), summary: "Sign in",
			codes: []domain.Code{
				domain.CodeInvalidCredentials, domain.CodeTOTPRequired, domain.CodeTOTPLocked, domain.CodeOverloaded,
			},
		},
		{
			id: "refresh", method: "POST", path: api + "/auth/refresh", who: holder, rate: publicRate,
			serve: on((*server).refresh), summary: "Exchange a refresh token for a new pair of tokens",
			codes: []domain.Code{
				domain.CodeInvalidToken, domain.CodeSessionEnded, domain.CodeAccountInactive,
				domain.CodeMunicipalityInactive,
			},
		},
		{
			id: "logout", method: "POST", path: api + "/auth/logout", who: holder, rate: publicRate, status: 204,
			serve: on((*server).logout), summary: "End the session of a refresh token",
			codes: []domain.Code{domain.CodeInvalidToken},
		},

		{
			id: "get_me", method: "GET", path: api + "/users/me", who: self, rate: accountRate, waits: logItself,
			serve: on((*server).me), summary: "The own account", bare: true,
		},
		{
			id: "change_me", method: "PATCH", path: api + "/users/me", who: self, rate: accountRate, versioned: true,
			serve: on((*server).changeMe), summary: "Change own details; a new e-mail address needs current_password",
			codes: []domain.Code{domain.CodePasswordWrong, domain.CodeEmailTaken, domain.CodeOverloaded},
		},
		{
			id: "change_password", method: "PUT", path: api + "/users/me/password", who: self, rate: accountRate,
			status: 204,
			serve:  on((*server).changePassword), summary: "Change the own password; all other sessions end",
			codes: []domain.Code{domain.CodePasswordWrong, domain.CodeOverloaded},
		},
		{
			id: "set_up_totp", method: "POST", path: api + "/users/me/totp", who: self, rate: accountRate, status: 201,
			bare:    true,
			serve:   on((*server).setUpTOTP),
			summary: "Begin to set up a second factor (RFC 6238); its secret is shown once, and a code confirms it",
			codes:   []domain.Code{domain.CodePasswordWrong, domain.CodeTOTPAlreadySet, domain.CodeOverloaded},
		},
		{
			id: "confirm_totp", method: "POST", path: api + "/users/me/totp/confirm", who: self, rate: accountRate,
			status: 204, bare: true,
			serve:   on((*server).confirmTOTP),
			summary: "Put the second factor in force by its first code; all other sessions end, and sign-in needs totp",
			codes:   []domain.Code{domain.CodeNotFound, domain.CodeTOTPRequired},
		},
		{
			id: "remove_totp", method: "DELETE", path: api + "/users/me/totp", who: self, rate: accountRate,
			status: 204,
			serve:  on((*server).removeTOTP), summary: "Remove the own second factor; all other sessions end",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodePasswordWrong, domain.CodeTOTPRequired, domain.CodeTOTPLocked,
				domain.CodeOverloaded,
			},
		},

		{
			id: "list_users", method: "GET", path: api + "/users", who: staff, rate: accountRate, waits: "users",
			serve:   on((*server).users),
			summary: "Accounts of the own municipality, newest first; field workers by exact email or phone",
			codes:   []domain.Code{domain.CodeInvalid},
		},
		{
			id: "get_user", method: "GET", path: api + "/users/{id}", who: overseers, rate: accountRate, waits: "users",
			serve: on((*server).user), summary: "One account of the own municipality",
			codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "create_user", method: "POST", path: api + "/users", who: admins, rate: accountRate, status: 201,
			serve: on((*server).createUser), summary: "Make an account of staff",
			codes: []domain.Code{
				domain.CodeConsentRequired, domain.CodeEmailTaken, domain.CodeOverloaded, domain.CodeSubjectErased,
			},
		},
		{
			id: "change_role", method: "PUT", path: api + "/users/{id}/role", who: admins, rate: accountRate,
			versioned: true,
			serve:     on((*server).changeRole), summary: "Give an account another role; the last admin stays one",
			codes: []domain.Code{domain.CodeNotFound, domain.CodeLastAdmin, domain.CodeConsentRequired,
				domain.CodeSubjectErased},
		},
		{
			id: "deactivate_user", method: "POST", path: api + "/users/{id}/deactivate", who: admins, rate: accountRate,
			versioned: true, serve: on((*server).deactivateUser), summary: "Close an account; its sessions end",
			codes: []domain.Code{domain.CodeNotFound, domain.CodeLastAdmin, domain.CodeSubjectErased},
		},
		{
			id: "reactivate_user", method: "POST", path: api + "/users/{id}/reactivate", who: admins, rate: accountRate,
			versioned: true, serve: on((*server).reactivateUser), summary: "Open an account again",
			codes: []domain.Code{domain.CodeNotFound, domain.CodeConsentRequired, domain.CodeSubjectErased},
		},
		{
			id: "recover_totp", method: "DELETE", path: api + "/users/{id}/totp", who: admins, rate: accountRate,
			versioned: true, serve: on((*server).recoverTOTP),
			summary: "Remove the second factor of another person, who lost what makes its codes; their sessions end",
			codes:   []domain.Code{domain.CodeForbidden, domain.CodeNotFound, domain.CodeSubjectErased},
		},

		{
			id: "register_municipality", method: "POST", path: api + "/municipalities", who: platformAdmins,
			rate:   accountRate,
			status: 201, serve: on((*server).registerMunicipality), summary: "Register a municipality",
			codes: []domain.Code{domain.CodeCodeTaken, domain.CodeNameTaken},
		},
		{
			id: "list_municipalities", method: "GET", path: api + "/municipalities", who: everyone, rate: publicRate,
			waits: "municipalities", serve: on((*server).municipalities), summary: "Municipalities, newest first",
			codes: []domain.Code{domain.CodeInvalid},
		},
		{
			id: "get_municipality", method: "GET", path: api + "/municipalities/{id}", who: everyone, rate: publicRate,
			waits: "municipalities", serve: on((*server).municipality), summary: "One municipality, by id or code",
			codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "change_municipality", method: "PATCH", path: api + "/municipalities/{id}", who: platformAdmins,
			rate:      accountRate,
			versioned: true, serve: on((*server).changeMunicipality), summary: "Change a municipality's details",
			codes: []domain.Code{domain.CodeNotFound, domain.CodeNameTaken},
		},
		{
			id: "deactivate_municipality", method: "POST", path: api + "/municipalities/{id}/deactivate",
			who:  platformAdmins,
			rate: accountRate, versioned: true, serve: on((*server).deactivateMunicipality),
			summary: "Close a municipality: no registrations, no sign-ins", codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "reactivate_municipality", method: "POST", path: api + "/municipalities/{id}/reactivate",
			who:  platformAdmins,
			rate: accountRate, versioned: true, serve: on((*server).reactivateMunicipality),
			summary: "Open a municipality again", codes: []domain.Code{domain.CodeNotFound},
		},

		{
			id: "list_purposes", method: "GET", path: api + "/purposes", who: everyone, rate: publicRate,
			waits: logItself,
			serve: on((*server).purposes), summary: "The purposes in force, with the wording to show",
			codes: []domain.Code{domain.CodeUnknownMunicipality, domain.CodeInvalid},
		},
		{
			id: "get_purpose", method: "GET", path: api + "/purposes/{code}", who: everyone, rate: publicRate,
			waits: logItself,
			serve: on((*server).purpose), summary: "One purpose, also a retired one",
			codes:    []domain.Code{domain.CodeUnknownMunicipality, domain.CodeUnknownPurpose},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},
		{
			id: "list_notices", method: "GET", path: api + "/purposes/{code}/notices", who: everyone, rate: publicRate,
			waits: logItself,
			serve: on((*server).notices), summary: "Every version of a purpose's wording, the oldest first",
			codes:    []domain.Code{domain.CodeUnknownMunicipality, domain.CodeUnknownPurpose, domain.CodeInvalid},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},
		{
			id: "get_notice", method: "GET", path: api + "/purposes/{code}/notices/{version}", who: everyone,
			rate:  publicRate,
			waits: logItself, serve: on((*server).notice), summary: "One version of a purpose's wording",
			codes:    []domain.Code{domain.CodeUnknownMunicipality, domain.CodeUnknownPurpose, domain.CodeNotFound},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},

		{
			id: "define_purpose", method: "POST", path: api + "/purposes", who: admins, rate: accountRate, status: 201,
			serve:   on((*server).definePurpose),
			summary: "Define a purpose of the own municipality; SALGA's admins define defaults for all",
			codes:   []domain.Code{domain.CodePurposeTaken},
		},
		{
			id: "publish_notice", method: "POST", path: api + "/purposes/{code}/notices", who: admins,
			rate: accountRate, status: 201,
			serve: on((*server).publishNotice), summary: "Publish the next version of a purpose's wording",
			codes:    []domain.Code{domain.CodeUnknownPurpose},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},
		{
			id: "retire_purpose", method: "POST", path: api + "/purposes/{code}/retire", who: admins, rate: accountRate,
			serve: on((*server).retirePurpose), summary: "End a purpose: nothing more is recorded for it",
			codes:    []domain.Code{domain.CodeUnknownPurpose},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},

		{
			id: "record_consent", method: "POST", path: api + "/consents", who: selfOrStaff, rate: accountRate,
			status: 201,
			serve:  on((*server).recordConsent), summary: "Record a grant or a refusal; staff also of another person",
			codes: []domain.Code{
				domain.CodeForbidden, domain.CodeNotFound, domain.CodeUnknownPurpose, domain.CodePurposeNotConsent,
				domain.CodeWordingMismatch, domain.CodeNoticeChanged, domain.CodeAlreadyGranted, domain.CodeInForce,
				domain.CodeEvidenceRequired, domain.CodeCompetentPerson, domain.CodeGivenInFuture,
				domain.CodeSubjectErased,
			},
		},
		{
			id: "list_consents", method: "GET", path: api + "/consents", who: selfOrStaff, rate: accountRate,
			waits: "consents",
			serve: on((*server).consents), summary: "Consents, withdrawn ones too, newest first",
			codes: []domain.Code{domain.CodeForbidden, domain.CodeInvalid},
		},
		{
			id: "check_consent", method: "GET", path: api + "/consents/check", who: selfOrStaff, rate: accountRate,
			waits:   logItself,
			serve:   on((*server).checkConsent),
			summary: "May personal data be processed for this purpose, at an instant, as known at an instant?",
			codes: []domain.Code{domain.CodeForbidden, domain.CodeNotFound, domain.CodeUnknownPurpose,
				domain.CodeInvalid},
			statuses: map[domain.Code]int{domain.CodeUnknownPurpose: http.StatusNotFound},
		},
		{
			id: "get_consent", method: "GET", path: api + "/consents/{id}", who: selfOrStaff, rate: accountRate,
			waits: "consents",
			serve: on((*server).consent), summary: "One consent", codes: []domain.Code{domain.CodeNotFound},
		},
		{
			id: "withdraw_consent", method: "POST", path: api + "/consents/{id}/withdraw", who: selfOrStaff,
			rate:    accountRate,
			serve:   on((*server).withdrawConsent),
			summary: "Take a consent back; a second time changes nothing, unless it was given earlier",
			codes: []domain.Code{
				domain.CodeForbidden, domain.CodeNotFound, domain.CodeNotGranted, domain.CodeGivenInFuture,
				domain.CodeEvidenceRequired,
				domain.CodeLastAdmin, domain.CodeSubjectErased,
			},
		},

		{
			id: "my_data", method: "GET", path: api + "/data-rights/my-data", who: self, rate: exportRate,
			waits: logItself,
			serve: on((*server).myData), summary: "Everything there is about oneself (POPIA s23)",
		},
		{
			id: "my_data_page", method: "GET", path: api + "/data-rights/my-data/page", who: self, rate: exportRate,
			waits: logItself,
			serve: on((*server).myPage), media: "text/html; charset=utf-8",
			summary: "The same as a page to read and print, in English, isiZulu or Afrikaans",
		},
		{
			id: "delete_account", method: "DELETE", path: api + "/data-rights/delete-account", who: self,
			rate:  accountRate,
			serve: on((*server).eraseMe), summary: "Be gone: everything that identifies oneself is destroyed for good",
			codes: []domain.Code{
				domain.CodePasswordWrong, domain.CodeRetentionHold, domain.CodeStaffRecordKept, domain.CodeLastAdmin,
				domain.CodeSubjectErased,
			},
		},
		{
			id: "list_certificates", method: "GET", path: api + "/data-rights/certificates", who: auditors,
			rate:  accountRate,
			waits: logItself, serve: on((*server).certificates),
			summary: "The certificates of erasures, newest first; SALGA's admins see every municipality's",
			codes:   []domain.Code{domain.CodeForbidden, domain.CodeInvalid},
		},
		{
			id: "get_certificate", method: "GET", path: api + "/data-rights/certificates/{id}", who: everyone,
			rate:  publicRate,
			waits: logItself, serve: on((*server).certificate),
			summary: "The certificate of an erasure, which names nobody",
			codes:   []domain.Code{domain.CodeNotFound},
		},
		{
			id: "lodge_request", method: "POST", path: api + "/data-rights/requests", who: selfOrStaff,
			rate: accountRate, status: 201,
			serve:   on((*server).lodgeRequest),
			summary: "Ask for access, correction or erasure, or object (POPIA s11(3), s23, s24)",
			codes: []domain.Code{domain.CodeForbidden, domain.CodeNotFound, domain.CodeSubjectErased,
				domain.CodeTooManyOpen},
		},
		{
			id: "list_requests", method: "GET", path: api + "/data-rights/requests", who: overseers, rate: accountRate,
			waits: logItself,
			serve: on((*server).tenantRequests), summary: "The municipality's requests of one status, those due first",
			codes: []domain.Code{domain.CodeInvalid},
		},
		{
			id: "get_rights", method: "GET", path: api + "/data-rights/subject", who: selfOrOverseers,
			rate: accountRate, waits: logItself,
			serve: on((*server).rights), summary: "One person's requests, and holds on their data",
			codes: []domain.Code{domain.CodeForbidden, domain.CodeNotFound},
		},
		{
			id: "request_data", method: "GET", path: api + "/data-rights/requests/{id}/data", who: overseers,
			rate:  accountRate,
			waits: logItself, serve: on((*server).requestData),
			summary: "Everything there is about who asked for access, to hand to them",
			codes:   []domain.Code{domain.CodeNotFound},
		},
		{
			id: "request_data_page", method: "GET", path: api + "/data-rights/requests/{id}/data/page", who: overseers,
			rate:  accountRate,
			waits: logItself, serve: on((*server).requestPage), media: "text/html; charset=utf-8",
			summary: "The same as a page to print and hand over, in the person's language",
			codes:   []domain.Code{domain.CodeNotFound},
		},
		{
			id: "fulfil_request", method: "POST", path: api + "/data-rights/requests/{id}/fulfil", who: overseers,
			rate:    accountRate,
			serve:   on((*server).fulfilRequest),
			summary: "Close a request as fulfilled; an erasure is carried out by it, which takes an admin",
			codes: []domain.Code{
				domain.CodeNotFound, domain.CodeRequestClosed, domain.CodeRetentionHold, domain.CodeStaffRecordKept,
				domain.CodeLastAdmin,
				domain.CodeSubjectErased, domain.CodeSecondPerson,
			},
		},
		{
			id: "refuse_request", method: "POST", path: api + "/data-rights/requests/{id}/refuse", who: overseers,
			rate:  accountRate,
			serve: on((*server).refuseRequest), summary: "Close a request as refused, on a ground",
			codes: []domain.Code{domain.CodeNotFound, domain.CodeRequestClosed, domain.CodeSubjectErased},
		},
		{
			id: "place_hold", method: "POST", path: api + "/data-rights/holds", who: overseers, rate: accountRate,
			status: 201,
			serve:  on((*server).placeHold), summary: "Keep a person's data from being erased",
			codes: []domain.Code{domain.CodeNotFound, domain.CodeSubjectErased, domain.CodeTooManyOpen},
		},
		{
			id: "lift_hold", method: "POST", path: api + "/data-rights/holds/{id}/lift", who: overseers,
			rate:  accountRate,
			serve: on((*server).liftHold), summary: "End a hold; a second time changes nothing",
			codes: []domain.Code{domain.CodeNotFound, domain.CodeSubjectErased},
		},

		{
			id: "subject_history", method: "GET", path: api + "/compliance/subjects/{id}/history", who: overseers,
			rate:  accountRate,
			waits: logItself, serve: on((*server).history),
			summary: "Every consent event of one person, oldest first, in full",
			codes:   []domain.Code{domain.CodeNotFound},
		},
		{
			id: "export_consents", method: "GET", path: api + "/compliance/consents", who: overseers, rate: accountRate,
			waits: logItself, serve: on((*server).export), formats: []Format{JSON, CSV, NDJSON},
			summary: "The state of all consents of the municipality at an instant, replayed from events and streamed",
			codes:   []domain.Code{domain.CodeInvalid, domain.CodeUnknownPurpose, domain.CodeOverloaded},
		},
		{
			id: "exposure", method: "GET", path: api + "/compliance/exposure", who: overseers, rate: accountRate,
			waits: logItself, serve: on((*server).exposure),
			summary: "Who read a person's data, or whose data an account read, newest first",
			codes:   []domain.Code{domain.CodeInvalid, domain.CodeNotFound},
		},
		{
			id: "audit_log", method: "GET", path: api + "/audit-logs", who: auditors, rate: accountRate,
			waits:   logItself,
			serve:   on((*server).auditLog),
			summary: "What happened, newest first; SALGA's admins see other tenants' with personal values sealed",
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
		return fmt.Errorf("%s: nobody said who may use it", r.id)
	case r.rate == "":
		return fmt.Errorf("%s: nobody said how often it may be used", r.id)
	case r.rate == accountRate && !r.who.account():
		return errors.New(r.id + ": a limit by account, and no account")
	case r.waits != "" && r.command():
		return errors.New(r.id + ": commands wait for no read table")
	case r.waits == "" && !r.command() && r.readsLog():
		return errors.New(r.id + ": a query reads a projection or the log")
	case (r.serve == nil) == (r.raw == nil):
		return errors.New(r.id + ": needs one handler")
	}
	return nil
}

// readsLog tells whether the route is about anything in the log, and not a probe or an
// asset.
func (r *route) readsLog() bool { return r.rate != unlimited && r.rate != assetRate }

// command tells whether the route changes something.
func (r *route) command() bool { return r.method != http.MethodGet }
