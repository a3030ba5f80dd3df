// Command torchwood prepares what filippo.io/torchwood's litewitness needs, and verifies
// with torchwood's code what our witness gives. The far tests of proof/witness build it.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"filippo.io/torchwood"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func main() {
	switch os.Args[1] {
	case "agent": // SOCKET DATABASE ORIGIN VKEY
		serveAgent(os.Args[2], os.Args[3], os.Args[4], os.Args[5])
	case "verify": // NAME SEED, and a note on standard input
		verify(os.Args[2], os.Args[3])
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// serveAgent fills the tables of litewitness, and then serves a new key as ssh-agent does.
func serveAgent(socket, database, origin, vkey string) {
	db, err := sqlite.OpenConn(database)
	must(err)
	must(sqlitex.ExecuteScript(db, `
		CREATE TABLE log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL);
		CREATE TABLE key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin));`, nil))
	empty, err := tlog.TreeHash(0, nil)
	must(err)
	must(sqlitex.Execute(db, "INSERT INTO log VALUES (?, 0, ?)", &sqlitex.ExecOptions{Args: []any{origin, empty.String()}}))
	must(sqlitex.Execute(db, "INSERT INTO key VALUES (?, ?)", &sqlitex.ExecOptions{Args: []any{origin, vkey}}))
	must(db.Close())

	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	keys := agent.NewKeyring()
	must(keys.Add(agent.AddedKey{PrivateKey: key}))
	public, err := ssh.NewPublicKey(key.Public())
	must(err)
	listener, err := net.Listen("unix", socket)
	must(err)
	fmt.Println(ssh.FingerprintSHA256(public))
	for {
		conn, err := listener.Accept()
		must(err)
		go func() { _ = agent.ServeAgent(keys, conn) }()
	}
}

// verify opens a note with torchwood's verifier of cosignatures.
func verify(name, seed string) {
	data, err := base64.StdEncoding.DecodeString(seed)
	must(err)
	signer, err := torchwood.NewCosignatureSigner(name, ed25519.NewKeyFromSeed(data))
	must(err)
	text, err := io.ReadAll(os.Stdin)
	must(err)
	opened, err := note.Open(text, note.VerifierList(signer.Verifier()))
	must(err)
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	must(err)
	at, err := torchwood.CosignatureTimestamp(opened.Sigs[0])
	must(err)
	fmt.Println(signer.Verifier(), checkpoint.N, at)
}
