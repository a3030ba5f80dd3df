//go:build js && wasm

// Command wasm makes the verifier a function of a web page: salgaTrustCheck(bundle,
// policy) returns the report as JSON. The policy is empty if there is none.
//
// Owns: nothing.
//
// Guarantees: what package proof guarantees, within the browser of whoever checks.
//
// Fails how: it returns {"proven": false, "unreadable": …, "reason": …}; unreadable: the
// file is no bundle or no policy, so that nothing is said about what it claims.
//
// Not here: the page.
package main

import (
	"encoding/json"
	"errors"
	"syscall/js"

	"github.com/salga-trust/engine/proof"
)

func main() {
	js.Global().Set("salgaTrustCheck", js.FuncOf(func(_ js.Value, args []js.Value) any {
		if len(args) != 2 || args[0].Type() != js.TypeString || args[1].Type() != js.TypeString {
			return answer(failure{Unreadable: true, Reason: "give two texts: the bundle and the policy"})
		}
		return check(args[0].String(), args[1].String())
	}))
	select {} // the page calls
}

type failure struct {
	Proven     bool   `json:"proven"`
	Unreadable bool   `json:"unreadable"`
	Reason     string `json:"reason"`
}

func check(bundle, policyText string) string {
	var policy *proof.Policy
	if policyText != "" {
		var err error
		if policy, err = proof.ParsePolicy([]byte(policyText)); err != nil {
			return answer(failure{Unreadable: true, Reason: err.Error()})
		}
	}

	report, err := proof.Check([]byte(bundle), policy)
	if err != nil {
		return answer(failure{Unreadable: errors.Is(err, proof.ErrUnreadable), Reason: err.Error()})
	}
	return answer(report)
}

func answer(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return `{"proven":false,"unreadable":true,"reason":"the report cannot be printed"}`
	}
	return string(data)
}
