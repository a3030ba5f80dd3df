package settings

import "strings"

// variable is one setting: its environment variable, default and meaning. The flag has
// the same name in lower case with hyphens. A test compares this list with .env.example.
type variable struct {
	name     string
	fallback string // as in the environment; may be empty
	meaning  string
	secret   bool // has no flag: every user of a machine can read its processes' arguments
}

// variables lists every setting, each of which is in .env.example.
func variables() []variable {
	return []variable{
		{
			name:    "DATABASE_URL",
			meaning: "the owner's address: migrate, rebuild, backup; unset: trust up runs its own Postgres",
		},
		{
			name:    "DATABASE_URL_API",
			meaning: "the API's address, a login in trust_query; unset: DATABASE_URL switched to that role",
		},
		{
			name:    "DATABASE_URL_PROJECTOR",
			meaning: "the projectors' address, a login in trust_projector; unset: DATABASE_URL switched to that role",
		},
		{
			name: "DATABASE_URL_READ",
			meaning: "a standby of the database, to read lists, audit, history, replay and exports from, a login " +
				"as in DATABASE_URL_API; unset: they are read there",
		},
		{
			name: "SECRET_KEY", secret: true,
			meaning: "signs access tokens, at least 32 characters; trust up makes and keeps one",
		},
		{
			name: "MASTER_KEY", secret: true,
			meaning: "wraps the tenants' keys, at least 32 characters; trust up makes and keeps one",
		},
		{
			name: "SECRET_KEY_FILE", meaning: "file that holds SECRET_KEY, in its place",
		},
		{
			name: "MASTER_KEY_FILE", meaning: "file that holds MASTER_KEY, in its place",
		},
		{
			name:    "MASTER_KEY_WRAPPED_FILE",
			meaning: "file that holds the master key wrapped, as trust keys wrap writes it, in place of MASTER_KEY",
		},
		{
			name:    "MASTER_KEY_WRAPPING",
			meaning: "which wrapping in that file opens the key; unset: the first",
		},
		{
			name: "TRANSIT_TOKEN_FILE", meaning: "file that holds a token for OpenBao or Vault, for a wrapping by them",
		},
		{
			name: "MASTER_KEY_AGE_IDENTITY_FILE", meaning: "file that holds an identity of age, for a wrapping by age",
		},
		{
			name: "LOG_SIGNING_KEY", secret: true,
			meaning: "signs checkpoints of the log and proofs of decisions: two times 64 hexadecimal digits, with a " +
				"point between; trust up makes and keeps one",
		},
		{name: "LOG_SIGNING_KEY_FILE", meaning: "file that holds LOG_SIGNING_KEY, in its place"},
		{name: "NEW_MASTER_KEY", secret: true, meaning: "the master key that trust keys rotate changes to"},
		{name: "NEW_MASTER_KEY_FILE", meaning: "file that holds NEW_MASTER_KEY, in its place"},

		{
			name: "ADMIN_EMAIL", fallback: "admin@salga.example",
			meaning: "e-mail address of the first platform admin that trust up makes",
		},
		{
			name: "ADMIN_PASSWORD", secret: true,
			meaning: "that admin's first password; unset: trust up makes and keeps one",
		},

		{
			name: "LOG_POLICY",
			meaning: "file that names the witnesses to cosign checkpoints (C2SP tlog-policy); " +
				"unset: the file policy in DATA_DIR, if there is one",
		},
		{
			name: "LOG_ORIGIN",
			meaning: "name under which the log is signed, such as trust.salga.example/log; " +
				"unset: salga-trust/ and the log's id",
		},
		{
			name: "CHECKPOINT_EVERY", fallback: "2s",
			meaning: "least time between two checkpoints of a log that grows; up to twice as long while it never rests",
		},
		{name: "ENVIRONMENT", fallback: "development", meaning: "development, test or production"},
		{name: "DEBUG", fallback: "false", meaning: "true logs more; refused in production"},
		{name: "HTTP_ADDR", fallback: "127.0.0.1:8000", meaning: "where the API listens"},
		{
			name: "REQUEST_TIMEOUT", fallback: "10s",
			meaning: "how long an answer, or a page of an export, may take; then 503",
		},
		{
			name: "ALLOWED_ORIGINS", fallback: "http://localhost:3000",
			meaning: "origins of web pages that may call the API, separated by commas; never *",
		},
		{name: "ALGORITHM", fallback: "HS256", meaning: "algorithm of access tokens; HS256 is the only one"},
		{name: "ACCESS_TOKEN_EXPIRE_MINUTES", fallback: "30", meaning: "life of an access token"},
		{name: "REFRESH_TOKEN_EXPIRE_DAYS", fallback: "7", meaning: "life of a refresh token"},
		{
			name: "REQUIRE_TOTP",
			meaning: "roles of staff that must set up a second factor before anything else, separated by commas, " +
				"such as admin,manager",
		},

		{
			name: "SMTP_URL", secret: true,
			meaning: "mail server for letters with codes, smtp://user:password@host:port or smtps://…; unset: none " +
				"is sent, and staff hand them over",
		},
		{
			name: "SMTP_FROM", meaning: "sender that these letters name, such as " +
				"Trust Engine <no-reply@salga.example>; needed with SMTP_URL",
		},

		{
			name: "RELAY_URL", secret: true,
			meaning: "servers of NATS to publish the log to, tls://user:password@host:port or nats://…, separated by " +
				"commas; unset: nothing is published",
		},
		{name: "RELAY_STREAM", fallback: "TRUST", meaning: "stream of JetStream that trust relay publishes to"},
		{
			name:    "RELAY_CREDS_FILE",
			meaning: "file with the credentials of the relay's user of NATS; unset: those in RELAY_URL, if any",
		},
		{
			name:    "RELAY_METRICS_ADDR",
			meaning: "where trust relay serves its own /metrics, HOST:PORT, to METRICS_FROM; unset: nowhere",
		},

		{
			name: "REDIS_URL", secret: true,
			meaning: "counts rate limits for all API processes together, rediss://user:password@host:port/database " +
				"or redis://…; unset: each counts its own",
		},
		{name: "RATE_LIMIT", fallback: "on", meaning: "on, or off for load tests; off is refused in production"},
		{
			name: "RATE_LIMIT_LOGIN_ACCOUNT", fallback: "5",
			meaning: "password checks a minute for each account from one address",
		},
		{
			name: "RATE_LIMIT_LOGIN_SLOW", fallback: "30",
			meaning: "password checks a minute for each account, beyond which each is slowed",
		},
		{name: "RATE_LIMIT_LOGIN_ADDRESS", fallback: "30", meaning: "password checks a minute for each address"},
		{name: "RATE_LIMIT_REGISTER_EMAIL", fallback: "3", meaning: "registrations an hour for each e-mail address"},
		{name: "RATE_LIMIT_REGISTER_ADDRESS", fallback: "30", meaning: "registrations an hour for each address"},
		{
			name: "RATE_LIMIT_RESET_EMAIL", fallback: "3",
			meaning: "letters with a code an hour for each e-mail address",
		},
		{
			name: "RATE_LIMIT_RESET_ADDRESS", fallback: "30",
			meaning: "requests for a code for a new password an hour for each address",
		},
		{
			name: "RATE_LIMIT_REDEEM_ADDRESS", fallback: "30",
			meaning: "codes tried a minute for each address",
		},
		{name: "RATE_LIMIT_EXPORT", fallback: "5", meaning: "exports of their own data an hour for each account"},
		{
			name: "RATE_LIMIT_ERASURE", fallback: "1",
			meaning: "erasures a day for each account by its owner, once the password was right",
		},
		{name: "RATE_LIMIT_ACCOUNT", fallback: "60", meaning: "all other requests a minute for each account"},
		{name: "RATE_LIMIT_SERVICE", fallback: "6000", meaning: "requests a minute for each program"},
		{
			name: "RATE_LIMIT_SIGNED_IN_ADDRESS", fallback: "3000",
			meaning: "requests that need an account, a minute for each address",
		},
		{
			name: "RATE_LIMIT_ADDRESS", fallback: "600",
			meaning: "requests that need no account, a minute for each address",
		},
		{
			name: "RATE_LIMIT_ASSETS", fallback: "300",
			meaning: "requests for the documentation, a minute for each address",
		},

		{
			name:    "TRUSTED_PROXIES",
			meaning: "networks of proxies whose X-Forwarded-For is believed, separated by commas",
		},
		{
			name: "WEBHOOK_ALLOW_PRIVATE",
			meaning: "networks, besides the public internet, that webhooks may send to, also over http, separated by " +
				"commas, such as 10.20.0.0/16",
		},
		{
			name: "METRICS_FROM", fallback: "127.0.0.0/8,::1/128",
			meaning: "networks that may read /metrics, separated by commas",
		},

		{
			name: "DATA_DIR", fallback: ".trust",
			meaning: "folder in which trust up keeps env, run/*.pid and its Postgres",
		},
		{
			name:    "POSTGRES_ARCHIVE",
			meaning: "file or URL of a packed Postgres, used where none is installed; unset: npm fetches it",
		},
		{name: "LOG_FORMAT", fallback: "text", meaning: "text or json; logs go to standard error"},
		{name: "POOL_SIZE", fallback: "16", meaning: "database connections of the API, beside the two that append"},
		{name: "PAGE_SIZE", fallback: "5000", meaning: "most events that a projector folds at once"},
	}
}

