package http

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// Tokens says how tokens are made and checked.
type Tokens struct {
	Secret   []byte        // at least 32 bytes
	Issuer   string        // claim iss
	Audience string        // claim aud
	Access   time.Duration // how long an access token lives; a refresh token lives as long as its session
	Now      func() time.Time
}

// What a token is for.
const (
	accessToken  = "access"
	refreshToken = "refresh"
	// programToken is an access token of a program. It is a kind of its own, so that none
	// is ever taken for a person's.
	programToken = "program"
)

// programTokenLasts is how long a program's token lives.
const programTokenLasts = 15 * time.Minute

const (
	minSecret = 32      // bytes: the length of HS256's output (RFC 7518 §3.2)
	maxToken  = 4 << 10 // bytes: several times the length of ours
)

// claims are those of all kinds of token. A refresh token has no role; its id is the
// secret that continues the session. A program's token has a scope (RFC 8693 §4.2), and
// the id of the client secret as its session.
type claims struct {
	Tenant  string      `json:"tenant_id"`
	Role    domain.Role `json:"role,omitempty"`
	Scope   string      `json:"scope,omitempty"`
	Session string      `json:"sid"`
	Type    string      `json:"type"`
	jwt.RegisteredClaims
}

// bearer is the content of a valid token. The role in a token is for clients: permissions
// depend on the current role.
type bearer struct {
	kind    string
	tenant  domain.TenantID
	user    domain.UserID // a program's: its service account
	session uuid.UUID
	id      uuid.UUID
	scopes  []domain.Scope
}

// program returns what a program's token says.
func (b bearer) program() commands.ProgramSession {
	return commands.ProgramSession{
		Tenant: b.tenant, Account: domain.ServiceAccountID(b.user), Secret: b.session, Scopes: b.scopes,
	}
}

func (t Tokens) validate() error {
	switch {
	case len(t.Secret) < minSecret:
		return errors.New("the token secret must have at least 32 characters")
	case t.Issuer == "" || t.Audience == "":
		// An empty one would not be checked.
		return errors.New("tokens need an issuer and an audience")
	case t.Access <= 0:
		return errors.New("access tokens need a lifetime")
	}
	return nil
}

// issue makes the pair of tokens for an open session.
func (t Tokens) issue(o commands.Session) (access, refresh string, err error) {
	now := t.Now()
	access, err = t.sign(accessToken, o, uuid.New(), now, now.Add(t.Access))
	if err != nil {
		return "", "", err
	}

	refresh, err = t.sign(refreshToken, o, o.Token, o.IssuedAt, o.ExpiresAt)
	return access, refresh, err
}

func (t Tokens) sign(kind string, o commands.Session, id uuid.UUID, issued, expires time.Time) (string, error) {
	c := claims{
		Tenant: o.Tenant.String(), Session: o.ID.String(), Type: kind,
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: o.User.String(), ID: id.String(), Issuer: t.Issuer, Audience: jwt.ClaimStrings{t.Audience},
			IssuedAt: jwt.NewNumericDate(issued), ExpiresAt: jwt.NewNumericDate(expires),
		},
	}

	if kind == accessToken {
		c.Role = o.Role
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(t.Secret)
}

// issueProgram makes the token of a program.
func (t Tokens) issueProgram(p commands.ProgramSession) (string, error) {
	now := t.Now()
	c := claims{
		Tenant: p.Tenant.String(), Scope: scopeText(p.Scopes), Session: p.Secret.String(), Type: programToken,
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: p.Account.String(), ID: uuid.NewString(), Issuer: t.Issuer,
			Audience: jwt.ClaimStrings{t.Audience},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(programTokenLasts)),
		},
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(t.Secret)
}

// scopeText writes scopes as RFC 6749 §3.3 does.
func scopeText(scopes []domain.Scope) string {
	return strings.Join(each(scopes, func(s domain.Scope) string { return string(s) }), " ")
}

// verify reads a token of one of some kinds. Every fault is answered alike, with
// invalid_token.
func (t Tokens) verify(text string, kinds ...string) (bearer, error) {
	if len(text) > maxToken {
		return bearer{}, invalidToken(errors.New("longer than any token we issue"))
	}

	var c claims
	// The library checks only what it is asked to.
	_, err := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(t.Issuer),
		jwt.WithAudience(t.Audience),
		jwt.WithExpirationRequired(),
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(t.Now),
	).ParseWithClaims(text, &c, func(*jwt.Token) (any, error) { return t.Secret, nil })
	if err != nil {
		return bearer{}, invalidToken(err)
	}
	if !slices.Contains(kinds, c.Type) || c.IssuedAt == nil {
		return bearer{}, invalidToken(errors.New("wrong type, or no iat"))
	}

	var ids [4]uuid.UUID
	for i, text := range []string{c.Tenant, c.Subject, c.Session, c.ID} {
		id, ok := parseID(text)
		if !ok || id == uuid.Nil {
			return bearer{}, invalidToken(errors.New("a claim is missing or not an id"))
		}
		ids[i] = id
	}

	b := bearer{
		kind: c.Type, tenant: domain.TenantID{UUID: ids[0]}, user: domain.UserID{UUID: ids[1]}, session: ids[2],
		id: ids[3],
	}
	for name := range strings.FieldsSeq(c.Scope) {
		b.scopes = append(b.scopes, domain.Scope(name))
	}
	return b, nil
}

func invalidToken(cause error) *domain.Error {
	return domain.Refuse(domain.CodeInvalidToken, "This token is not valid here, or has expired.").Because(cause)
}
