package http_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// The document that the client is made from is the one that is served. That its code is
// made from that document, make verify knows.
func TestTheClientsDocumentIsTheServedOne(t *testing.T) {
	t.Parallel()
	const path = "client/openapi.json"
	var served bytes.Buffer
	if err := json.Indent(&served, []byte(newWorld(t).send("GET", "/openapi.json", "").want(200).raw), "",
		" "); err != nil {
		t.Fatal(err)
	}
	served.WriteByte('\n')
	if *update {
		if err := os.WriteFile(path, served.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, served.Bytes()) {
		at := 0
		for at < min(len(kept), served.Len()) && kept[at] == served.Bytes()[at] {
			at++
		}
		t.Errorf("run make client: the API serves another document than %s, from line %d on", path,
			1+bytes.Count(kept[:at], []byte("\n")))
	}
}
