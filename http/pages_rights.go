package http

import "github.com/salga-trust/engine/http/console"

// rightsPages are the pages about requests, holds and certificates, and about programs.
func rightsPages() []route {
	return []route{
		{
			id: "page_requests", method: "GET", path: "/console/requests", who: overseers, rate: accountRate,
			page: (*console.Console).Requests, asks: []string{"status", "after"},
		},
		{
			id: "page_request", method: "GET", path: "/console/requests/{id}", who: overseers, rate: accountRate,
			page: (*console.Console).Request,
		},
		{
			id: "page_request_data", method: "GET", path: "/console/requests/{id}/data",
			who: overseers, rate: accountRate, page: (*console.Console).RequestData,
		},
		{
			id: "page_erase", method: "GET", path: "/console/requests/{id}/erase", who: admins, rate: accountRate,
			page: (*console.Console).EraseForm,
		},
		{
			id: "fulfil_request_form", method: "POST", path: "/console/requests/{id}/fulfil",
			who: overseers, rate: accountRate, page: (*console.Console).Fulfil,
		},
		{
			id: "page_refuse", method: "GET", path: "/console/requests/{id}/refuse",
			who: overseers, rate: accountRate, page: (*console.Console).RefuseForm,
		},
		{
			id: "refuse_request_form", method: "POST", path: "/console/requests/{id}/refuse",
			who: overseers, rate: accountRate, page: (*console.Console).Refuse,
		},

		{
			id: "page_holds", method: "GET", path: "/console/holds", who: overseers, rate: accountRate,
			page: (*console.Console).Holds, asks: []string{"status", "after", "done"},
		},
		{
			id: "page_lift", method: "GET", path: "/console/holds/{id}/lift", who: overseers, rate: accountRate,
			page: (*console.Console).LiftForm,
		},
		{
			id: "lift_hold_form", method: "POST", path: "/console/holds/{id}/lift", who: overseers, rate: accountRate,
			page: (*console.Console).Lift,
		},

		{
			id: "page_certificates", method: "GET", path: "/console/certificates", who: auditors, rate: accountRate,
			page: (*console.Console).Certificates, asks: []string{"after"},
		},
		{
			id: "page_certificate", method: "GET", path: "/console/certificates/{id}", who: everyone, rate: publicRate,
			page: (*console.Console).Certificate,
		},
	}
}

// programPages are the pages about the accounts of programs.
func programPages() []route {
	return []route{
		{
			id: "page_programs", method: "GET", path: "/console/programs", who: admins, rate: accountRate,
			page: (*console.Console).Programs, asks: []string{"after"},
		},
		{
			id: "page_new_program", method: "GET", path: "/console/programs/new", who: admins, rate: accountRate,
			page: (*console.Console).NewProgram,
		},
		{
			id: "create_program_form", method: "POST", path: "/console/programs/new", who: admins, rate: accountRate,
			page: (*console.Console).CreateProgram,
		},

		{
			id: "page_program", method: "GET", path: "/console/programs/{id}", who: admins, rate: accountRate,
			page: (*console.Console).Program,
		},
		{
			id: "rotate_secret_form", method: "POST", path: "/console/programs/{id}/rotate",
			who: admins, rate: accountRate, page: (*console.Console).RotateSecret,
		},
		{
			id: "page_revoke", method: "GET", path: "/console/programs/{id}/revoke", who: admins, rate: accountRate,
			page: (*console.Console).RevokeForm,
		},
		{
			id: "revoke_program_form", method: "POST", path: "/console/programs/{id}/revoke",
			who: admins, rate: accountRate, page: (*console.Console).Revoke,
		},
	}
}
