package settings

import (
	"bytes"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/mail"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/http/sharedcount"
	"github.com/salga-trust/engine/proof"
)

// minKey is the least length of a secret, in characters: with 5 bits a character, as made
// here, 32 carry 160.
const minKey = 32

// streamPattern is a name that every version of NATS takes.
var streamPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Config is the whole configuration, checked. A command demands the parts that it needs
// with Need and the like.
type Config struct {
	Settings Settings

	DatabaseURL  string
	apiURL       string // empty: derived from DatabaseURL, except in production
	projectorURL string // likewise
	ReadURL      string // of a standby to read from; empty: there is none
	SecretKey    string
	MasterKey    string
	NewMasterKey string // what trust keys rotate changes to
	Wrapped      Wrapped

	LogSeeds        *proof.Seeds // of what signs checkpoints; nil: none is set
	LogOrigin       string       // empty: from the log's id
	CheckpointEvery time.Duration

	Production bool
	Debug      bool
	HTTPAddr   string

	RequestTimeout time.Duration

	Origins     []string
	AccessTTL   time.Duration
	RefreshTTL  time.Duration
	RequireTOTP []domain.Role
	Mail        *mail.Server // nil: this server sends none
	Relay       Relay
	Redis       *sharedcount.Server // nil: each API process counts rate limits in its memory
	RateLimit   bool
	Limits      Limits
	Proxies     []netip.Prefix // whose X-Forwarded-For is believed
	Scrapers    []netip.Prefix // that may read metrics
	Recipients  []netip.Prefix // besides the public internet, that webhooks may send to

	DataDir   string
	LogFormat string
	PoolSize  int
	PageSize  int
}

// Wrapped says where the master key is, if it is wrapped, and what opens it.
type Wrapped struct {
	File     string // empty: MASTER_KEY is set as it is
	Name     string // empty: the first wrapping in the file
	Token    string // file, for OpenBao; empty: none
	Identity string // file, for age; empty: none
}

// Relay is where the log is published to.
type Relay struct {
	URL       string // of servers of NATS, separated by commas; empty: nowhere
	Stream    string
	CredsFile string // empty: none
	Metrics   string // address of its metrics; empty: it serves none
}

// Limits are how many requests one account or address may make, within the time that the
// meaning of each variable names.
type Limits struct {
	LoginAccount, LoginSlow, LoginAddress, RegisterEmail, RegisterAddress, Export, Erasure int
	ResetEmail, ResetAddress, RedeemAddress                                                int
	Account, Service, SignedInAddress, Address, Assets                                     int
}

