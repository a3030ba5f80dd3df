package http_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/proof/logtest"
)

// upload posts a form with files, as a browser without JavaScript does. An empty content
// is a field in which no file was chosen.
func (b *browser) upload(path, lang string, files map[string]string, headers ...string) *answer {
	t := b.w.t
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	must(t, form.WriteField("lang", lang))
	for field, content := range files {
		name := "file.json"
		if content == "" {
			name = ""
		}
		part, err := form.CreateFormFile(field, name)
		must(t, err)
		_, err = part.Write([]byte(content))
		must(t, err)
	}
	must(t, form.Close())

	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, &body)
	r.RemoteAddr = "127.0.0.1:40000"
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	b.w.api.ServeHTTP(recorder, r)
	b.page = &answer{
		t: t, what: "POST " + path, status: recorder.Code, header: recorder.Header(), log: b.w.log,
		raw: templates.ReplaceAllString(recorder.Body.String(), ""),
	}
	b.path = path
	return b.page
}

const proofPage = "/console/proof"

// templates are what scripts show, not readers: there if the verifier is built in.
var templates = regexp.MustCompile(`(?s)<template.*?</template>`)

func TestAnybodyHasAProofCheckedWithoutJavaScript(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	file, policy := logtest.Bundle(t)
	b.get(proofPage).want(200)
	b.says("Check a proof", "trust proof check", "checked in its memory, and not kept")

	b.upload(proofPage, "en", map[string]string{"bundle": string(file), "policy": policy}).want(200)
	b.says("Proven", `agreed to the purpose "newsletter"`, logtest.Words, "What holds", "versions 1 to 1 without a gap",
		"What is not proven", "the issuer's word")
	b.hides("Not proven", "This proves nothing")

	b.upload(proofPage, "en", map[string]string{"bundle": string(file), "policy": ""}).want(200)
	b.says("Not proven The file agrees with itself, and no more", "its signer wrote")

	changed := strings.Replace(string(file), "newsletter", "newspapers", 1)
	b.upload(proofPage, "en", map[string]string{"bundle": changed, "policy": policy}).want(200)
	b.says("This proves nothing", "The first thing that does not hold:", "signature")
	b.hides("What holds", "newspapers")

	b.upload(proofPage, "en", map[string]string{"bundle": "hello", "policy": policy}).want(200)
	b.says("This cannot be read", "So nothing is said about what it claims")
	b.upload(proofPage, "en", map[string]string{"bundle": string(file), "policy": "hello\n"}).want(200)
	b.says("This cannot be read", "policy, line 1")
}

func TestACheckOfAProofIsRefusedInWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	_, policy := logtest.Bundle(t)

	b.upload(proofPage, "en", map[string]string{"bundle": "", "policy": policy}).want(422)
	b.says("There is a problem", "File of the proof: Fill this in.")
	b.get(proofPage)
	b.send(proofPage).want(422)
	b.upload(proofPage, "en", map[string]string{"bundle": strings.Repeat("x", 1<<20)}).want(413)
	b.says("choose a smaller file")
	b.upload(proofPage, "en", map[string]string{"bundle": "x"}, "Sec-Fetch-Site", "cross-site").want(403)
	b.upload("/console/sign-in", "en", map[string]string{"bundle": "x"}).want(415)
	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

func TestTheCheckOfAProofSpeaksThreeLanguages(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	file, policy := logtest.Bundle(t)
	for lang, words := range map[string][]string{
		"zu": {"Hlola ubufakazi", "Kufakazelwe", "Okungafakazelwe", "Umhloli ukhuluma isiNgisi."},
		"af": {"Gaan 'n bewys na", "Bewys", "Wat nie bewys is nie", "Die nagaanprogram praat Engels."},
	} {
		b.upload(proofPage, lang, map[string]string{"bundle": string(file), "policy": policy}).want(200)
		b.says(words...)
		english := regexp.MustCompile(`(?s)<(p|ul)[^>]* lang="en"[^>]*>.*?</(p|ul)>`).FindAllString(b.page.raw, -1)
		if len(english) < 3 || strings.Contains(b.page.raw, `<html lang="en"`) {
			t.Errorf("%s: what is in English does not say so: %q", lang, english)
		}
	}
}

// WebAssembly needs an exception of the policy. One page has it, where it is built, and
// no form, refusal or other page.
func TestOnlyThePageThatChecksProofsMayRunWebAssembly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const exception = "'wasm-unsafe-eval'"
	browsers := []*browser{
		w.browser(), w.staff(domain.Admin, "KZN225").browserOf("KZN225"),
		w.staff(domain.Admin, domain.PlatformCode).browserOf(domain.PlatformCode),
		w.citizen("thandi@example.org").browserOf("KZN225"),
	}

	for _, b := range browsers {
		held := b.cookies["__Host-trust"]
		for _, l := range apphttp.PageLines() {
			if l.ID == "sign_in" || l.ID == "sign_out" {
				continue // it would end what the others need
			}
			a := b.once(l.Method, address(l), nil)
			if held != "" {
				b.cookies["__Host-trust"] = held
			}

			policy := a.header.Get("Content-Security-Policy")
			builtIn := l.Path == proofPage && strings.Contains(a.raw, "data-wasm")
			if strings.Contains(policy, exception) != builtIn || strings.Contains(policy, "'unsafe-eval'") ||
				strings.Contains(policy, "unsafe-inline") {
				t.Errorf("%s %s: %s", l.Method, l.Path, policy)
			}
		}
	}
	refused := browsers[0].once("GET", proofPage+"?nonsense=1", nil)
	if refused.status != 422 || strings.Contains(refused.header.Get("Content-Security-Policy"), exception) {
		t.Errorf("a refusal: %d %s", refused.status, refused.header.Get("Content-Security-Policy"))
	}
}

