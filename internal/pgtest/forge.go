package pgtest

import (
	"testing"
	"time"
)

// Forgery is an event as appended by somebody who has the API's login to the database but
// no master key.
type Forgery struct {
	Tenant, Stream [16]byte
	StreamType     string
	Type, Payload  string
	Subject, Actor *[16]byte
	Effective      *time.Time // nil: when it is recorded
	Side           *string    // side writes, as trust.append takes them
}

// Forge appends an event by calling the append function directly, with a made-up code,
// and returns its position.
func (db *DB) Forge(t testing.TB, f Forgery) (position int64) {
	t.Helper()
	const sql = `select firsts[1] from trust.append_one(
		array[gen_random_uuid()], array[$1]::uuid[], array[1], array[1], array[$1]::uuid[],
		array[$2], array[$3]::uuid[], array[-1], array[1], array[1], array[1],
		array[gen_random_uuid()], array[$4], array[$5]::uuid[], array[$3]::uuid[], array[$6]::uuid[],
		array[$7], array[null]::bytea[], array['{"actor_role":"admin"}'],
		array[$8]::timestamptz[], $9::text::json, null, array['\x0100' || sha256('made up')])`

	err := db.Conn(t, Query).QueryRow(t.Context(), sql,
		f.Tenant, f.StreamType, f.Stream, f.Type, f.Subject, f.Actor, f.Payload, f.Effective, f.Side).Scan(&position)
	if err != nil {
		t.Fatalf("pgtest: forge an event: %v", err)
	}
	return position
}
