package http

import "github.com/salga-trust/engine/http/console"

// peoplePages are the pages about one person, and to find them.
func peoplePages() []route {
	const one = "/console/people/{id}"
	return []route{
		{
			id: "page_people", method: "GET", path: "/console/people", who: staff, rate: accountRate,
			page: (*console.Console).People,
			asks: []string{"email", "phone", "id", "external_id", "external_type", "q", "role", "after"},
		},
		{
			id: "page_person", method: "GET", path: one, who: staff, rate: accountRate,
			page: (*console.Console).Person, asks: []string{"as_of", "known_at", "position", "after"},
		},
		{
			id: "page_person_reads", method: "GET", path: one + "/reads", who: overseers, rate: accountRate,
			page: (*console.Console).PersonReads, asks: []string{"from", "to", "after"},
		},
	}
}

// decisionForms are those for the decisions of one person.
func decisionForms() []route {
	const of, consent = "/console/people/{id}/consents", "/console/consents/{id}"

	return []route{
		{
			id: "page_record_consent", method: "GET", path: of, who: staff, rate: accountRate,
			page: (*console.Console).RecordConsentForm, asks: []string{"purpose"},
		},
		{
			id: "record_consent_form", method: "POST", path: of, who: staff, rate: accountRate,
			page: (*console.Console).RecordConsent,
		},
		{
			id: "page_withdraw_consent", method: "GET", path: consent + "/withdraw", who: staff, rate: accountRate,
			page: (*console.Console).WithdrawConsentForm,
		},
		{
			id: "withdraw_consent_form", method: "POST", path: consent + "/withdraw", who: staff, rate: accountRate,
			page: (*console.Console).WithdrawConsent,
		},
		{
			id: "page_annul_consent", method: "GET", path: consent + "/annul", who: overseers, rate: accountRate,
			page: (*console.Console).AnnulConsentForm, asks: []string{"entry"},
		},
		{
			id: "annul_consent_form", method: "POST", path: consent + "/annul", who: overseers, rate: accountRate,
			page: (*console.Console).AnnulConsent,
		},
	}
}

// personForms are those for everything else that is done for one person.
func personForms() []route {
	const one = "/console/people/{id}"

	return []route{
		{
			id: "page_new_resident", method: "GET", path: "/console/people/new", who: counter, rate: accountRate,
			page: (*console.Console).NewResidentForm,
		},
		{
			id: "record_resident_form", method: "POST", path: "/console/people/new", who: counter, rate: accountRate,
			page: (*console.Console).NewResident,
		},
		{
			id: "page_resident_details", method: "GET", path: one + "/details", who: counter, rate: accountRate,
			page: (*console.Console).ResidentDetailsForm,
		},
		{
			id: "change_resident_form", method: "POST", path: one + "/details", who: counter, rate: accountRate,
			page: (*console.Console).ResidentDetails,
		},
		{
			id: "page_sign_in_code", method: "GET", path: one + "/sign-in-code", who: counter, rate: accountRate,
			page: (*console.Console).SignInCodeForm,
		},
		{
			id: "sign_in_code_form", method: "POST", path: one + "/sign-in-code", who: counter, rate: accountRate,
			page: (*console.Console).SignInCode,
		},
		{
			id: "page_reset_code", method: "GET", path: one + "/reset-code", who: staff, rate: accountRate,
			page: (*console.Console).ResetCodeForm,
		},
		{
			id: "reset_code_form", method: "POST", path: one + "/reset-code", who: staff, rate: accountRate,
			page: (*console.Console).ResetCode,
		},
		{
			id: "page_merge", method: "GET", path: one + "/merge", who: registrars, rate: accountRate,
			page: (*console.Console).MergeForm,
		},
		{
			id: "merge_form", method: "POST", path: one + "/merge", who: registrars, rate: accountRate,
			page: (*console.Console).Merge,
		},
		{
			id: "page_unmerge", method: "GET", path: one + "/unmerge", who: registrars, rate: accountRate,
			page: (*console.Console).UnmergeForm,
		},
		{
			id: "unmerge_form", method: "POST", path: one + "/unmerge", who: registrars, rate: accountRate,
			page: (*console.Console).Unmerge,
		},
		{
			id: "page_lodge_request", method: "GET", path: one + "/requests", who: staff, rate: accountRate,
			page: (*console.Console).LodgeRequestForm,
		},
		{
			id: "lodge_request_form", method: "POST", path: one + "/requests", who: staff, rate: accountRate,
			page: (*console.Console).LodgeRequest,
		},
		{
			id: "page_place_hold", method: "GET", path: one + "/holds", who: overseers, rate: accountRate,
			page: (*console.Console).PlaceHoldForm,
		},
		{
			id: "place_hold_form", method: "POST", path: one + "/holds", who: overseers, rate: accountRate,
			page: (*console.Console).PlaceHold,
		},
	}
}

// accountForms are those for accounts.
func accountForms() []route {
	const one = "/console/people/{id}"
	return []route{
		{
			id: "page_change_role", method: "GET", path: one + "/role", who: admins, rate: accountRate,
			page: (*console.Console).RoleForm,
		},
		{
			id: "change_role_form", method: "POST", path: one + "/role", who: admins, rate: accountRate,
			page: (*console.Console).ChangeRole,
		},
		{
			id: "page_deactivate", method: "GET", path: one + "/deactivate", who: admins, rate: accountRate,
			page: (*console.Console).DeactivateForm,
		},
		{
			id: "deactivate_user_form", method: "POST", path: one + "/deactivate", who: admins, rate: accountRate,
			page: (*console.Console).Deactivate,
		},

		{
			id: "page_reactivate", method: "GET", path: one + "/reactivate", who: admins, rate: accountRate,
			page: (*console.Console).ReactivateForm,
		},
		{
			id: "reactivate_user_form", method: "POST", path: one + "/reactivate", who: admins, rate: accountRate,
			page: (*console.Console).Reactivate,
		},
		{
			id: "page_new_staff", method: "GET", path: "/console/people/staff", who: admins, rate: accountRate,
			page: (*console.Console).NewStaffForm,
		},
		{
			id: "create_staff_form", method: "POST", path: "/console/people/staff", who: admins, rate: accountRate,
			page: (*console.Console).NewStaff,
		},
	}
}
