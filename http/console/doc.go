// Package console is the pages for people: the officer's console and the resident's own
// page.
//
// Owns: what pages show and ask (templates), their words in three languages (texts), the
// look (assets), and the session cookie.
//
// Guarantees: the console has no power of its own. It is a client of the API in the same
// process and asks with the visitor's own token, so permission, tenant, recorded looks,
// limits and refusals are those of the API. Every page is whole without JavaScript, under
// a policy to which the page that checks proofs is the one exception. A form that arrives
// after its session has ended is kept. No personal value is in a title, an address
// (search terms excepted) or a log.
//
// Fails how: with a page, in the visitor's language, under the status of the API's
// refusal. A form that was refused comes back filled in, with what is wrong.
//
// Not here: rules and data (the API), which pages there are and who may see them (package
// http, pages.go).
//
// To add a page: a line in http/pages.go, a method of Console, a file in templates that
// defines "title" and "content", and its words in texts.
package console