// A badge says of each decision what the newest checkpoint says of its position.
func TestTheBadgeOfADecisionSaysHowFarTheLogIsSealed(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	p := w.citizen("thandi@example.org")
	page := "/console/people/" + p.id
	officer, clerk := w.staff(domain.Manager, "KZN225"), w.staff(domain.FieldWorker, "KZN225")

	for _, c := range []struct {
		note       []byte
		badge, not string
	}{
		{[]byte{}, "Not sealed The log has no proofs yet.", "Download"},
		{checkpoint(t, 1), "Not sealed yet The next checkpoint will cover it.", "Not sealed The"},
		{
			checkpoint(t, 1_000_000),
			"Sealed checkpoint of 28 November 2024, 14:00 over 1000000 events; no witness has cosigned it",
			"Not sealed",
		},
		{
			checkpoint(t, 1_000_000, "b.example", "a.example"),
			"witnesses who cosigned it: 2 ( a.example , b.example )", "Not sealed",
		},
	} {
		w.shown.Store(&c.note)
		for _, b := range []*browser{officer.browserOf("KZN225"), clerk.browserOf("KZN225")} {
			b.get(page).want(200)
			b.says(c.badge)
			b.hides(c.not)
			b.get(page + "?lang=zu").want(200)
			b.hides("Not sealed", "checkpoint of")
		}
	}
}

// An officer downloads the proof of anybody's decision, a resident that of their own, and
// neither of them from the page of somebody else.
func TestTheProofOfADecisionIsDownloadedFromItsPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, stranger := w.citizen("thandi@example.org"), w.citizen("sipho@example.org")
	consent := p.newestConsent("platform_registration")
	console, me := "/console/consents/"+consent+"/proof", "/me/consents/"+consent+"/proof"
	officer := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	clerk := w.staff(domain.FieldWorker, "KZN225").browserOf("KZN225")

	for link, b := range map[string]*browser{console: officer, me: p.browserOf("KZN225")} {
		page := "/me"
		if b == officer {
			page = "/console/people/" + p.id
		}
		b.get(page + "?lang=en").want(200)
		if !strings.Contains(b.page.raw, `href="`+link+`"`) {
			t.Errorf("%s has no link to %s", page, link)
		}
		b.says("Sealed", "Download the proof")

		file := b.once("GET", link, nil)
		if file.file().Consent != consent ||
			!strings.HasPrefix(file.header.Get("Content-Disposition"), `attachment; filename="proof-`) {
			t.Errorf("%s: %v", link, file.header)
		}
	}
	if n := w.count("proof.issued.v1"); n != 2 {
		t.Errorf("%d proofs were issued", n)
	}

	clerk.get("/console/people/" + p.id).want(200)
	clerk.hides(console)
	clerk.get(console).want(403)
	stranger.browserOf("KZN225").get(me).want(404)
	w.shown.Store(&[]byte{})
	officer.get("/console/people/" + p.id).want(200)
	officer.hides(console)
}

func TestAProofThatCannotBeHandedOutIsAPageThatSaysWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")
	b, link := p.browserOf("KZN225"), "/me/consents/"+p.newestConsent("platform_registration")+"/proof"

	for lang, words := range map[string]string{
		"en": "This cannot be proven yet.", "zu": "Lokhu akukwazi ukufakazelwa okwamanje.",
		"af": "Dit kan nog nie bewys word nie.",
	} {
		w.prover.refuse(pendingProof(), pendingProof())
		a := b.get(link + "?lang=" + lang).want(503)
		b.says(words)
		if a.header.Get("Content-Disposition") != "" || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %v", lang, a.header)
		}
	}
	b.get("/me/consents/nothing/proof").want(404)
}

// checkpoint signs one of a log of that size, which witnesses cosign.
func checkpoint(t *testing.T, size uint64, witnesses ...string) []byte {
	t.Helper()
	c := proof.Checkpoint{Origin: logtest.Origin, Size: size, Root: proof.Sum([]byte("root"))}
	note, err := logtest.Signer(t, logtest.Origin).Sign(c, logtest.Noon())
	must(t, err)
	for _, name := range witnesses {
		lines, err := logtest.Signer(t, name).Cosign(c, logtest.Noon())
		must(t, err)
		note = append(note, lines...)
	}
	return note
}
