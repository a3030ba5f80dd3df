//go:build far

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/salga-trust/engine/internal/pgtest"
)

// chromium is a browser that one test has for itself.
type chromium struct {
	t   *testing.T
	ctx context.Context
}

// newChromium starts Debian's browser, without a screen. It ends with the test.
func newChromium(t *testing.T) *chromium {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // the tests may run as root
		chromedp.UserDataDir(t.TempDir()), chromedp.Env("HOME="+t.TempDir()),
		chromedp.Flag("disable-component-update", true))
	allocated, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)

	ctx, end := chromedp.NewContext(allocated)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		end()
	})
	must(t, chromedp.Do(ctx))
	return &chromium{t: t, ctx: ctx}
}

// window opens a tab with cookies of its own, as another browser would have them.
func (c *chromium) window() *tab { return c.open(c.ctx, chromedp.WithNewBrowserContext()) }

// tab is one page of a browser, and what its browser complained of.
type tab struct {
	browser *chromium
	t       *testing.T
	ctx     context.Context

	mu         sync.Mutex
	complaints []string
}

func (c *chromium) open(beside context.Context, options ...chromedp.ContextOption) *tab {
	c.t.Helper()
	ctx, end := chromedp.NewContext(beside, options...)
	c.t.Cleanup(end)
	opened := &tab{browser: c, t: c.t, ctx: ctx}
	must(c.t, chromedp.Listen(ctx, opened.listen))
	return opened
}

// another opens a tab beside this one, in the same session.
func (b *tab) another() *tab { return b.browser.open(b.ctx) }

// listen collects what a developer would see in the console: scripts and styles that the
// page's policy forbids, files that are missing, faults of scripts.
func (b *tab) listen(event any) {
	var complaint string
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			complaint = fmt.Sprintf("the browser says: %s (%s)", e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		complaint = "a script fails: " + e.ExceptionDetails.Text
	}
	if complaint == "" {
		return
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, complaint)
}

// complained returns what the browser complained of since it was asked last.
func (b *tab) complained() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	said := b.complaints
	b.complaints = nil
	return said
}

// within bounds one step in the browser.
func (b *tab) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, pgtest.Patience)
}

// do runs steps, and ends the test if the browser cannot.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := b.within()
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("the browser, on %s: %v", b.address(), err)
	}
}

func (b *tab) goTo(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
}

// after does something that leads to another page, and waits for that.
func (b *tab) after(trigger chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := b.within()
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.WaitEvent(page.LoadEventFired, nil, trigger)); err != nil {
		b.t.Fatalf("no page follows %s: %v", b.address(), err)
	}
}

// answer evaluates an expression in a page, whatever the page's policy forbids its own
// scripts. A promise is waited for.
func answer[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := b.within()
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("evaluate %.80s: %v", expression, err)
	}
	return value
}

// address returns that of the page shown, for messages as well.
func (b *tab) address() string {
	ctx, cancel := b.within()
	defer cancel()
	where, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		return "a page that does not answer"
	}
	return where
}

// scripts switches JavaScript on or off for the pages that follow.
func (b *tab) scripts(on bool) {
	b.t.Helper()
	ctx, cancel := b.within()
	defer cancel()
	_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: !on})
	must(b.t, err)
}

func quoted(text string) string {
	quoted, _ := json.Marshal(text) // of a text it cannot fail
	return string(quoted)
}

// fill writes into the field of that name.
func (b *tab) fill(name, value string) {
	b.t.Helper()
	const set = `(() => {
		const field = document.querySelector("main [name='" + %[1]s + "']:not([type=hidden])");
		if (!field) return "no field " + %[1]s + " on " + location.href;
		if (field.type === "radio" || field.type === "checkbox") {
			const one = document.querySelector("[name='" + %[1]s + "'][value='" + %[2]s + "']");
			if (!one) return "no choice " + %[2]s;
			one.checked = true;
		} else {
			field.value = %[2]s;
			if (field.value !== %[2]s) return "the field takes no " + %[2]s;
		}
		return "";
	})()`
	if fault := answer[string](b, fmt.Sprintf(set, quoted(name), quoted(value))); fault != "" {
		b.t.Fatal(fault)
	}
}

// button is the first button of the form that has a field of that name. An empty name
// means the first form of the page's content.
func button(field string) string {
	if field == "" {
		return "main form button:not([type=button])"
	}
	return "main form:has([name='" + field + "']) button:not([type=button])"
}

// press presses the button of the form with that field, and waits for the next page.
func (b *tab) press(field string) {
	b.t.Helper()
	b.after(chromedp.Click(chromedp.CSS(button(field))))
}

