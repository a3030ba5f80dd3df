package settings

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/domain"
)

// good is a configuration without a fault; each case spoils it.
func good() map[string]string {
	return map[string]string{
		"DATABASE_URL": "postgres://owner:hunter2@db.example/trust", "SECRET_KEY": strings.Repeat("s3cret", 8),
		"MASTER_KEY": strings.Repeat("m4ster", 8),
	}
}

func goodInProduction() map[string]string {
	c := good()
	c["ENVIRONMENT"] = "production"
	c["DATABASE_URL"] += "?sslmode=verify-full"
	c["DATABASE_URL_API"] = "postgres://api:hunter2@db.example/trust?sslmode=verify-full"
	c["DATABASE_URL_PROJECTOR"] = "postgres://projector:hunter2@db.example/trust?sslmode=require"
	c["ALLOWED_ORIGINS"] = "https://portal.example"
	return c
}

func settingsOf(values map[string]string) Settings {
	s := Settings{given: map[source]map[string]string{fromFlag: values, fromDefault: {}}, DataDir: ".trust"}
	for _, v := range variables() {
		s.given[fromDefault][v.name] = v.fallback
	}
	return s
}

// wholeConfig demands everything that serve and project need.
func wholeConfig(values map[string]string) error {
	c, err := Check(settingsOf(values))
	if err != nil {
		return err
	}
	if err := c.Need(Secrets{Secret: true, Master: true}); err != nil {
		return err
	}
	if _, err := c.NeedAPI(); err != nil {
		return err
	}
	_, err = c.NeedProjector()
	return err
}

