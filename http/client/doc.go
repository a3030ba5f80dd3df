// Package client is the API for programs in Go: a method for each operation, made from
// the OpenAPI document.
//
//	nobody := client.New("http://127.0.0.1:8000")
//	tokens, err := nobody.Login(ctx, client.LoginBody{Email: email, Password: password}, nil)
//	...
//	nomsa := nobody.As(tokens.Body.AccessToken)
//	check, err := nomsa.CheckConsent(ctx, &client.CheckConsentParams{Purpose: "sms_alert"})
//
// Owns: client.gen.go and openapi.json, the document it was made from. Both are made by
// `make client`; a test fails when the API serves another document, and `make verify`
// when the code is not what the document gives.
//
// Guarantees: a method has the types of the document: what may be null or left out is a
// pointer, an id a uuid.UUID, an instant a time.Time. A field that this client does not
// know is passed over, so that it goes on when the API gets more. Nothing is sent twice:
// who repeats a command gives it an IdempotencyKey. Params may be nil. A Client may be
// used by many at once.
//
// Fails how: with *Error for every answer that is not a success; its Code says which, and
// CodeOf finds it in any error. Everything else is of the network or of the caller's
// context. An answer whose Body is an io.ReadCloser is read as it comes; close it.
//
// Not here: what the fields mean (openapi.json, /docs), retries, keeping tokens fresh.
package client
