package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// env is what all contenders get.
type env struct {
	server      *server
	connections int    // most connections of a contender's pool; see calibrate
	modules     string // the folder with the packages from npm; empty if there is none
	noModules   string // why there is none
	trust       string // the built program
	bench       string // this program
	scratch     string
	load        string // of the machine, before this program added any
}

// contender is one way to store events, to read them in order and to follow them. It may
// lack some works; the others run in databases that setUp has prepared.
type contender struct {
	name  string
	about string // how it is used, for the page
	npm   bool   // it comes from npm

	setUp func(ctx context.Context, e *env, database string) error

	append   run
	appended string // the query that counts what append wrote

	fill func(ctx context.Context, e *env, database string, events int) error
	read run

	project   run
	projected func(ctx context.Context, e *env, database string) (int64, error) // counts the events in its read table

	visible run
}

// run does one work once.
type run func(ctx context.Context, e *env, database string, p params) (sample, error)

// params say how much work to do.
type params struct {
	callers int
	howLong time.Duration // at most
	events  int           // to read or to project
}

// The sizes of the pages in which a log is read and projected, and of the batches that
// are written: those that serve each contender best among those tried.
const (
	readPage    = 5000
	projectPage = 1000
	batchRows   = 100
	copyRows    = 1000
)

// writesASecond is the pace of appends whose way to a reader is timed: one every 5 ms.
// The page tells who does not keep it.
const writesASecond = 200

// followEvery is how often a follower polls that nothing wakes, if its library has no
// default of its own.
const followEvery = 100 * time.Millisecond

const eventType = "consent.granted.v1"

// granted is the event that everybody appends.
func granted() *domain.ConsentGranted {
	return &domain.ConsentGranted{Decision: domain.Decision{
		ConsentID: domain.ConsentID{UUID: uuid.Must(uuid.NewV7())}, Purpose: "sms_alert", NoticeVersion: 1,
		Language: domain.English, SHA256: domain.WordingHash("x"),
		Wording: "To send you SMS alerts about water and electricity interruptions.",
		Channel: domain.Web, RecordedBy: domain.BySelf, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
	}}
}

// encoded returns a new event as JSON. Every contender in Go calls it for each append.
func encoded() ([]byte, error) { return json.Marshal(granted()) }

// contenders lists all of them, ours last.
func contenders() []contender {
	return []contender{
		bareInsert(), bareBatch(), bareCopy(), watermillStock(), messageDB(), emmett(), ours(),
	}
}
