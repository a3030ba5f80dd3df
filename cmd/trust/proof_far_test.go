//go:build far

package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	api "github.com/salga-trust/engine/http/client"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/proof/logtest"
)

// proofDesk is somebody who was handed proofs, at the page that checks them.
type proofDesk struct {
	site    *site
	tab     *tab
	check   *checker
	files   string // a folder with a proof, others, and policies
	verdict string // what the page said last
}

// put writes a file of the desk.
func (d *proofDesk) put(name, content string) {
	d.tab.t.Helper()
	must(d.tab.t, os.WriteFile(filepath.Join(d.files, name), []byte(content), 0o600))
}

// choose has the browser pick a file of the desk in a field of the form.
func (d *proofDesk) choose(field, name string) {
	d.tab.t.Helper()
	d.tab.do(chromedp.SetUploadFiles(chromedp.CSS("input[name="+field+"]"), []string{filepath.Join(d.files, name)}))
}

const (
	loaded = `performance.getEntriesByType("resource").map((r) => new URL(r.name).pathname).join(" ")`
	shown  = `document.getElementById("verdict").innerText`
)

// asks opens the page, picks the files, and has them checked. The browser's scripts do so
// without a new page, and nothing is sent.
func (d *proofDesk) asks(lang, bundle, policy string, scripts bool) {
	t := d.tab.t
	t.Helper()
	d.tab.scripts(scripts)
	d.tab.goTo("http://" + d.site.addr + "/console/proof?lang=" + lang)
	if sent := answer[string](d.tab, loaded); strings.Contains(sent, "wasm") {
		t.Errorf("before a file is chosen the page loads %s", sent)
	}
	d.choose("bundle", bundle)
	if policy != "" {
		d.choose("policy", policy)
	}

	if scripts {
		_ = answer[bool](d.tab, "window.stays = true")
		d.tab.do(chromedp.Click(chromedp.CSS(button("bundle"))))
		pgtest.Eventually(t, "the browser has checked", func() bool { return answer[string](d.tab, shown) != "" })
		if !answer[bool](d.tab, "window.stays === true") {
			t.Error("the file was sent")
		}
		if sent := answer[string](d.tab, loaded); strings.Contains(sent, "/console/proof ") ||
			!strings.Contains(sent, "/console/assets/proof.wasm") {
			t.Errorf("the page asked for %s", sent)
		}
	} else {
		d.tab.press("bundle")
	}

	d.verdict = answer[string](d.tab, shown)
	faults := d.tab.complained()
	if scripts { // which the checker needs, too
		_, faults = d.check.faults(d.tab, lang)
	}
	if len(faults) > 0 {
		t.Errorf("%s, %s by %q with scripts %t: %q", lang, bundle, policy, scripts, faults)
	}
}

// ours puts a proof on the desk that this very system handed out, and the policy that
// names its log.
func (d *proofDesk) ours() {
	t, ctx := d.tab.t, d.tab.t.Context()
	t.Helper()
	s := stage{t: t, site: d.site, nobody: api.New("http://" + d.site.addr)}
	_, err := s.nobody.Register(ctx, api.RegisterBody{
		Email: "nomsa.zondi@example.org", Password: journeyPassword, FullName: "Nomsa Zondi", MunicipalityCode: "JHB",
		Consent: api.RegisterConsentBody{Purpose: "platform_registration", Language: "en", Consented: true},
	}, nil)
	must(t, err)
	pgtest.Eventually(t, "the read tables have followed", d.site.caughtUp)

	herself := s.as("nomsa.zondi@example.org", journeyPassword)
	given, err := herself.ListConsents(ctx, nil)
	must(t, err)
	file, err := herself.ProveConsent(ctx, given.Body.Items[0].ID, nil)
	must(t, err)
	content, err := io.ReadAll(file.Body)
	must(t, err)
	var bundle struct {
		Policy string `json:"policy"`
	}
	must(t, json.Unmarshal(content, &bundle))
	d.put("ours.json", string(content))
	d.put("ours.policy", bundle.Policy)
}

// TestFarABrowserChecksAProofAndTheServerSaysTheSame checks proofs by WebAssembly in the
// browser, under the page's policy, and without JavaScript on the server.
func TestFarABrowserChecksAProofAndTheServerSaysTheSame(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off")
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)

	d := &proofDesk{site: s, tab: newChromium(t).window(), check: newChecker(t), files: t.TempDir()}
	d.tab.screen(wide)
	file, policy := logtest.Bundle(t)
	d.put("proof.json", string(file))
	d.put("changed.json", strings.Replace(string(file), "web", "wib", 1))
	d.put("empty", "")
	d.put("policy", policy)
	d.put("turned.json", "\u202e{}")
	d.ours()

	for _, c := range []struct{ lang, bundle, policy, says string }{
		{"en", "proof.json", "policy", "Proven"},
		{"en", "ours.json", "ours.policy", "Proven"},
		{"en", "ours.json", "policy", "This proves nothing"},
		{"en", "proof.json", "", "Not proven"},
		{"en", "changed.json", "policy", "This proves nothing"},
		{"en", "turned.json", "policy", "This cannot be read"},
		{"en", "empty", "policy", "This cannot be read"},
		{"en", "proof.json", "empty", "This cannot be read"},
		{"zu", "proof.json", "policy", "Kufakazelwe"},
		{"af", "changed.json", "policy", "Dit bewys niks"},
	} {
		d.asks(c.lang, c.bundle, c.policy, true)
		byBrowser := d.verdict
		if !strings.HasPrefix(byBrowser, c.says) {
			t.Errorf("%s by %q: %s", c.bundle, c.policy, byBrowser)
		}
		if d.asks(c.lang, c.bundle, c.policy, false); d.verdict != byBrowser {
			t.Errorf("%s by %q: the browser says\n%s\nand the server\n%s", c.bundle, c.policy, byBrowser, d.verdict)
		}
	}
}