func TestProductionTakesWhatNoNetworkCanRead(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"postgres://api@127.0.0.1/trust?sslmode=disable", "postgres://api@[::1]/trust",
		"postgres://api@localhost:5433/trust", "postgres:///trust?host=/run/postgresql",
		"postgres://api@db.example/trust?sslmode=require",
	} {
		values := goodInProduction()
		values["DATABASE_URL_PROJECTOR"] = address
		if err := wholeConfig(values); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestGoodConfigurationsAreAccepted(t *testing.T) {
	t.Parallel()
	for name, values := range map[string]map[string]string{"development": good(), "production": goodInProduction()} {
		if err := wholeConfig(values); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheRolesThatMustHaveASecondFactorAreReadOnceEach(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]domain.Role{
		"": nil, "admin": {domain.Admin}, " manager , admin,,manager": {domain.Manager, domain.Admin},
	} {
		values := good()
		values["REQUIRE_TOTP"] = text
		config, err := Check(settingsOf(values))
		if err != nil || !slices.Equal(config.RequireTOTP, want) {
			t.Errorf("%q: %v, %v", text, config, err)
		}
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		base map[string]string
		set  string // NAME=value; an empty value removes it
		want string
	}{
		"no secret key": {good(), "SECRET_KEY=", "SECRET_KEY is not set"},
		"short secret key": {
			good(), "SECRET_KEY=0123456789012345678901234567890",
			"SECRET_KEY has 31 characters",
		},
		"repeated secret key":     {good(), "SECRET_KEY=" + strings.Repeat("a", 40), "SECRET_KEY is one character"},
		"no master key":           {good(), "MASTER_KEY=", "MASTER_KEY is not set"},
		"short master key":        {good(), "MASTER_KEY=short", "MASTER_KEY has 5 characters"},
		"keys are the same":       {good(), "MASTER_KEY=" + good()["SECRET_KEY"], "are the same"},
		"another algorithm":       {good(), "ALGORITHM=none", "ALGORITHM can only be HS256"},
		"an asymmetric algorithm": {good(), "ALGORITHM=RS256", "ALGORITHM can only be HS256"},
		"unknown environment":     {good(), "ENVIRONMENT=staging", "ENVIRONMENT is neither"},
		"debug is no bool":        {good(), "DEBUG=perhaps", "DEBUG is neither true nor false"},
		"no TLS in production": {
			goodInProduction(), "DATABASE_URL_API=postgres://api@db.example/trust",
			"DATABASE_URL_API has no TLS",
		},
		"no TLS to the replica": {
			goodInProduction(), "DATABASE_URL_READ=postgres://api@replica.example/trust",
			"DATABASE_URL_READ has no TLS",
		},
		"TLS if the server likes": {
			goodInProduction(), "DATABASE_URL=postgres://o@db.example/trust?sslmode=prefer",
			"DATABASE_URL has no TLS",
		},
		"TLS if it must be": {
			goodInProduction(), "DATABASE_URL=postgres://o@db.example/trust?sslmode=allow",
			"DATABASE_URL has no TLS",
		},
		"one server without TLS": {
			goodInProduction(),
			"DATABASE_URL=postgres://o@127.0.0.1,db.example/t?sslmode=disable", "DATABASE_URL has no TLS",
		},
		"debug in production":     {goodInProduction(), "DEBUG=true", "DEBUG is refused in production"},
		"no limits in production": {goodInProduction(), "RATE_LIMIT=off", "RATE_LIMIT=off is refused"},
		"limits are maybe":        {good(), "RATE_LIMIT=maybe", "RATE_LIMIT is neither on nor off"},
		"a limit of nothing":      {good(), "RATE_LIMIT_ACCOUNT=0", "RATE_LIMIT_ACCOUNT is not a number"},
		"no api address":          {goodInProduction(), "DATABASE_URL_API=", "DATABASE_URL_API is not set"},
		"no projector address": {
			goodInProduction(), "DATABASE_URL_PROJECTOR=",
			"DATABASE_URL_PROJECTOR is not set",
		},
		"no database": {good(), "DATABASE_URL=", "neither DATABASE_URL_API nor DATABASE_URL"},
		"another kind of database": {
			good(), "DATABASE_URL=mysql://root:hunter2@db/trust",
			"DATABASE_URL is not of the form",
		},
		"a broken address": {
			good(), "DATABASE_URL=postgres://owner:hunter2@db:port/trust",
			"DATABASE_URL is not of the form",
		},
		"any origin":    {good(), "ALLOWED_ORIGINS=*", "ALLOWED_ORIGINS holds *"},
		"any subdomain": {good(), "ALLOWED_ORIGINS=https://*.example", "ALLOWED_ORIGINS holds *"},
		"plain origin": {
			good(), "ALLOWED_ORIGINS=https://a.example,http://b.example",
			"plain http is for localhost only",
		},
		"plain origin, production": {goodInProduction(), "ALLOWED_ORIGINS=http://b.example", "is not https"},
		"localhost, production":    {goodInProduction(), "ALLOWED_ORIGINS=http://localhost:3000", "is not https"},
		"the default, production":  {goodInProduction(), "ALLOWED_ORIGINS=", "is not https"},
		"an origin with a path":    {good(), "ALLOWED_ORIGINS=https://a.example/app", "is not of the form"},
		"an origin without scheme": {good(), "ALLOWED_ORIGINS=a.example", "is not of the form"},
		"an address without port":  {good(), "HTTP_ADDR=localhost", "HTTP_ADDR is not HOST:PORT"},
		"an impossible port":       {good(), "HTTP_ADDR=:99999", "the port of HTTP_ADDR"},
		"a life of no minutes": {
			good(), "ACCESS_TOKEN_EXPIRE_MINUTES=0",
			"ACCESS_TOKEN_EXPIRE_MINUTES is not a number",
		},
		"a life of words": {
			good(), "REFRESH_TOKEN_EXPIRE_DAYS=seven",
			"REFRESH_TOKEN_EXPIRE_DAYS is not a number",
		},
		"a role that is none": {
			good(), "REQUIRE_TOTP=admin,managers",
			"an entry of REQUIRE_TOTP is not a role of staff",
		},
		"a role of no staff": {
			good(), "REQUIRE_TOTP=citizen",
			"an entry of REQUIRE_TOTP is not a role of staff",
		},
		"another kind of redis": {good(), "REDIS_URL=http://:hunter2@cache", "REDIS_URL does not start"},
		"redis without a host":  {good(), "REDIS_URL=redis://:hunter2@", "REDIS_URL is not of the form"},
		"redis at a port of words": {
			good(), "REDIS_URL=redis://:hunter2@cache:port", "REDIS_URL is not of the form",
		},
		"a database of redis by name": {
			good(), "REDIS_URL=rediss://:hunter2@cache/limits", "REDIS_URL is not of the form",
		},
		"redis that checks nothing": {
			good(), "REDIS_URL=rediss://:hunter2@cache?skip_verify=true", "REDIS_URL has parameters",
		},
		"redis in the clear":    {goodInProduction(), "REDIS_URL=redis://:hunter2@cache", "REDIS_URL has no TLS"},
		"a relay to elsewhere":  {good(), "RELAY_URL=http://u:hunter2@nats", "RELAY_URL is not a list"},
		"a relay to one of two": {good(), "RELAY_URL=nats://a:4222,hunter2", "RELAY_URL is not a list"},
		"a relay in the clear": {
			goodInProduction(), "RELAY_URL=tls://a.example,nats://u:hunter2@b.example", "RELAY_URL has no TLS",
		},
		"metrics without port":      {good(), "RELAY_METRICS_ADDR=localhost", "RELAY_METRICS_ADDR is not HOST:PORT"},
		"a stream of two tokens":    {good(), "RELAY_STREAM=TRUST.2", "RELAY_STREAM cannot name a stream"},
		"a proxy by name":           {good(), "TRUSTED_PROXIES=10.0.0.0/8,proxy", "an entry of TRUSTED_PROXIES"},
		"a log for printers":        {good(), "LOG_FORMAT=pdf", "LOG_FORMAT is neither"},
		"no page":                   {good(), "PAGE_SIZE=0", "PAGE_SIZE is not a number"},
		"a pool of one":             {good(), "POOL_SIZE=1", "POOL_SIZE is not a number"},
		"no time for an answer":     {good(), "REQUEST_TIMEOUT=0", "REQUEST_TIMEOUT is not a time span like 10s"},
		"less than no time":         {good(), "REQUEST_TIMEOUT=-1s", "REQUEST_TIMEOUT is not a time span like 10s"},
		"a time without a unit":     {good(), "REQUEST_TIMEOUT=10", "REQUEST_TIMEOUT is not a time span like 10s"},
		"a time in words":           {good(), "REQUEST_TIMEOUT=abc", "REQUEST_TIMEOUT is not a time span like 10s"},
		"a time of days":            {good(), "REQUEST_TIMEOUT=100h", "from 1s to 10m0s"},
		"a time too short to serve": {good(), "REQUEST_TIMEOUT=999ms", "from 1s to 10m0s"},
		"an admin without address":  {good(), "ADMIN_EMAIL=admin", "ADMIN_EMAIL"},
		"an admin's short password": {good(), "ADMIN_PASSWORD=hunter2", "ADMIN_PASSWORD"},
	}

	for name, c := range cases {
		key, value, _ := strings.Cut(c.set, "=")
		c.base[key] = value
		err := wholeConfig(c.base)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
			continue
		}

		if code := exit.CodeOf(err); code != exit.CodeUsage {
			t.Errorf("%s: exit code %d", name, code)
		}
		for _, secret := range []string{"hunter2", "s3cret", "m4ster", "0123456789"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the message shows %q: %v", name, secret, err)
			}
		}
	}
}