// Flags gives every command a flag for each setting that is no secret; Meanings has their
// help texts. Only the flag names count; the field names are documentation.
type Flags struct {
	DatabaseURL          string `name:"database-url" group:"settings" placeholder:"URL"`
	DatabaseURLAPI       string `name:"database-url-api" group:"settings" placeholder:"URL"`
	DatabaseURLProjector string `name:"database-url-projector" group:"settings" placeholder:"URL"`
	SecretKeyFile        string `name:"secret-key-file" group:"settings" placeholder:"FILE"`
	MasterKeyFile        string `name:"master-key-file" group:"settings" placeholder:"FILE"`
	MasterKeyWrapped     string `name:"master-key-wrapped-file" group:"settings" placeholder:"FILE"`
	MasterKeyWrapping    string `name:"master-key-wrapping" group:"settings" placeholder:"NAME"`
	TransitTokenFile     string `name:"transit-token-file" group:"settings" placeholder:"FILE"`
	MasterKeyAgeIdentity string `name:"master-key-age-identity-file" group:"settings" placeholder:"FILE"`
	LogSigningKeyFile    string `name:"log-signing-key-file" group:"settings" placeholder:"FILE"`
	NewMasterKeyFile     string `name:"new-master-key-file" group:"settings" placeholder:"FILE"`
	DatabaseURLRead      string `name:"database-url-read" group:"settings" placeholder:"URL"`
	AdminEmail           string `name:"admin-email" group:"settings" placeholder:"ADDRESS"`
	LogPolicy            string `name:"log-policy" group:"settings" placeholder:"FILE"`
	LogOrigin            string `name:"log-origin" group:"settings" placeholder:"NAME"`
	CheckpointEvery      string `name:"checkpoint-every" group:"settings" placeholder:"TIME"`
	Environment          string `name:"environment" group:"settings" placeholder:"NAME"`
	Debug                bool   `name:"debug" group:"settings"`
	HTTPAddr             string `name:"http-addr" group:"settings" placeholder:"HOST:PORT"`
	RequestTimeout       string `name:"request-timeout" group:"settings" placeholder:"TIME"`
	AllowedOrigins       string `name:"allowed-origins" group:"settings" placeholder:"LIST"`
	Algorithm            string `name:"algorithm" group:"settings" placeholder:"NAME"`
	AccessTokenMinutes   string `name:"access-token-expire-minutes" group:"settings" placeholder:"N"`
	RefreshTokenDays     string `name:"refresh-token-expire-days" group:"settings" placeholder:"N"`
	RequireTOTP          string `name:"require-totp" group:"settings" placeholder:"LIST"`
	SMTPFrom             string `name:"smtp-from" group:"settings" placeholder:"ADDRESS"`
	RelayStream          string `name:"relay-stream" group:"settings" placeholder:"NAME"`
	RelayCredsFile       string `name:"relay-creds-file" group:"settings" placeholder:"FILE"`
	RelayMetricsAddr     string `name:"relay-metrics-addr" group:"settings" placeholder:"HOST:PORT"`
	RateLimit            string `name:"rate-limit" group:"settings" placeholder:"on|off"`
	LimitLoginAccount    string `name:"rate-limit-login-account" group:"settings" placeholder:"N"`
	LimitLoginSlow       string `name:"rate-limit-login-slow" group:"settings" placeholder:"N"`
	LimitLoginAddress    string `name:"rate-limit-login-address" group:"settings" placeholder:"N"`
	LimitRegisterEmail   string `name:"rate-limit-register-email" group:"settings" placeholder:"N"`
	LimitRegisterAddress string `name:"rate-limit-register-address" group:"settings" placeholder:"N"`
	LimitResetEmail      string `name:"rate-limit-reset-email" group:"settings" placeholder:"N"`
	LimitResetAddress    string `name:"rate-limit-reset-address" group:"settings" placeholder:"N"`
	LimitRedeemAddress   string `name:"rate-limit-redeem-address" group:"settings" placeholder:"N"`
	LimitExport          string `name:"rate-limit-export" group:"settings" placeholder:"N"`
	LimitErasure         string `name:"rate-limit-erasure" group:"settings" placeholder:"N"`
	LimitAccount         string `name:"rate-limit-account" group:"settings" placeholder:"N"`
	LimitService         string `name:"rate-limit-service" group:"settings" placeholder:"N"`
	LimitSignedInAddress string `name:"rate-limit-signed-in-address" group:"settings" placeholder:"N"`
	LimitAddress         string `name:"rate-limit-address" group:"settings" placeholder:"N"`
	LimitAssets          string `name:"rate-limit-assets" group:"settings" placeholder:"N"`
	TrustedProxies       string `name:"trusted-proxies" group:"settings" placeholder:"LIST"`
	WebhookAllowPrivate  string `name:"webhook-allow-private" group:"settings" placeholder:"LIST"`
	MetricsFrom          string `name:"metrics-from" group:"settings" placeholder:"LIST"`
	DataDir              string `name:"data-dir" group:"settings" placeholder:"FOLDER"`
	PostgresArchive      string `name:"postgres-archive" group:"settings" placeholder:"FILE|URL"`
	LogFormat            string `name:"log-format" group:"settings" placeholder:"text|json"`
	PoolSize             string `name:"pool-size" group:"settings" placeholder:"N"`
	PageSize             string `name:"page-size" group:"settings" placeholder:"N"`
}

// VariableOf returns the environment variable that belongs to a flag.
func VariableOf(flag string) string { return strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }

// Meanings returns the flags' help texts by variable.
func Meanings() map[string]string {
	texts := map[string]string{}
	for _, v := range variables() {
		texts[v.name] = v.meaning
		if v.fallback != "" {
			texts[v.name] += " (default " + v.fallback + ")"
		}
	}
	return texts
}
