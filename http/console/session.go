package console

import (
	"net/http"
	"strconv"
	"strings"
)

// cookieName has the prefix that makes browsers insist on Secure, on the path "/" and on
// no domain (RFC 6265bis §4.1.3.2), so that no neighbouring site can set it.
const cookieName = "__Host-trust"

// session is what a browser carries from page to page. Its tokens are those of the API,
// which alone decides what they are worth.
type session struct {
	lang            Lang
	position        int64 // of the visitor's newest change: later pages must show it
	access, refresh string
}

// cookieSeparator occurs in no token.
const cookieSeparator = "~"

// sessionOf reads the cookie of a request; whatever is not a session of ours is none.
func sessionOf(r *http.Request) session {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return session{}
	}

	parts := strings.Split(cookie.Value, cookieSeparator)
	if len(parts) != 4 {
		return session{}
	}
	position, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || position < 0 {
		return session{}
	}
	return session{lang: known(parts[0]), position: position, access: parts[2], refresh: parts[3]}
}

// cookie returns the cookie that carries the session until the browser is closed; that of
// a session without tokens takes a former one away.
func (s session) cookie() *http.Cookie {
	cookie := &http.Cookie{
		Name: cookieName, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1,
	}
	if s.access != "" {
		cookie.MaxAge = 0
		cookie.Value = strings.Join(
			[]string{string(s.lang), strconv.FormatInt(s.position, 10), s.access, s.refresh}, cookieSeparator)
	}
	return cookie
}
