// Package transittest is the transit engine of OpenBao over HTTP, as far as a wrapping
// asks it.
//
// Owns: keys in memory, which encrypt with AES-256-GCM.
//
// Guarantees: paths, fields, status codes and forms of answers are those of OpenBao 2
// (transit API, encrypt and decrypt): vault:v1:…, the token in X-Vault-Token, the
// namespace in X-Vault-Namespace, {"errors": […]} with 400, 403, 404 and 503.
//
// Fails how: with those answers.
//
// Not here: everything else of OpenBao.
package transittest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Server is an OpenBao.
type Server struct {
	// URL is its address, without TLS, on this machine.
	URL string

	server *httptest.Server

	mu        sync.Mutex
	token     string
	namespace string
	sealed    bool
	asked     int
	keys      map[string][]cipher.AEAD // by mount and name: the versions
}

// New starts a server, which takes one token and has one key.
func New(t testing.TB, token, mount, key string) *Server {
	t.Helper()
	s := &Server{token: token, keys: map[string][]cipher.AEAD{}}
	s.Rotate(mount, key)

	mux := http.NewServeMux()
	for _, method := range []string{"PUT", "POST"} {
		mux.HandleFunc(method+" /v1/{mount}/encrypt/{key}", s.answer("plaintext", s.encrypt))
		mux.HandleFunc(method+" /v1/{mount}/decrypt/{key}", s.answer("ciphertext", s.decrypt))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, fmt.Sprintf("no handler for route %q. route entry not found.", r.URL.Path))
	})
	s.server = httptest.NewServer(mux)
	s.URL = s.server.URL
	t.Cleanup(s.Close)
	return s
}

// Close ends the server: nobody answers at its address any more.
func (s *Server) Close() { s.server.Close() }

// Rotate makes a key, or its next version.
func (s *Server) Rotate(mount, key string) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails: crypto/rand
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[mount+"/"+key] = append(s.keys[mount+"/"+key], aead)
}

// Destroy removes a key.
func (s *Server) Destroy(mount, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, mount+"/"+key)
}

// Seal seals the server.
func (s *Server) Seal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = true
}

// Namespace makes the keys those of a namespace.
func (s *Server) Namespace(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.namespace = name
}

// Asked returns how many questions came.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *Server) answer(
	field string, work func(versions []cipher.AEAD, text string) (string, string, error),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++

		var body map[string]string
		versions := s.keys[r.PathValue("mount")+"/"+r.PathValue("key")]
		switch {
		case s.sealed:
			fail(w, http.StatusServiceUnavailable, "Vault is sealed")
		case r.Header.Get("X-Vault-Token") != s.token || r.Header.Get("X-Vault-Namespace") != s.namespace:
			fail(w, http.StatusForbidden, "permission denied")
		case !s.mounted(r.PathValue("mount")):
			fail(w, http.StatusNotFound, fmt.Sprintf("no handler for route %q. route entry not found.", r.URL.Path))
		case json.NewDecoder(r.Body).Decode(&body) != nil || body[field] == "":
			fail(w, http.StatusBadRequest, "missing "+field)
		case versions == nil:
			fail(w, http.StatusBadRequest, "encryption key not found")
		default:
			name, text, err := work(versions, body[field])
			if err != nil {
				fail(w, http.StatusBadRequest, err.Error())
				return
			}
			reply(w, http.StatusOK, map[string]any{
				"request_id": rand.Text(), "lease_id": "", "renewable": false, "lease_duration": 0,
				"data": map[string]any{name: text}, "wrap_info": nil, "warnings": nil, "auth": nil,
			})
		}
	}
}

func (s *Server) mounted(mount string) bool {
	for path := range s.keys {
		if strings.HasPrefix(path, mount+"/") {
			return true
		}
	}
	return mount == "transit"
}

func (s *Server) encrypt(versions []cipher.AEAD, text string) (string, string, error) {
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", "", errors.New("failed to base64-decode plaintext")
	}

	aead := versions[len(versions)-1]
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails: crypto/rand
	sealed := base64.StdEncoding.EncodeToString(aead.Seal(nonce, nonce, plain, nil))
	return "ciphertext", fmt.Sprintf("vault:v%d:%s", len(versions), sealed), nil
}

func (s *Server) decrypt(versions []cipher.AEAD, text string) (string, string, error) {
	var version int
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 || parts[0] != "vault" {
		return "", "", errors.New("invalid ciphertext: no prefix")
	}
	if _, err := fmt.Sscanf(parts[1], "v%d", &version); err != nil || version < 1 || version > len(versions) {
		return "", "", errors.New("invalid ciphertext: version is too new")
	}

	aead := versions[version-1]
	sealed, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(sealed) < aead.NonceSize() {
		return "", "", errors.New("invalid ciphertext: could not decode base64")
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], nil)
	if err != nil {
		return "", "", errors.New("cipher: message authentication failed")
	}
	return "plaintext", base64.StdEncoding.EncodeToString(plain), nil
}

func fail(w http.ResponseWriter, status int, why string) {
	reply(w, status, map[string]any{"errors": []string{why}})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that left gets nothing
}
