package http_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// The client is made from the document that is served. Its code is checked against that
// document by make verify.
func TestTheClientsDocumentIsTheServedOne(t *testing.T) {
	t.Parallel()
	const path = "client/openapi.json"

	var served bytes.Buffer
	raw := newWorld(t).send("GET", "/openapi.json", "").want(200).raw
	must(t, json.Indent(&served, []byte(raw), "", " "))
	served.WriteByte('\n')

	if *update {
		must(t, os.WriteFile(path, served.Bytes(), 0o644))
	}

	kept, err := os.ReadFile(path)
	must(t, err)

	if !bytes.Equal(kept, served.Bytes()) {
		at := 0
		for at < min(len(kept), served.Len()) && kept[at] == served.Bytes()[at] {
			at++
		}
		t.Errorf("run make client: the served document differs from %s, from line %d on", path,
			1+bytes.Count(kept[:at], []byte("\n")))
	}
}
