package http

import "github.com/salga-trust/engine/http/console"

// proofPages are for whoever is handed a proof, such as a regulator or a court.
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
	}
}
