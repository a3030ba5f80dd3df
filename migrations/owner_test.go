package migrations_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/internal/localpg"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/migrations"
)

func TestAnOwnerWithoutSuperuserMigratesAndWorksAsEveryRole(t *testing.T) {
	t.Parallel()
	binaries, err := localpg.Find()
	if err != nil {
		t.Fatal(err)
	}
	ownerMigrates(t, pgtest.Server(t, binaries))
}

// ownerMigrates migrates two databases of a cluster that has none of the roles yet, as a
// login that may create roles and nothing more. Then it uses each role as the program
// does.
func ownerMigrates(t *testing.T, superuser string) {
	t.Helper()
	admin := connect(t, superuser)
	mustExec(t, admin, "create role own login createrole password 'own'")

	for _, name := range []string{"first", "second"} {
		mustExec(t, admin, "create database "+name+" owner own")
		address := as(t, superuser, "own", name)
		if _, err := migrations.Up(t.Context(), address); err != nil {
			t.Fatalf("the %s database: %v", name, err)
		}

		for _, role := range []string{"trust_owner", "trust_append", "trust_projector", "trust_query"} {
			conn := connect(t, address+"&options=-c%20role%3D"+role)
			mustExec(t, conn, "select * from trust.head()")
			demandTemporary(t, conn, role == "trust_owner" || role == "trust_append")
		}

		audit := connect(t, address+"&options=-c%20role%3Dtrust_query")
		mustExec(t, audit, "begin; set local role trust_audit; select count(*) from trust.events; commit")

		closing := connect(t, address)
		mustExec(t, closing,
			"revoke usage on schema trust from trust_query; grant usage on schema trust to trust_query")
	}
}

// demandTemporary asserts whether a role may make temporary tables: a restore does, and
// nothing else needs to.
func demandTemporary(t *testing.T, conn *pgx.Conn, may bool) {
	t.Helper()
	_, err := conn.Exec(t.Context(), "create temp table mine (n integer)")
	if (err == nil) != may {
		t.Errorf("%s makes a temporary table: %v", conn.Config().RuntimeParams["options"], err)
	}
}

func TestAnOwnerWithoutTheRolesIsToldWhatToRun(t *testing.T) {
	t.Parallel()
	binaries, err := localpg.Find()
	if err != nil {
		t.Fatal(err)
	}

	superuser := pgtest.Server(t, binaries)
	admin := connect(t, superuser)
	mustExec(t, admin, "create role poor login password 'poor'")
	mustExec(t, admin, "create database poors owner poor")

	_, err = migrations.Up(t.Context(), as(t, superuser, "poor", "poors"))
	if err == nil || !strings.Contains(err.Error(), "alter role LOGIN createrole") {
		t.Errorf("got %v", err)
	}
}

// as returns an address for another login, whose password is its name, and another
// database.
func as(t *testing.T, address, login, database string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.UserPassword(login, login), "/"+database
	return u.String()
}