// follow follows the first link whose address contains a text.
func (b *tab) follow(part string) {
	b.t.Helper()
	b.after(chromedp.Click(chromedp.CSS("main a[href*='" + part + "']")))
}

// history goes back or forward, to an address that contains a text.
func (b *tab) history(steps int, part string) {
	b.t.Helper()
	_ = answer[chromedp.Void](b, fmt.Sprintf("void history.go(%d)", steps))
	pgtest.Eventually(b.t, "the browser shows "+part, func() bool { return strings.HasSuffix(b.address(), part) })
}

// says fails unless the page shows a text.
func (b *tab) says(parts ...string) {
	b.t.Helper()
	shown := answer[string](b, "document.body.innerText")
	for _, part := range parts {
		if !strings.Contains(shown, part) {
			b.t.Errorf("%s does not say %q:\n%s", b.address(), part, shown)
		}
	}
}

// screen gives the page that many columns of pixels.
func (b *tab) screen(width int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 900))
}

// look is what a page shows of itself.
type look struct {
	Status, Headings int
	Title, Lang      string
	Text             string   // as it is read
	Links            []string // addresses on the same site
}

const looking = `(() => ({
	Status: performance.getEntriesByType("navigation")[0]?.responseStatus ?? 0,
	Headings: document.querySelectorAll("h1").length,
	Title: document.title,
	Lang: document.documentElement.lang,
	Text: document.body.innerText,
	Links: [...document.querySelectorAll("a[href]")].filter((a) => a.origin === location.origin)
		.map((a) => a.pathname + a.search),
}))()`

// overflow names the elements that are wider than the screen.
const overflow = `(() => {
	const wide = document.documentElement.scrollWidth;
	if (wide <= innerWidth) return "";
	const outside = [...document.body.querySelectorAll("*")].filter((e) =>
		e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".app-scroll"));
	return wide + " px wide on " + innerWidth + ": " +
		outside.slice(-2).map((e) => e.outerHTML.slice(0, 160)).join(" … ");
})()`

// checker finds the faults of a page that a program can find.
type checker struct{ axe string }

// axeRelease is the release of axe-core that pages are checked with.
const axeRelease = "axe-core@4.14.1"

// newChecker fetches axe-core from npm's registry.
func newChecker(t *testing.T) *checker {
	t.Helper()
	dir := t.TempDir()
	pack := exec.CommandContext(t.Context(), "npm", "pack", axeRelease, "--pack-destination", dir)
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("npm pack: %v: %s", err, out)
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(packed) != 1 {
		t.Fatalf("npm pack made %v, %v", packed, err)
	}

	unpack := exec.CommandContext(t.Context(), "tar", "-xzf", packed[0], "-C", dir, "package/axe.min.js")
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	source, err := os.ReadFile(filepath.Join(dir, "package", "axe.min.js"))
	must(t, err)
	return &checker{axe: string(source)}
}

// accessibility returns the rules of axe-core that the page breaks, each with elements
// that break it.
func (c *checker) accessibility(b *tab) []string {
	b.t.Helper()
	_ = answer[bool](b, "(() => {"+c.axe+"; return true })()")

	return answer[[]string](b, `axe.run({ resultTypes: ["violations"] }).then((result) =>
		result.violations.flatMap((rule) => rule.nodes.slice(0, 3).map((node) =>
			"axe " + rule.id + " (" + rule.help + "): " + node.target.join(" ") + ": " + node.html.slice(0, 300) +
			" [" + [...node.any, ...node.all, ...node.none].map((fault) => fault.message).slice(0, 2).join("; ") +
			"]")))`)
}

// wide is a desk's screen, and narrow the smallest that must do.
const (
	wide   = 1280
	narrow = 320
)

// faults returns what is wrong with the page shown, for anybody, in a language.
func (c *checker) faults(b *tab, lang string) (look, []string) {
	b.t.Helper()
	seen := answer[look](b, looking)
	var found []string
	fault := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }

	if seen.Headings != 1 {
		fault("%d h1", seen.Headings)
	}
	if seen.Lang != lang {
		fault("its language is %q, not %q", seen.Lang, lang)
	}
	if strings.Contains(seen.Title, "@") || strings.TrimSpace(seen.Title) == "" {
		fault("its title is %q", seen.Title)
	}

	found = append(found, c.accessibility(b)...)
	b.screen(narrow)
	if wider := answer[string](b, overflow); wider != "" {
		fault("overflow: %s", wider)
	}
	b.screen(wide)
	return seen, append(found, b.complained()...)
}