// Check checks every setting and returns the first fault, in one sentence that repeats no
// value of a secret.
func Check(s Settings) (*Config, error) {
	c := &Config{Settings: s, DataDir: s.DataDir}
	for _, read := range []func(Settings) error{
		c.readMode, c.readSecrets, c.readLog, c.readURLs, c.readRedis, c.readMail, c.readRelay, c.readHTTP,
		c.readLimits, c.readSizes,
	} {
		if err := read(s); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Config) readMode(s Settings) (err error) {
	switch environment := s.Get("ENVIRONMENT"); environment {
	case "development", "test":
	case "production":
		c.Production = true
	default:
		return exit.WrongUsage("ENVIRONMENT is neither development, test nor production; set one of them")
	}

	if c.Debug, err = strconv.ParseBool(s.Get("DEBUG")); err != nil {
		return exit.WrongUsage("DEBUG is neither true nor false; set one of them")
	}
	if c.Production && c.Debug {
		return exit.WrongUsage("DEBUG is refused in production; unset it")
	}

	switch c.LogFormat = s.Get("LOG_FORMAT"); c.LogFormat {
	case "text", "json":
		return nil
	default:
		return exit.WrongUsage("LOG_FORMAT is neither text nor json; set one of them")
	}
}

func (c *Config) readSecrets(s Settings) error {
	c.SecretKey, c.MasterKey, c.NewMasterKey = s.Get("SECRET_KEY"), s.Get("MASTER_KEY"), s.Get("NEW_MASTER_KEY")
	for _, name := range []string{"SECRET_KEY", "MASTER_KEY", "NEW_MASTER_KEY"} {
		if err := checkKey(name, s.Get(name)); err != nil {
			return err
		}
	}
	if err := c.keysDiffer(); err != nil {
		return err
	}

	c.Wrapped = Wrapped{
		File: s.Get("MASTER_KEY_WRAPPED_FILE"), Name: s.Get("MASTER_KEY_WRAPPING"), Token: s.Get("TRANSIT_TOKEN_FILE"),
		Identity: s.Get("MASTER_KEY_AGE_IDENTITY_FILE"),
	}
	if _, from := s.find("MASTER_KEY"); c.MasterKey != "" && c.Wrapped.File != "" {
		return exit.WrongUsage(
			"MASTER_KEY and MASTER_KEY_WRAPPED_FILE are both set, the first in %s; unset one of them", from)
	}
	if c.SecretKey != "" && c.SecretKey == c.NewMasterKey {
		return exit.WrongUsage(
			"SECRET_KEY and NEW_MASTER_KEY are the same; give each its own, so that losing one does not lose both")
	}

	var faults domain.Faults
	faults.Email("ADMIN_EMAIL", s.Get("ADMIN_EMAIL"))
	if s.Get("ADMIN_PASSWORD") != "" {
		faults.Password("ADMIN_PASSWORD", s.Get("ADMIN_PASSWORD"))
	}
	if refusal, ok := errors.AsType[*domain.Error](faults.Err()); ok {
		return exit.WrongUsage("%s", exit.Reason(refusal))
	}
	if s.Get("ALGORITHM") != "HS256" {
		return exit.WrongUsage("ALGORITHM can only be HS256; unset it")
	}
	return nil
}

// checkKey refuses a secret that is not random enough. One that is not set passes:
// whether it is needed depends on the command.
func checkKey(name, value string) error {
	switch n := len([]rune(value)); {
	case value == "":
		return nil
	case n < minKey:
		return exit.WrongUsage("%s has %d characters; give it at least %d random ones", name, n, minKey)
	case strings.Count(value, value[:1]) == len(value):
		return exit.WrongUsage("%s is one character repeated; give it at least %d random ones", name, minKey)
	default:
		return nil
	}
}

func (c *Config) keysDiffer() error {
	if c.SecretKey != "" && c.SecretKey == c.MasterKey {
		return exit.WrongUsage(
			"SECRET_KEY and MASTER_KEY are the same; give each its own, so that losing one does not lose both")
	}
	return nil
}

// TakeMasterKey makes an unwrapped key the master key, if it could be set as one.
func (c *Config) TakeMasterKey(key string) error {
	if err := checkKey("MASTER_KEY", key); err != nil {
		return err
	}
	c.MasterKey = key
	return c.keysDiffer()
}

// readLog reads what signs checkpoints, and under which name.
func (c *Config) readLog(s Settings) (err error) {
	if key := s.Get("LOG_SIGNING_KEY"); key != "" {
		if c.LogSeeds, err = ParseSigningKey(key); err != nil {
			return err
		}
	}

	c.LogOrigin = s.Get("LOG_ORIGIN")
	if c.LogOrigin != "" && !proof.ValidName(c.LogOrigin) {
		return exit.WrongUsage("LOG_ORIGIN cannot name a log; give a short name without spaces and plus signs, " +
			"such as " +
			"trust.salga.example/log")
	}
	c.CheckpointEvery, err = s.duration("CHECKPOINT_EVERY", 100*time.Millisecond, time.Hour)
	return err
}

// ParseSigningKey reads the seeds of the two keys that sign checkpoints, as
// FormatSigningKey writes them. It refuses one alone: a log that signed with half of its
// keys would be believed by half of its readers.
func ParseSigningKey(text string) (*proof.Seeds, error) {
	first, second, two := strings.Cut(text, ".")
	a, err := hex.DecodeString(first)
	b, err2 := hex.DecodeString(second)
	if !two || second == "" || first == "" {
		return nil, exit.WrongUsage("LOG_SIGNING_KEY is half of a key; give both seeds, with a point between")
	}

	var seeds proof.Seeds
	if errors.Join(err, err2) != nil || len(a) != len(seeds.Ed25519) || len(b) != len(seeds.MLDSA44) {
		return nil, exit.WrongUsage("LOG_SIGNING_KEY is not two times 64 hexadecimal digits with a point between; " +
			"correct it")
	}
	seeds.Ed25519, seeds.MLDSA44 = [32]byte(a), [32]byte(b)
	for _, seed := range [][32]byte{seeds.Ed25519, seeds.MLDSA44} {
		if seed == [32]byte(bytes.Repeat(seed[:1], len(seed))) {
			return nil, exit.WrongUsage("a seed of LOG_SIGNING_KEY is one byte repeated; give random ones")
		}
	}
	if seeds.Ed25519 == seeds.MLDSA44 {
		return nil, exit.WrongUsage("both seeds of LOG_SIGNING_KEY are the same; give each key its own")
	}
	return &seeds, nil
}

// FormatSigningKey writes seeds as a setting.
func FormatSigningKey(s proof.Seeds) string {
	return hex.EncodeToString(s.Ed25519[:]) + "." + hex.EncodeToString(s.MLDSA44[:])
}

func (c *Config) readURLs(s Settings) error {
	c.DatabaseURL, c.apiURL, c.projectorURL = s.Get("DATABASE_URL"), s.Get("DATABASE_URL_API"),
		s.Get("DATABASE_URL_PROJECTOR")
	c.ReadURL = s.Get("DATABASE_URL_READ")
	for _, name := range []string{
		"DATABASE_URL", "DATABASE_URL_API", "DATABASE_URL_PROJECTOR", "DATABASE_URL_READ",
	} {
		if _, err := parseDatabaseURL(name, s.Get(name)); err != nil {
			return err
		}
		if c.Production && !isPrivate(s.Get(name)) {
			return exit.WrongUsage(
				"%s has no TLS, which production accepts only on a socket or a loopback address; "+
					"add sslmode=verify-full (or at least require) to it", name)
		}
	}

	return nil
}

// readRedis reads where rate limits are counted. Whoever can answer in the place of Redis
// lifts them all.
func (c *Config) readRedis(s Settings) (err error) {
	address := s.Get("REDIS_URL")
	if address == "" {
		return nil
	}

	if c.Redis, err = sharedcount.Parse(address); err != nil {
		return exit.WrongUsage("REDIS_URL %s; correct it", err)
	}
	if c.Production && !c.Redis.Private() {
		return exit.WrongUsage("REDIS_URL has no TLS, which production accepts only on a loopback address; " +
			"begin it with rediss://")
	}
	return nil
}

func (c *Config) readMail(s Settings) (err error) {
	address, from := s.Get("SMTP_URL"), s.Get("SMTP_FROM")
	if address == "" {
		return nil
	}
	if from == "" {
		return exit.WrongUsage("SMTP_FROM is not set; with SMTP_URL, set it to the sender that letters name, such as " +
			"Trust Engine <no-reply@salga.example>")
	}

	c.Mail, err = mail.Parse(address, from)
	switch {
	case err == nil:
		return nil
	case mail.IsAboutSender(err):
		return exit.WrongUsage("SMTP_FROM is not one e-mail address, with or without a name; correct it")
	default:
		return exit.WrongUsage("SMTP_URL %s; correct it", err)
	}
}

// readRelay reads where the log is published to. What leaves names nobody, but says a lot
// about what somebody without a name does: in production it does not leave in the clear.
func (c *Config) readRelay(s Settings) error {
	c.Relay = Relay{
		URL: s.Get("RELAY_URL"), Stream: s.Get("RELAY_STREAM"), CredsFile: s.Get("RELAY_CREDS_FILE"),
		Metrics: s.Get("RELAY_METRICS_ADDR"),
	}
	if _, _, err := net.SplitHostPort(c.Relay.Metrics); err != nil && c.Relay.Metrics != "" {
		return exit.WrongUsage("RELAY_METRICS_ADDR is not HOST:PORT; give one like 127.0.0.1:8001")
	}
	if !streamPattern.MatchString(c.Relay.Stream) {
		return exit.WrongUsage(
			"RELAY_STREAM cannot name a stream; give 1 to 64 letters, digits, hyphens and underscores")
	}
	if c.Relay.URL == "" {
		return nil
	}

	for address := range strings.SplitSeq(c.Relay.URL, ",") {
		server, err := url.Parse(strings.TrimSpace(address))
		if err != nil || server.Scheme != "nats" && server.Scheme != "tls" || server.Hostname() == "" {
			return exit.WrongUsage("RELAY_URL is not a list like tls://nats.example.org:4222; correct it")
		}
		if c.Production && server.Scheme != "tls" && !isLoopback(server.Hostname()) {
			return exit.WrongUsage("RELAY_URL has no TLS, which production accepts only on a loopback address; " +
				"begin it with tls://")
		}
	}
	return nil
}

// isLoopback tells whether a host is this machine.
func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

func (c *Config) readHTTP(s Settings) error {
	c.HTTPAddr = s.Get("HTTP_ADDR")
	_, port, err := net.SplitHostPort(c.HTTPAddr)
	if err != nil {
		return exit.WrongUsage("HTTP_ADDR is not HOST:PORT; give one like 127.0.0.1:8000")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return exit.WrongUsage("the port of HTTP_ADDR is not a number from 0 to 65535; correct it")
	}

	for origin := range strings.SplitSeq(s.Get("ALLOWED_ORIGINS"), ",") {
		origin = strings.TrimSpace(origin)
		if origin == "" {
			continue
		}
		if err := checkOrigin(origin, c.Production); err != nil {
			return err
		}
		c.Origins = append(c.Origins, origin)
	}

	if c.Proxies, err = s.networks("TRUSTED_PROXIES"); err != nil {
		return err
	}
	if c.Recipients, err = s.networks("WEBHOOK_ALLOW_PRIVATE"); err != nil {
		return err
	}
	if c.Scrapers, err = s.networks("METRICS_FROM"); err != nil {
		return err
	}
	if err = c.readRequireTOTP(s); err != nil {
		return err
	}
	if c.RequestTimeout, err = s.duration("REQUEST_TIMEOUT", time.Second, 10*time.Minute); err != nil {
		return err
	}

	minutes, err := s.number("ACCESS_TOKEN_EXPIRE_MINUTES", 1, 24*60)
	if err != nil {
		return err
	}
	days, err := s.number("REFRESH_TOKEN_EXPIRE_DAYS", 1, 365)
	c.AccessTTL, c.RefreshTTL = time.Duration(minutes)*time.Minute, time.Duration(days)*24*time.Hour
	return err
}

// readRequireTOTP reads roles of staff. It refuses any other word: a misspelt role must
// not be thought to be protected.
func (c *Config) readRequireTOTP(s Settings) error {
	staff := slices.DeleteFunc(domain.Roles(), func(r domain.Role) bool { return r == domain.Citizen })
	for word := range strings.SplitSeq(s.Get("REQUIRE_TOTP"), ",") {
		role := domain.Role(strings.TrimSpace(word))
		switch {
		case role == "":
		case !slices.Contains(staff, role):
			return exit.WrongUsage(
				"an entry of REQUIRE_TOTP is not a role of staff; those are field_worker, manager, admin and " +
					"saps_liaison")
		case !slices.Contains(c.RequireTOTP, role):
			c.RequireTOTP = append(c.RequireTOTP, role)
		}
	}
	return nil
}

func (c *Config) readLimits(s Settings) error {
	switch s.Get("RATE_LIMIT") {
	case "on":
		c.RateLimit = true
	case "off":
		if c.Production {
			return exit.WrongUsage("RATE_LIMIT=off is refused in production; unset it")
		}
	default:
		return exit.WrongUsage("RATE_LIMIT is neither on nor off; set one of them")
	}

	return s.numbers(1, 1_000_000, map[string]*int{
		"RATE_LIMIT_LOGIN_ACCOUNT":     &c.Limits.LoginAccount,
		"RATE_LIMIT_LOGIN_SLOW":        &c.Limits.LoginSlow,
		"RATE_LIMIT_LOGIN_ADDRESS":     &c.Limits.LoginAddress,
		"RATE_LIMIT_REGISTER_EMAIL":    &c.Limits.RegisterEmail,
		"RATE_LIMIT_REGISTER_ADDRESS":  &c.Limits.RegisterAddress,
		"RATE_LIMIT_RESET_EMAIL":       &c.Limits.ResetEmail,
		"RATE_LIMIT_RESET_ADDRESS":     &c.Limits.ResetAddress,
		"RATE_LIMIT_REDEEM_ADDRESS":    &c.Limits.RedeemAddress,
		"RATE_LIMIT_EXPORT":            &c.Limits.Export,
		"RATE_LIMIT_ERASURE":           &c.Limits.Erasure,
		"RATE_LIMIT_ACCOUNT":           &c.Limits.Account,
		"RATE_LIMIT_SERVICE":           &c.Limits.Service,
		"RATE_LIMIT_SIGNED_IN_ADDRESS": &c.Limits.SignedInAddress,
		"RATE_LIMIT_ADDRESS":           &c.Limits.Address,
		"RATE_LIMIT_ASSETS":            &c.Limits.Assets,
	})
}

func (c *Config) readSizes(s Settings) error {
	if err := s.numbers(2, 1000, map[string]*int{"POOL_SIZE": &c.PoolSize}); err != nil {
		return err
	}
	return s.numbers(1, 100_000, map[string]*int{"PAGE_SIZE": &c.PageSize})
}

// numbers reads several numbers with the same bounds.
func (s Settings) numbers(least, most int, into map[string]*int) (err error) {
	for _, v := range variables() { // in a fixed order, so that the same fault is always the first
		if target := into[v.name]; target != nil {
			if *target, err = s.number(v.name, least, most); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s Settings) number(name string, least, most int) (int, error) {
	n, err := strconv.Atoi(s.Get(name))
	if err != nil || n < least || n > most {
		return 0, exit.WrongUsage("%s is not a number from %d to %d; correct it", name, least, most)
	}
	return n, nil
}

// duration reads a time span such as 10s.
func (s Settings) duration(name string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(s.Get(name))
	if err != nil || d < least || d > most {
		return 0, exit.WrongUsage("%s is not a time span like 10s, from %s to %s; correct it", name, least, most)
	}
	return d, nil
}

// networks reads networks separated by commas; a single address is a network of one.
func (s Settings) networks(name string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for text := range strings.SplitSeq(s.Get(name), ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}

		network, err := netip.ParsePrefix(text)
		if err != nil {
			var address netip.Addr
			if address, err = netip.ParseAddr(text); err == nil {
				network = netip.PrefixFrom(address, address.BitLen())
			}
		}
		if err != nil {
			return nil, exit.WrongUsage("an entry of %s is not a network like 10.0.0.0/8; correct it", name)
		}
		all = append(all, network)
	}
	return all, nil
}

// EnvFile returns the file in which trust up keeps the settings that it made.
func (c *Config) EnvFile() string { return filepath.Join(c.DataDir, "env") }

// ImportedFile returns the file that trust up writes after the first import.
func (c *Config) ImportedFile() string { return filepath.Join(c.DataDir, "imported") }

// PolicyFile returns the file that says which witnesses are asked, and whether LOG_POLICY
// names it, so that it must exist.
func (c *Config) PolicyFile() (path string, named bool) {
	if path = c.Settings.Get("LOG_POLICY"); path != "" {
		return path, true
	}
	return filepath.Join(c.DataDir, "policy"), false
}

// CheckpointFile returns the file that keeps the newest checkpoint outside the database.
func (c *Config) CheckpointFile() string { return filepath.Join(c.DataDir, "checkpoint") }

// Level returns the lowest level that is logged.
func (c *Config) Level() slog.Level {
	if c.Debug {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}
