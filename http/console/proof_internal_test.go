package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

// What browsers check proofs with is built in or not; both pages are whole.
func TestThePageThatChecksProofsIsWholeWithAndWithoutWhatIsBuilt(t *testing.T) {
	t.Parallel()
	c, err := New(Config{Opens: func(string) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	exception, script := "'wasm-unsafe-eval'", "/console/assets/proof.js"
	sent, nothing := "Your browser runs no JavaScript here.", "This server was built without the checker for browsers."

	for built, parts := range map[bool]struct{ has, lacks []string }{
		true: {
			[]string{exception, script, "data-wasm=", "data-exec=", `<template id="verdict-parts">`, sent},
			[]string{nothing},
		},
		false: {[]string{nothing}, []string{exception, script, "data-wasm=", "<template", sent}},
	} {
		w := httptest.NewRecorder()
		v := c.visit(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/console/proof?lang=en", nil))
		if err := v.showProof(proofPage{InBrowser: built}, nil); err != nil {
			t.Fatal(err)
		}

		page := w.Header().Get("Content-Security-Policy") + w.Body.String()
		for _, part := range parts.has {
			if !strings.Contains(page, part) {
				t.Errorf("built %t: it lacks %s", built, part)
			}
		}
		for _, part := range parts.lacks {
			if strings.Contains(page, part) {
				t.Errorf("built %t: it has %s", built, part)
			}
		}
		if !strings.Contains(page, `enctype="multipart/form-data"`) {
			t.Errorf("built %t: no form sends files", built)
		}
	}
}

func TestAFileThatIsKeptPackedIsServedPackedAndPlain(t *testing.T) {
	t.Parallel()
	packed := pack([]byte("a program"))
	all, err := readAssets(fstest.MapFS{
		"assets/built/proof.wasm.gz": {Data: packed}, "assets/built/wasm_exec.js": {Data: []byte("run()")},
		"assets/built/README.md": {Data: []byte("# words")}, "assets/style.css": {Data: []byte("p{}")},
	})
	if err != nil || len(all) != 3 {
		t.Fatalf("%v %v", all, err)
	}

	file := all["proof.wasm"]
	plain, err := file.unpacked()
	if err != nil || string(plain) != "a program" || string(file.packed) != string(packed) ||
		file.media != "application/wasm" || file.version == all["wasm_exec.js"].version {
		t.Errorf("%q %v %+v", plain, err, file)
	}
	if plain, err := all["wasm_exec.js"].unpacked(); err != nil || string(plain) != "run()" {
		t.Errorf("%q %v", plain, err)
	}
}
