// Package mail sends letters with one-time codes by SMTP.
//
// Owns: the connection to a mail server, the form of a message, and the letters that wait
// to be sent.
//
// Guarantees: Send never waits for a mail server, so the time of an answer does not tell
// whether anything is sent. Except to this machine, nothing is sent without TLS, and to
// nobody but the server that the certificate names. No name or address can add a header
// or a recipient. A log line holds neither an address nor a code nor a password.
//
// Fails how: a letter that the server does not take now is tried again a few times, and
// then dropped and logged; a crash loses the letters that wait. Whoever gets none asks
// again. Only Send fails, with CodeOverloaded, when too many wait.
//
// Not here: what a letter says (domain.Letter), and who gets one (package commands).
package mail
