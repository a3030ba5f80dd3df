package http_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

func tokens() apphttp.Tokens {
	return apphttp.Tokens{
		Secret: []byte(secret), Issuer: "trust", Audience: "trust", Access: 30 * time.Minute,
		Now: func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) },
	}
}

// good returns the claims of an access token that is accepted.
func good() jwt.MapClaims {
	now := tokens().Now()
	return jwt.MapClaims{
		"sub": uuid.NewString(), "tenant_id": uuid.NewString(), "sid": uuid.NewString(), "jti": uuid.NewString(),
		"role": "citizen", "type": "access",
		"iss": "trust", "aud": "trust", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)

	valid := forge(t, jwt.SigningMethodHS256, []byte(secret), good())
	if err := tokens().Verify("access", valid); err != nil {
		t.Fatalf("a good token is refused: %v", err)
	}

	header, rest, _ := strings.Cut(valid, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	encode := base64.RawURLEncoding.EncodeToString
	bad := map[string]string{
		"empty":                 "",
		"one part":              header,
		"without signature":     header + "." + payload + ".",
		"four parts":            valid + "." + signature,
		"signature of another":  header + "." + payload + "." + strings.Repeat("A", len(signature)),
		"payload of another":    header + "." + encode([]byte(`{"sub":"x"}`)) + "." + signature,
		"alg none":              forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good()),
		"alg None":              encode([]byte(`{"alg":"None","typ":"JWT"}`)) + "." + payload + ".",
		"HS384 with the secret": forge(t, jwt.SigningMethodHS384, []byte(secret), good()),
		"HS512 with the secret": forge(t, jwt.SigningMethodHS512, []byte(secret), good()),
		"RS256":                 forge(t, jwt.SigningMethodRS256, rsaKey, good()),
		"another secret":        forge(t, jwt.SigningMethodHS256, []byte("another secret, just as long, yes"), good()),
		"no secret":             forge(t, jwt.SigningMethodHS256, []byte{}, good()),
		"padding":               header + "." + payload + "=." + signature,
		"an array of claims":    header + "." + encode([]byte(`[]`)) + "." + signature,
		"a header that names a key file": encode([]byte(`{"alg":"HS256","kid":"../../dev/null"}`)) +
			"." + payload + "." + signature,
	}

	now := tokens().Now()
	for name, change := range map[string]jwt.MapClaims{
		"expired":                  {"exp": now.Add(-time.Second).Unix()},
		"expires now":              {"exp": now.Unix()},
		"never expires":            {"exp": nil},
		"exp is a text":            {"exp": "tomorrow"},
		"not yet valid":            {"nbf": now.Add(time.Minute).Unix()},
		"another audience":         {"aud": "another"},
		"other audiences":          {"aud": []string{"a", "b"}},
		"no audience":              {"aud": nil},
		"another issuer":           {"iss": "another"},
		"no issuer":                {"iss": nil},
		"of type refresh":          {"type": "refresh"},
		"of no type":               {"type": nil},
		"of type Access":           {"type": "Access"},
		"no subject":               {"sub": nil},
		"subject is no id":         {"sub": "thandi"},
		"subject is the zero id":   {"sub": uuid.Nil.String()},
		"subject is a number":      {"sub": 7},
		"no tenant":                {"tenant_id": nil},
		"tenant in another format": {"tenant_id": strings.ReplaceAll(uuid.NewString(), "-", "")},
		"no session":               {"sid": nil},
		"no id":                    {"jti": nil},
		"no iat":                   {"iat": nil},
	} {
		claims := good()
		maps.Copy(claims, change)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
		bad[name] = forge(t, jwt.SigningMethodHS256, []byte(secret), claims)
	}

	for name, token := range bad {
		err := tokens().Verify("access", token)
		if !is(err, domain.CodeInvalidToken) {
			t.Errorf("%s: accepted, or refused otherwise: %v", name, err)
		}
	}

	if err := tokens().Verify("refresh", valid); !is(err, domain.CodeInvalidToken) {
		t.Errorf("an access token as refresh token: %v", err)
	}
	refresh := good()
	refresh["type"] = "refresh"
	if err := tokens().Verify("refresh", forge(t, jwt.SigningMethodHS256, []byte(secret), refresh)); err != nil {
		t.Errorf("a good refresh token is refused: %v", err)
	}
}

func TestWhatTokensSay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.citizen("thandi@example.org")

	access, refresh := claimsOf(t, p.access), claimsOf(t, p.rotating)
	for name, want := range map[string]any{
		"sub": p.id, "tenant_id": p.tenant, "role": "citizen", "type": "access", "iss": "trust",
		"iat": float64(w.clock().Unix()), "exp": float64(w.clock().Add(30 * time.Minute).Unix()),
	} {
		if access[name] != want {
			t.Errorf("access token: %s is %v, want %v", name, access[name], want)
		}
	}

	for _, name := range []string{"aud", "jti", "sid"} {
		if access[name] == nil || refresh[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	if refresh["type"] != "refresh" || refresh["exp"] != float64(w.clock().Add(7*24*time.Hour).Unix()) ||
		refresh["sid"] != access["sid"] || refresh["role"] != nil {
		t.Errorf("refresh token: %v", refresh)
	}

	for _, name := range []string{"email", "name", "full_name", "phone"} {
		if access[name] != nil || refresh[name] != nil {
			t.Errorf("%s in a token", name)
		}
	}
}

// Somebody with the signing key and a session of their own still cannot act as another.
func TestASigningKeyAloneMakesNobodyAnotherUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	thief, victim := w.citizen("thief@example.org"), w.staff(domain.Admin, "KZN225")
	as := func(token string) string {
		claims := claimsOf(t, token)
		claims["sub"] = victim.id
		return forge(t, jwt.SigningMethodHS256, []byte(secret), claims)
	}

	forged := *thief
	forged.access = as(thief.access)
	forged.send("GET", "/api/v1/users/me", "").wantProblem(401, domain.CodeSessionEnded)
	stolen := `{"refresh_token":"` + as(thief.rotating) + `"}`
	w.send("POST", "/api/v1/auth/refresh", stolen).wantProblem(401, domain.CodeSessionEnded)
	w.send("POST", "/api/v1/auth/logout", stolen)

	thief.send("GET", "/api/v1/users/me", "").want(200)
	victim.send("GET", "/api/v1/users/me", "").want(200)
}

func FuzzTokens(f *testing.F) {
	expires := tokens().Now().Add(time.Minute)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": uuid.NewString(), "type": "access", "iss": "trust", "aud": "trust", "exp": expires.Unix(),
	}).SignedString([]byte(secret))
	must(f, err)

	f.Add(token)
	f.Add("")
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")

	f.Fuzz(func(t *testing.T, text string) {
		if err := tokens().Verify("access", text); !is(err, domain.CodeInvalidToken) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
