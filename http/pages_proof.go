package http

import "github.com/salga-trust/engine/http/console"

// proofPages are for those who hand out the proof of a decision, and for whoever is
// handed one, such as a regulator or a court.
func proofPages() []route {
	return []route{
		{
			id: "page_proof", method: "GET", path: "/console/proof", who: everyone, rate: publicRate,
			page: (*console.Console).ProofForm,
		},
		{
			id: "check_proof_form", method: "POST", path: "/console/proof", who: everyone, rate: publicRate,
			page: (*console.Console).CheckProof,
		},

		{
			id: "page_consent_proof", method: "GET", path: "/console/consents/{id}/proof",
			who: overseers, rate: accountRate, page: (*console.Console).ProofOfConsent,
		},
		{
			id: "page_my_proof", method: "GET", path: "/me/consents/{id}/proof", who: self, rate: accountRate,
			page: (*console.Console).ProofOfConsent,
		},
	}
}
