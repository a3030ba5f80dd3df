package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// env is what all contenders are given.
type env struct {
	server      *server
	connections int    // of every contender's pool, at most; see calibrate
	modules     string // the folder with what npm installed; empty: there is none, for this reason:
	noModules   string
	trust       string // the built program
	bench       string // this program
	scratch     string
}

// contender is one way to store events, to read them in order and to follow them. It may
// lack a work; what it has of them runs in databases that setUp has prepared.
type contender struct {
	name  string
	about string // how it is used, for the page
	npm   bool   // it comes from there

	setUp func(ctx context.Context, e *env, database string) error

	append   run
	appended string // the query that counts what append wrote

	fill func(ctx context.Context, e *env, database string, events int) error
	read run

	project   run
	projected string // the query that counts what project wrote

	visible run
}

// run does one work once.
type run func(ctx context.Context, e *env, database string, p params) (sample, error)

// params say how much of it.
type params struct {
	callers int
	howLong time.Duration // at most
	events  int           // that there are to read or to project
}

// The pages in which a log is read and folded: the size that serves each contender best
// among those tried.
const (
	readPage    = 5000
	projectPage = 1000
	batchRows   = 100
	copyRows    = 1000
)

// writesASecond is the pace of the appends whose way to a reader is timed: one every 5
// ms.
const writesASecond = 200

// followEvery is how often a follower polls that nothing wakes, where its library has no
// default of its own.
const followEvery = 100 * time.Millisecond

const eventType = "consent.granted.v1"

// granted is the event that everybody appends: about 500 bytes of JSON.
func granted() *domain.ConsentGranted {
	return &domain.ConsentGranted{Decision: domain.Decision{
		ConsentID: domain.ConsentID{UUID: uuid.Must(uuid.NewV7())}, Purpose: "sms_alert", NoticeVersion: 1,
		Language: domain.English,
		Wording:  "To send you SMS alerts about water and electricity interruptions.", SHA256: domain.WordingHash("x"),
		Channel: domain.Web, RecordedBy: domain.BySelf, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
	}}
}

// encoded is a new event as JSON, which every contender in Go makes for each append.
func encoded() ([]byte, error) { return json.Marshal(granted()) }

// contenders lists all of them, ours last.
func contenders() []contender {
	return []contender{
		bareInsert(), bareBatch(), bareCopy(), watermillStock(), messageDB(), emmett(), ours(),
	}
}
