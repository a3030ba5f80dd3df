package console

import (
	"errors"
	"io"
	"mime/multipart"
	"strings"
	"unicode"

	"github.com/salga-trust/engine/proof"
)

// proofPath is the page that checks proofs, the only one that takes files.
const proofPath = "/console/proof"

func (v *Visit) takesFiles() bool { return v.r.URL.Path == proofPath }

// proofPage is what /console/proof shows.
type proofPage struct {
	// InBrowser says that this program was built with what browsers check proofs with.
	InBrowser            bool
	MaxBundle, MaxPolicy int
	// Verdict is what the server has found; nil: it was asked for nothing.
	Verdict *verdict
}

// verdict is what a bundle proves, in the words of the verifier. The browser finds the
// same by itself, and shows it in the same parts.
type verdict struct {
	Kind                   string // proven, own_rules, refused or unreadable
	Reason                 string // why it was refused, or cannot be read
	Decision               string
	Wording, WordingLang   string
	WhatHolds, WhatDoesNot []string
}

// ProofForm asks for the file of a proof. Everybody may check one: it holds all that is
// needed, and nothing of ours is asked for.
func (c *Console) ProofForm(v *Visit) error { return v.renderProof(nil, nil) }

// CheckProof checks a proof for a browser that cannot do so itself. The file is read in
// memory, and not kept.
func (c *Console) CheckProof(v *Visit) error {
	bundle, chosen, err := v.file("bundle")
	if err != nil {
		return err
	}
	if !chosen {
		return v.renderProof(nil, faulty("bundle", "required"))
	}
	policy, ownRules, err := v.file("policy")
	if err != nil {
		return err
	}
	return v.renderProof(verdictOn(bundle, policy, ownRules), nil)
}

func (v *Visit) renderProof(found *verdict, refused error) error {
	files, err := assets()
	if err != nil {
		return err
	}
	_, runs := files["wasm_exec.js"]
	_, checks := files["proof.wasm"]
	return v.showProof(proofPage{
		InBrowser: runs && checks, MaxBundle: proof.MaxBundle, MaxPolicy: proof.MaxPolicy, Verdict: found,
	}, refused)
}

// showProof shows the page. It alone may run WebAssembly, which is how a browser checks a
// proof without sending it anywhere. The policy needs an exception for that: unlike
// 'unsafe-eval', it lets no text become a script.
func (v *Visit) showProof(page proofPage, refused error) error {
	if page.InBrowser {
		v.w.Header().Set("Content-Security-Policy", contentPolicy("'self' 'wasm-unsafe-eval'"))
	}
	if refused != nil {
		return v.again("proof", page, refused)
	}
	return v.render("proof", page)
}

// file returns a file of the posted form, and whether one was chosen.
func (v *Visit) file(name string) (content []byte, chosen bool, err error) {
	var headers []*multipart.FileHeader
	if v.r.MultipartForm != nil {
		headers = v.r.MultipartForm.File[name]
	}
	if len(headers) == 0 {
		return nil, false, nil
	}

	file, err := headers[0].Open()
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = file.Close() }() // in memory
	content, err = io.ReadAll(file)
	return content, true, err
}

// verdictOn checks a bundle as trust proof check does.
func verdictOn(bundle, policyText []byte, given bool) *verdict {
	var policy *proof.Policy
	if given {
		var err error
		if policy, err = proof.ParsePolicy(policyText); err != nil {
			return &verdict{Kind: "unreadable", Reason: printable(err.Error())}
		}
	}

	report, err := proof.Check(bundle, policy)
	switch {
	case errors.Is(err, proof.ErrUnreadable):
		return &verdict{Kind: "unreadable", Reason: printable(err.Error())}
	case err != nil:
		return &verdict{Kind: "refused", Reason: printable(err.Error())}
	}

	found := &verdict{
		Kind: "proven", Decision: printable(report.Decision), Wording: printable(report.Receipt.Wording),
		WordingLang: report.Receipt.Language, WhatHolds: report.Holds, WhatDoesNot: report.DoesNot,
	}
	if !report.Proven {
		found.Kind = "own_rules"
	}
	for _, sentences := range [][]string{found.WhatHolds, found.WhatDoesNot} {
		for i := range sentences {
			sentences[i] = printable(sentences[i])
		}
	}
	return found
}

// printable replaces what could make a text read otherwise than it is, such as a change
// of direction: whoever made the file wrote parts of it. The page's script does the same.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// ProofOfConsent hands over the proof of a decision, a file to keep and check anywhere.
// The API says who may have it, waits for the seal, and records that it was issued.
func (c *Console) ProofOfConsent(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	return v.stream("/api/v1/consents/"+id.String()+"/proof", "")
}
