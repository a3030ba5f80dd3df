package http

import "github.com/salga-trust/engine/http/console"

// systemPages are the pages about the system as a whole.
func systemPages() []route {
	return []route{
		{
			id: "page_system", method: "GET", path: "/console/system", who: platformAdmins, rate: accountRate,
			page: (*console.Console).System, asks: []string{"from", "since"},
		},
		{
			id: "page_overview", method: "GET", path: "/console/overview", who: overseers, rate: accountRate,
			page: (*console.Console).Overview, asks: []string{"days"},
		},
	}
}
