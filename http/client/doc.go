// Package client is the API for programs in Go: a method for each operation, generated
// from the OpenAPI document.
//
//	nobody := client.New("http://127.0.0.1:8000")
//	tokens, err := nobody.Login(ctx, client.LoginBody{Email: email, Password: password}, nil)
//	...
//	nomsa := nobody.As(tokens.Body.AccessToken)
//	check, err := nomsa.CheckConsent(ctx, &client.CheckConsentParams{Purpose: "sms_alert"})
//
// Owns: client.gen.go, and openapi.json, the document it is generated from. `make client`
// writes both; a test fails if the API serves another document, and `make verify` if the
// code does not match the document.
//
// Guarantees: methods have the types of the document: a value that may be null or left
// out is a pointer, an id a uuid.UUID, an instant a time.Time. Unknown fields are
// ignored, so that this client still works when the API gains more. Nothing is sent
// twice: to repeat a command safely, give it an IdempotencyKey. Params may be nil. A
// Client may be used concurrently.
//
// Fails how: with *Error for every answer that is not a success; its Code says which, and
// CodeOf finds it in any error. Any other error comes from the network or from the
// caller's context. An answer whose Body is an io.ReadCloser is streamed; close it.
//
// Not here: what the fields mean (openapi.json, /docs), retries, keeping tokens fresh.
package client