func TestAddressesAreDerivedBySwitchingRole(t *testing.T) {
	t.Parallel()
	c, err := Check(settingsOf(map[string]string{
		"DATABASE_URL": "postgres://owner:pw@db:5433/trust?sslmode=require&options=-c%20work_mem%3D8MB",
	}))
	if err != nil {
		t.Fatal(err)
	}

	got := map[string]string{}
	for name, need := range map[string]func() (string, error){
		"owner": c.NeedOwner, "api": c.NeedAPI, "projector": c.NeedProjector,
	} {
		if got[name], err = need(); err != nil {
			t.Fatal(err)
		}
	}

	const common = "postgres://owner:pw@db:5433/trust?options=-c%20work_mem%3D8MB"
	want := map[string]string{
		"owner":     common + "&sslmode=require",
		"api":       common + "&role=trust_query&sslmode=require",
		"projector": common + "&role=trust_projector&sslmode=require",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// .env.example agrees with the program.
func TestEnvExampleHasEveryVariableWithItsDefault(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("../../../..", ".env.example"))
	if err != nil {
		t.Fatal(err)
	}

	documented := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^#?([A-Z][A-Z0-9_]*)=(.*)$`).FindAllStringSubmatch(string(text), -1) {
		if _, twice := documented[match[1]]; twice {
			t.Errorf("%s is there twice", match[1])
		}
		documented[match[1]] = match[2]
	}

	defaults := map[string]string{}
	for _, v := range variables() {
		defaults[v.name] = v.fallback
	}
	if diff := cmp.Diff(defaults, documented); diff != "" {
		t.Errorf("code (-) and .env.example (+) differ:\n%s", diff)
	}
}

