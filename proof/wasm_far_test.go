//go:build far

package proof_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// page is what a web page does with the verifier.
const page = `
require(process.argv[2] + "/lib/wasm/wasm_exec.js");
const fs = require("fs"), go = new Go();
WebAssembly.instantiate(fs.readFileSync(process.argv[3]), go.importObject).then(({instance}) => {
	go.run(instance);
	const read = (i) => fs.readFileSync(process.argv[i], "utf8");
	console.log(JSON.stringify([
		JSON.parse(salgaTrustCheck(read(4), read(5))),
		JSON.parse(salgaTrustCheck(read(4).replace("monthly", "weekly"), read(5))),
		JSON.parse(salgaTrustCheck(read(4), "")),
		JSON.parse(salgaTrustCheck(1)),
	]));
	process.exit(0);
});`

// The verifier is small enough for a web page, and says there what it says here.
func TestFarTheVerifierRunsInWebAssembly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "proof.wasm")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./wasm")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}

	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", info.Size())
	if info.Size() > 9<<20 {
		t.Errorf("%d bytes are too many for a web page", info.Size())
	}

	w := granted(t)
	files := map[string]string{
		"page.js": page, "bundle.json": string(w.file(w.bundle(w.policy()))), "policy": w.policy().Text(),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}

	out, err := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "page.js"), strings.TrimSpace(string(root)),
		program, filepath.Join(dir, "bundle.json"), filepath.Join(dir, "policy")).CombinedOutput()
	if err != nil {
		t.Fatalf("run: %v\n%s", err, out)
	}
	var said []struct {
		Proven bool   `json:"proven"`
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if !said[0].Proven || said[1].Proven || said[1].Reason == "" || said[2].Proven || said[3].Reason == "" {
		t.Errorf("it said %+v", said)
	}
}
