package http

import "github.com/salga-trust/engine/http/console"

// recordPages are the pages about what is on record: purposes, everybody's consents, who
// has looked, and what has happened.
func recordPages() []route {
	return append(purposePages(), []route{
		{
			id: "page_consents", method: "GET", path: "/console/consents", who: overseers, rate: accountRate,
			page: (*console.Console).Consents,
			asks: []string{
				"as_of", "known_at", "position", "purpose", "status", "channel", "language", "notice_version",
				"given_from", "given_to", "after",
			},
		},
		{
			id: "page_consents_download", method: "GET", path: "/console/consents/download",
			who: overseers, rate: accountRate,
			page: (*console.Console).DownloadConsents,
			asks: []string{
				"format", "as_of", "known_at", "position", "purpose", "status", "channel", "language", "notice_version",
				"given_from", "given_to",
			},
		},

		{
			id: "page_reads", method: "GET", path: "/console/reads", who: overseers, rate: accountRate,
			page: (*console.Console).Reads, asks: []string{"subject_id", "actor_id", "from", "to", "after"},
		},
		{
			id: "page_audit", method: "GET", path: "/console/audit", who: auditors, rate: accountRate,
			page: (*console.Console).Audit,
			asks: []string{
				"operation", "table_name", "record_id", "user_id", "from", "to", "tenant_id", "after",
			},
		},
	}...)
}

func purposePages() []route {
	const one = "/console/purposes/{code}"
	// A hyphen, which no code of a purpose has: it must not be the address of a purpose.
	const formForPurposes = "/console/purposes/new-purpose"
	return []route{
		{
			id: "page_purposes", method: "GET", path: "/console/purposes", who: overseers, rate: accountRate,
			page: (*console.Console).Purposes,
		},
		{
			id: "page_purpose", method: "GET", path: one, who: overseers, rate: accountRate,
			page: (*console.Console).Purpose,
		},
		{
			id: "page_purpose_impact", method: "GET", path: one + "/impact", who: overseers, rate: accountRate,
			page: (*console.Console).PurposeImpact, asks: []string{"after"},
		},
		{
			id: "page_define_purpose", method: "GET", path: formForPurposes, who: admins, rate: accountRate,
			page: (*console.Console).DefinePurposeForm,
		},

		{
			id: "define_purpose_form", method: "POST", path: formForPurposes, who: admins, rate: accountRate,
			page: (*console.Console).DefinePurpose,
		},
		{
			id: "page_publish_notice", method: "GET", path: one + "/notices", who: admins, rate: accountRate,
			page: (*console.Console).NoticeForm,
		},
		{
			id: "publish_notice_form", method: "POST", path: one + "/notices", who: admins, rate: accountRate,
			page: (*console.Console).PublishNotice,
		},
		{
			id: "page_retire_purpose", method: "GET", path: one + "/retire", who: admins, rate: accountRate,
			page: (*console.Console).RetireForm,
		},
		{
			id: "retire_purpose_form", method: "POST", path: one + "/retire", who: admins, rate: accountRate,
			page: (*console.Console).RetirePurpose,
		},
	}
}