func TestEveryVariableButSecretsHasAFlag(t *testing.T) {
	t.Parallel()
	var grammar Flags
	parser, err := kong.New(&grammar)
	if err != nil {
		t.Fatal(err)
	}

	var flagged, wanted []string
	for _, flag := range parser.Model.Flags {
		if flag.Group != nil && flag.Group.Key == "settings" {
			flagged = append(flagged, VariableOf(flag.Name))
		}
	}
	for _, v := range variables() {
		if !v.secret {
			wanted = append(wanted, v.name)
		}
	}

	slices.Sort(flagged)
	slices.Sort(wanted)
	if diff := cmp.Diff(wanted, flagged); diff != "" {
		t.Error(diff)
	}
}

func TestSettingsAreLookedUpInOrder(t *testing.T) {
	t.Parallel()
	s := settingsOf(map[string]string{"A": "flag"})
	s.given[fromEnvironment] = map[string]string{"A": "environment", "B": "environment", "C": ""}
	s.given[fromDotEnv] = map[string]string{"A": ".env", "B": ".env", "C": ".env"}
	s.given[fromDataDir] = map[string]string{"A": "kept", "B": "kept", "C": "kept", "D": "kept"}
	s.given[fromDefault] = map[string]string{"D": "default", "E": "default"}

	for name, want := range map[string]string{
		"A": "flag", "B": "environment", "C": ".env", "D": "kept", "E": "default", "F": "",
	} {
		if got := s.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestEnvFileKeepsWhatOthersWroteThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "env")
	for _, values := range [][]Pair{{{"A", "1"}, {"B", "2"}}, {{"B", "3"}, {"C", "4"}}} {
		if err := Keep(path, values...); err != nil {
			t.Fatal(err)
		}
	}

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := envFileHead + "A=1\nB=3\nC=4\n"; string(text) != want {
		t.Errorf("got %q, want %q", text, want)
	}

	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}

	left, err := filepath.Glob(path + ".new*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Half a key is refused as well as a damaged one, and no refusal shows a seed.
func TestAKeyThatSignsCheckpointsIsTakenWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	a, b := strings.Repeat("0123456789abcdef", 4), strings.Repeat("fedcba9876543210", 4)
	seeds, err := ParseSigningKey(a + "." + b)
	if err != nil || FormatSigningKey(*seeds) != a+"."+b {
		t.Errorf("a whole key: %v, %v", seeds, err)
	}

	for key, want := range map[string]string{
		a:                     "is half of a key",
		a + ".":               "is half of a key",
		"." + b:               "is half of a key",
		a[1:] + "." + b:       "is not two times 64 hexadecimal digits",
		a + "." + b + "00":    "is not two times 64 hexadecimal digits",
		a + "." + b[2:]:       "is not two times 64 hexadecimal digits",
		a + "." + b + "." + b: "is not two times 64 hexadecimal digits",
		strings.Replace(a, "c", "x", 1) + "." + b: "is not two times 64 hexadecimal digits",
		a + "." + strings.Repeat("7f", 32):        "is one byte repeated",
		a + "." + a:                               "are the same",
	} {
		values := good()
		values["LOG_SIGNING_KEY"] = key
		_, err := Check(settingsOf(values))
		if exit.CodeOf(err) != exit.CodeUsage || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "89abcdef") || strings.Contains(err.Error(), "98765432") {
			t.Errorf("%s: %v, want %q", key, err, want)
		}
	}
}
