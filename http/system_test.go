package http_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

func TestThePlatformsAdminsSeeHowFarTheSystemIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, domain.PlatformCode)
	const path = "/api/v1/system"

	w.system = apphttp.SystemState{Head: 1050, Log: uuid.New(), CheckedAt: w.clock()}
	idle := admin.send("GET", path, "").want(200)
	if idle.json["position"] != 1050.0 || idle.text("log") != w.system.Log.String() ||
		fmt.Sprint(idle.json["followers"], idle.json["warnings"]) != "[] []" {
		t.Errorf("without followers: %s", idle.raw)
	}

	since := w.clock().Add(-time.Hour)
	w.system.Warnings = []apphttp.Warning{{Code: "no_writes", Detail: "the database is read-only"}}
	w.system.Followers = []apphttp.FollowerState{
		{Name: "users", Position: 1050, State: "running", SeenAt: w.clock()},
		{
			Name: "consents", Position: 1043, Lag: 7, State: "halted", SeenAt: w.clock(),
			Error: "event 1044: the event's JSON is malformed", ErrorSince: since,
		},
		{Name: "municipalities", Position: 1060, State: "halted", Ahead: true, Error: "the log went backwards"},
	}
	a := admin.send("GET", path, "").want(200)
	followers := a.json["followers"].([]any)
	for i, want := range []string{
		"running true false <nil> <nil>",
		"halted false false event 1044: the event's JSON is malformed 2026-03-01T11:00:00.000000Z",
		"halted false true the log went backwards <nil>",
	} {
		f := followers[i].(map[string]any)
		got := fmt.Sprint(f["state"], " ", f["caught_up"], " ", f["ahead"], " ", f["last_error"], " ", f["error_since"])
		if got != want {
			t.Errorf("%s: %s, want %s", f["name"], got, want)
		}
	}
	if warnings := a.json["warnings"].([]any); len(warnings) != 1 {
		t.Errorf("warnings: %v", warnings)
	}

	w.staff(domain.Admin, "KZN225").send("GET", path, "").wantProblem(403, domain.CodeForbidden)
}

func TestASystemThatCannotBeLookedUpIsUnavailable(t *testing.T) {
	t.Parallel()
	away := domain.Refuse(domain.CodeUnavailable, "The database does not answer.")
	w := newWorld(t, func(c *apphttp.Config) {
		c.System = func(contextOf) (apphttp.SystemState, error) { return apphttp.SystemState{}, away }
	})
	w.staff(domain.Admin, domain.PlatformCode).send("GET", "/api/v1/system", "").
		wantProblem(503, domain.CodeUnavailable)
}
