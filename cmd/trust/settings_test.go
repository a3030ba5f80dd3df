package main

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/internal/pgtest"
)

// hostile are settings of a database and of its login that everything must work under.
const hostile = `
	alter database %1$I set client_encoding = 'LATIN1';
	alter database %1$I set DateStyle = 'SQL, DMY';
	alter database %1$I set default_transaction_isolation = 'serializable';
	alter database %1$I set search_path = 'trust';
	alter database %1$I set synchronous_commit = off;
	alter database %1$I set lock_timeout = '1ms';
	alter role %2$I in database %1$I set statement_timeout = '1ms';
	alter role %2$I in database %1$I set idle_in_transaction_session_timeout = '10ms';
	alter role %2$I in database %1$I set row_security = off;
	alter role %2$I in database %1$I set TimeZone = 'Africa/Johannesburg'`

func TestEverythingIsRightWhateverTheSettingsOfDatabaseAndLogin(t *testing.T) {
	t.Parallel()
	s := hostileSite(t)
	s.run("migrate").expect(t, exit.CodeDone, "schema version")
	s.run("prepare", "contents").expect(t, exit.CodeDone, "first platform admin: made")
	s.start("project", "all")
	s.start("serve")
	pgtest.Eventually(t, "it is ready", s.ready)

	const name = "Ṱhilivhali !Kheis"
	s.feed("a good password\n", "admin", "create", "--municipality", "CPT", "--email", "officer@example.org").
		expect(t, exit.CodeDone, "made")
	officer, person := s.signedIn("officer@example.org", "a good password", "CPT"),
		s.citizen("person@example.org", name)
	granted := person.call("POST", "consents", `{"purpose":"sms_alert","language":"zu","consented":true}`)
	agreed := field(t, granted, "id")
	person.call("POST", "consents/"+agreed+"/withdraw", `{}`)
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)
	if listed := string(officer.call("GET", "users", "")); !strings.Contains(listed, name) {
		t.Errorf("the list of users does not hold %q: %s", name, listed)
	}
	s.holdsWholeNames(t, name)

	s.run("rebuild", "all").expect(t, exit.CodeDone, "was as the log says")
	s.run("rebuild", "all", "--drop-kept").expect(t, exit.CodeDone, "dropped")
	s.run("verify").expect(t, exit.CodeDone, "events verified")
	s.run("backup", "--to", "full").expect(t, exit.CodeDone, "backup of position")

	restored := hostileSite(t)
	restored.dir = s.dir
	restored.run("restore", "--from", "full").expect(t, exit.CodeDone, "restored to position")
	restored.run("rebuild", "all").expect(t, exit.CodeDone, "rebuilt up to position")
	restored.run("verify").expect(t, exit.CodeDone, "events verified")
	restored.holdsWholeNames(t, name)
}

// hostileSite is a site on a fresh database with such settings.
func hostileSite(t *testing.T) *site {
	t.Helper()
	address := pgtest.Fresh(t)
	conn, err := pgx.Connect(t.Context(), address)
	must(t, err)
	defer conn.Close(t.Context())

	var settings string
	must(t, conn.QueryRow(t.Context(), "select format($1, current_database(), current_user)", hostile).Scan(&settings))
	_, err = conn.Exec(t.Context(), settings)
	must(t, err)

	return newSite(t, "DATABASE_URL="+address, testSecret, testMaster, "RATE_LIMIT=off",
		"ADMIN_EMAIL=admin@example.org", "ADMIN_PASSWORD=correct horse battery")
}

// holdsWholeNames looks at names as they are stored: a municipality's in an event, a
// person's in a read table.
func (s *site) holdsWholeNames(t *testing.T, person string) {
	t.Helper()
	config, err := pgx.ParseConfig(s.address())
	must(t, err)
	conn, err := pg.Dial(t.Context(), config)
	must(t, err)
	defer pg.Close(context.WithoutCancel(t.Context()), conn)

	var municipality, listed bool
	must(t, conn.QueryRow(t.Context(), `select exists (select from trust.events where payload ->> 'name' = '!Kheis'),
		exists (select from trust.users_v1 where full_name = $1
			union all select from trust.users where full_name = $1)`, person).Scan(&municipality, &listed))
	if !municipality || !listed {
		t.Errorf("a municipality's name is whole: %t, a person's: %t", municipality, listed)
	}
}

func TestADatabaseThatCannotHoldEveryNameIsRefused(t *testing.T) {
	t.Parallel()
	s, db := onDatabase(t)
	name := db.Name() + "_latin1"
	super := db.Superuser(t)
	_, err := super.Exec(t.Context(), "create database "+name+" encoding 'LATIN1' locale 'C' template template0")
	must(t, err)
	t.Cleanup(func() {
		_, err := super.Exec(context.WithoutCancel(t.Context()), "drop database "+name)
		must(t, err)
	})

	s.run("import", "municipalities", s.file("one.csv", "code,name,province\nA1,Alpha,Gauteng\n")).
		expect(t, exit.CodeDone, "1 registered")
	s.run("backup", "--to", "full").expect(t, exit.CodeDone, "1 events")

	u, err := url.Parse(s.address())
	must(t, err)
	u.Path = "/" + name
	for _, args := range [][]string{{"migrate"}, {"restore", "--from", "full"}} {
		s.into(u.String()).run(args...).expect(t, exit.CodeNotSo,
			"encoding is not UTF8 but LATIN1; give DATABASE_URL one that was made with")
	}
}
