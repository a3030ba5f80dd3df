package witness

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/salga-trust/engine/proof"
)

// The bounds of a request: the specification's number of hashes, and what package proof
// reads of a checkpoint, which is more than enough for 16 signatures with ML-DSA-44.
const (
	maxPath    = 63
	maxRequest = proof.MaxCheckpoint + 4<<10
)

// request is the body of add-checkpoint.
type request struct {
	old        uint64 // size of the tree that the witness knows
	path       []proof.Hash
	checkpoint []byte // the signed note
}

func (r request) encode() []byte {
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", r.old)
	for _, hash := range r.path {
		body.WriteString(base64.StdEncoding.EncodeToString(hash[:]) + "\n")
	}
	body.WriteByte('\n')
	body.Write(r.checkpoint)
	return body.Bytes()
}

var errNoRequest = errors.New("this is no request: the line \"old SIZE\", up to 63 hashes of a consistency proof, " +
	"each on a line of its own, an empty line, and a signed checkpoint")

// parseRequest reads what encode returns, and nothing else.
func parseRequest(body []byte) (request, error) {
	head, checkpoint, whole := bytes.Cut(body, []byte("\n\n"))
	first, rest, _ := strings.Cut(string(head), "\n")
	size, isOld := strings.CutPrefix(first, "old ")
	old, isSize := parseSize(size)
	if !whole || !isOld || !isSize {
		return request{}, errNoRequest
	}

	r := request{old: old, checkpoint: checkpoint}
	if len(head) == len(first) {
		return r, nil
	}
	lines := strings.Split(rest, "\n")
	if len(lines) > maxPath {
		return request{}, errNoRequest
	}
	for _, line := range lines {
		hash, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(hash) != len(proof.Hash{}) || strings.Contains(line, "\r") {
			return request{}, errNoRequest
		}
		r.path = append(r.path, proof.Hash(hash))
	}
	return r, nil
}

// parseSize reads a number in its one form.
func parseSize(text string) (uint64, bool) {
	size, err := strconv.ParseUint(text, 10, 64)
	return size, err == nil && strconv.FormatUint(size, 10) == text
}

// signaturesOf returns the signature lines of a signed note.
func signaturesOf(signed []byte) []byte {
	return signed[bytes.LastIndex(signed, []byte("\n\n"))+2:]
}
