package main

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/domain"
)

// minKey is the least length of a secret, in characters: with 5 bits a character, as made here, 32 carry 160.
const minKey = 32

// config is the whole configuration, checked. Which parts a command needs it asks for with need.
type config struct {
	settings settings

	databaseURL  string
	apiURL       string // empty: derived, or not to be had
	projectorURL string
	secretKey    string
	masterKey    string
	newMasterKey string // to change to

	production bool
	debug      bool
	httpAddr   string
	origins    []string
	accessTTL  time.Duration
	refreshTTL time.Duration
	redisURL   string
	rateLimit  bool
	limits     limits
	proxies    []netip.Prefix // believed
	scrapers   []netip.Prefix // may read metrics

	dataDir   string
	logFormat string
	poolSize  int
	pageSize  int
}

// limits are the numbers of requests that one account or address may make within the time that its variable names.
type limits struct {
	loginAccount, loginAddress, registerEmail, registerAddress, export, erasure, account, address int
}

// newConfig checks every setting and gives the first fault, in one sentence that repeats no value of a secret.
func newConfig(s settings) (*config, error) {
	c := &config{settings: s, dataDir: s.dataDir}
	for _, read := range []func(settings) error{c.readMode, c.readSecrets, c.readURLs, c.readHTTP, c.readLimits, c.readSizes} {
		if err := read(s); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *config) readMode(s settings) (err error) {
	switch environment := s.get("ENVIRONMENT"); environment {
	case "development", "test":
	case "production":
		c.production = true
	default:
		return exit.WrongUsage("ENVIRONMENT is neither development, test nor production; set one of them")
	}
	if c.debug, err = strconv.ParseBool(s.get("DEBUG")); err != nil {
		return exit.WrongUsage("DEBUG is neither true nor false; set one of them")
	}
	if c.production && c.debug {
		return exit.WrongUsage("DEBUG is refused in production; unset it")
	}
	switch c.logFormat = s.get("LOG_FORMAT"); c.logFormat {
	case "text", "json":
		return nil
	default:
		return exit.WrongUsage("LOG_FORMAT is neither text nor json; set one of them")
	}
}

func (c *config) readSecrets(s settings) error {
	c.secretKey, c.masterKey, c.newMasterKey = s.get("SECRET_KEY"), s.get("MASTER_KEY"), s.get("NEW_MASTER_KEY")
	for _, name := range []string{"SECRET_KEY", "MASTER_KEY", "NEW_MASTER_KEY"} {
		value := s.get(name)
		if value == "" {
			continue // whether it is needed depends on the command
		}
		if n := len([]rune(value)); n < minKey {
			return exit.WrongUsage("%s has %d characters; give it at least %d random ones", name, n, minKey)
		}
		if strings.Count(value, value[:1]) == len(value) {
			return exit.WrongUsage("%s is one character repeated; give it at least %d random ones", name, minKey)
		}
	}
	if c.secretKey != "" && c.secretKey == c.masterKey {
		return exit.WrongUsage("SECRET_KEY and MASTER_KEY are the same; give each its own, so that losing one does not lose both")
	}
	if c.secretKey != "" && c.secretKey == c.newMasterKey {
		return exit.WrongUsage("SECRET_KEY and NEW_MASTER_KEY are the same; give each its own, so that losing one does not lose both")
	}
	var faults domain.Faults
	faults.Email("ADMIN_EMAIL", s.get("ADMIN_EMAIL"))
	if s.get("ADMIN_PASSWORD") != "" {
		faults.Password("ADMIN_PASSWORD", s.get("ADMIN_PASSWORD"))
	}
	if refusal, ok := errors.AsType[*domain.Error](faults.Err()); ok {
		return exit.WrongUsage("%s", exit.Reason(refusal))
	}
	if s.get("ALGORITHM") != "HS256" {
		return exit.WrongUsage("ALGORITHM can only be HS256; unset it")
	}
	return nil
}

func (c *config) readURLs(s settings) error {
	c.databaseURL, c.apiURL, c.projectorURL = s.get("DATABASE_URL"), s.get("DATABASE_URL_API"), s.get("DATABASE_URL_PROJECTOR")
	for _, name := range []string{"DATABASE_URL", "DATABASE_URL_API", "DATABASE_URL_PROJECTOR"} {
		if _, err := parseDatabaseURL(name, s.get(name)); err != nil {
			return err
		}
	}
	c.redisURL = s.get("REDIS_URL")
	if c.redisURL != "" && !strings.HasPrefix(c.redisURL, "redis://") && !strings.HasPrefix(c.redisURL, "rediss://") {
		return exit.WrongUsage("REDIS_URL does not start with redis:// or rediss://; correct it")
	}
	return nil
}

func (c *config) readHTTP(s settings) error {
	c.httpAddr = s.get("HTTP_ADDR")
	_, port, err := net.SplitHostPort(c.httpAddr)
	if err != nil {
		return exit.WrongUsage("HTTP_ADDR is not HOST:PORT; give one like 127.0.0.1:8000")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return exit.WrongUsage("the port of HTTP_ADDR is not a number from 0 to 65535; correct it")
	}
	for origin := range strings.SplitSeq(s.get("ALLOWED_ORIGINS"), ",") {
		origin = strings.TrimSpace(origin)
		if origin == "" {
			continue
		}
		if err := checkOrigin(origin, c.production); err != nil {
			return err
		}
		c.origins = append(c.origins, origin)
	}
	if c.proxies, err = s.networks("TRUSTED_PROXIES"); err != nil {
		return err
	}
	if c.scrapers, err = s.networks("METRICS_FROM"); err != nil {
		return err
	}
	minutes, err := s.number("ACCESS_TOKEN_EXPIRE_MINUTES", 1, 24*60)
	if err != nil {
		return err
	}
	days, err := s.number("REFRESH_TOKEN_EXPIRE_DAYS", 1, 365)
	c.accessTTL, c.refreshTTL = time.Duration(minutes)*time.Minute, time.Duration(days)*24*time.Hour
	return err
}

func (c *config) readLimits(s settings) error {
	switch s.get("RATE_LIMIT") {
	case "on":
		c.rateLimit = true
	case "off":
		if c.production {
			return exit.WrongUsage("RATE_LIMIT=off is refused in production; unset it")
		}
	default:
		return exit.WrongUsage("RATE_LIMIT is neither on nor off; set one of them")
	}
	return s.numbers(1, 1_000_000, map[string]*int{
		"RATE_LIMIT_LOGIN_ACCOUNT":    &c.limits.loginAccount,
		"RATE_LIMIT_LOGIN_ADDRESS":    &c.limits.loginAddress,
		"RATE_LIMIT_REGISTER_EMAIL":   &c.limits.registerEmail,
		"RATE_LIMIT_REGISTER_ADDRESS": &c.limits.registerAddress,
		"RATE_LIMIT_EXPORT":           &c.limits.export,
		"RATE_LIMIT_ERASURE":          &c.limits.erasure,
		"RATE_LIMIT_ACCOUNT":          &c.limits.account,
		"RATE_LIMIT_ADDRESS":          &c.limits.address,
	})
}

func (c *config) readSizes(s settings) error {
	if err := s.numbers(2, 1000, map[string]*int{"POOL_SIZE": &c.poolSize}); err != nil {
		return err
	}
	return s.numbers(1, 100_000, map[string]*int{"PAGE_SIZE": &c.pageSize})
}

// numbers reads several numbers with the same bounds.
func (s settings) numbers(least, most int, into map[string]*int) (err error) {
	for _, v := range variables() { // in a fixed order, so that of two faults always the same is told
		if target := into[v.name]; target != nil {
			if *target, err = s.number(v.name, least, most); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s settings) number(name string, least, most int) (int, error) {
	n, err := strconv.Atoi(s.get(name))
	if err != nil || n < least || n > most {
		return 0, exit.WrongUsage("%s is not a number from %d to %d; correct it", name, least, most)
	}
	return n, nil
}

// networks reads networks, separated by commas; an address alone is a network of one.
func (s settings) networks(name string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for text := range strings.SplitSeq(s.get(name), ",") {
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
			return nil, exit.WrongUsage("an entry of %s is no network like 10.0.0.0/8; correct it", name)
		}
		all = append(all, network)
	}
	return all, nil
}

// envFile is where trust up keeps what it made.
func (c *config) envFile() string { return filepath.Join(c.dataDir, "env") }

// importedFile is what trust up makes after the first import.
func (c *config) importedFile() string { return filepath.Join(c.dataDir, "imported") }

// level is the least level that is logged.
func (c *config) level() slog.Level {
	if c.debug {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}
