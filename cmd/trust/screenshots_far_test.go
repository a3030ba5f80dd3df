//go:build far

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/cmd/trust/internal/seed"
	api "github.com/salga-trust/engine/http/client"
	"github.com/salga-trust/engine/internal/pgtest"
)

//nolint:gochecknoglobals // a flag of the test program
var takeScreenshots = flag.Bool("screenshots", false, "write docs/screenshots, as make screenshots does")

// picture is one of docs/officer.md: the part of a page that answers a question. It is
// named after the template of its page, by which package console finds its headings; what
// follows a hyphen tells two pictures of one page apart.
type picture struct {
	name    string
	address string
	from    string // what is at the top of the picture; empty: the top of the page
	height  float64
}

// Each picture is taken of a system that trust seed has filled, so that the same people
// are on them each time. Every heading on them is one that headings.txt knows.
func TestFarThePicturesShowWhatThePagesShow(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off")
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	s.run("seed", "--people=600").expect(t, 0, "600 people")
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)

	p := photographer{stage: &stage{t: t, site: s, nobody: api.New("http://" + s.addr)}, known: headingsThen(t)}
	officer := "manager.jhb.1@example.org"
	resident, signed := p.onPaper(officer)

	p.tab = newChromium(t).window()
	p.tab.screen(wide)
	p.signIn(p.tab, officer, seed.Password, "JHB")
	for _, shown := range officersPictures(p.email, resident, signed) {
		p.take(shown)
	}

	p.tab.goTo("http://" + s.addr + "/console/account")
	p.tab.after(chromedp.Click(chromedp.CSS("header form button")))
	p.signIn(p.tab, p.email, seed.Password, "JHB")
	p.take(picture{name: "me", address: "/me", height: 900})
}

// officersPictures returns those of an officer. The person signed a form that was typed
// in later, so at an instant in between the two clocks disagree.
func officersPictures(email string, person uuid.UUID, signed time.Time) []picture {
	between := url.QueryEscape(signed.AddDate(0, 0, 1).In(time.FixedZone("SAST", 2*60*60)).Format("2006-01-02T15:04"))
	one := "/console/people/" + person.String()

	return []picture{
		{name: "overview", address: "/console/overview", height: 1120},
		{name: "people", address: "/console/people?email=" + url.QueryEscape(email), height: 880},
		{name: "person", address: one + "?as_of=" + between, from: "#answer", height: 1000},
		{
			name: "person-then", address: one + "?as_of=" + between + "&known_at=" + between,
			from: "#answer", height: 560,
		},
		{name: "purpose", address: "/console/purposes/ward_meetings", height: 1000},
		{name: "consents", address: "/console/consents?as_of=" + between, height: 1150},
		{name: "requests", address: "/console/requests", height: 620},
		{name: "person_reads", address: one + "/reads", height: 900},
	}
}

// photographer takes the pictures.
type photographer struct {
	*stage

	tab   *tab
	known map[string][]string // the headings of each page, by its name
}

// onPaper returns the resident with the oldest paper form among those who have an
// account, and when they signed it.
func (p *photographer) onPaper(officer string) (uuid.UUID, time.Time) {
	t := p.t
	t.Helper()
	manager := p.as(officer, seed.Password)
	paper, lines := api.ExportConsentsParamsChannelPaper, api.ExportConsentsParamsFormatNdjson
	file, err := manager.ExportConsents(t.Context(), &api.ExportConsentsParams{Channel: &paper, Format: &lines})
	must(t, err)
	defer func() { _ = file.Body.Close() }()

	var forms []api.ConsentBody
	for scanner := bufio.NewScanner(file.Body); scanner.Scan(); {
		var form api.ConsentBody
		must(t, json.Unmarshal(scanner.Bytes(), &form))
		if form.Purpose != "" {
			forms = append(forms, form)
		}
	}
	slices.SortFunc(forms, func(a, b api.ConsentBody) int { return a.GivenAt.Compare(b.GivenAt) })

	for _, form := range forms {
		person, err := manager.GetUser(t.Context(), form.SubjectID, nil)
		must(t, err)
		if person.Body.Email != nil && form.RecordedAt.Sub(form.GivenAt) > 48*time.Hour {
			p.email = *person.Body.Email
			return form.SubjectID, form.GivenAt
		}
	}
	t.Fatalf("none of %d paper forms is of somebody with an account", len(forms))
	return uuid.Nil, time.Time{}
}

// take shows a page, and writes its picture or, without the flag, compares its headings.
func (p *photographer) take(shown picture) {
	t := p.t
	t.Helper()
	join := "?"
	if strings.Contains(shown.address, "?") {
		join = "&"
	}
	p.tab.goTo("http://" + p.site.addr + shown.address + join + "lang=en")

	content := p.photograph(shown)
	if *takeScreenshots {
		must(t, os.WriteFile(filepath.Join(root, "docs", "screenshots", shown.name+".png"), content, 0o644))
		return
	}

	found := answer[[]string](p.tab, `[...document.querySelectorAll("main h1, main h2")].map((h) =>
		h.localName + " " + h.textContent.trim().replace(/\s+/g, " "))`)
	if len(found) == 0 {
		t.Errorf("%s has no headings", shown.address)
	}
	template, _, _ := strings.Cut(shown.name, "-")
	for _, heading := range found {
		if !slices.ContainsFunc(p.known[template], func(then string) bool { return isHeading(then, heading) }) {
			t.Errorf("%s has a heading %q, and docs/screenshots/headings.txt has not", shown.address, heading)
		}
	}
}

// photograph returns a picture of the page in the browser.
func (p *photographer) photograph(shown picture) []byte {
	t := p.t
	t.Helper()
	top := answer[float64](p.tab, fmt.Sprintf(`document.querySelector(%s).getBoundingClientRect().top + scrollY`,
		quoted(cmp.Or(shown.from, "body"))))
	bottom := answer[float64](p.tab, "document.documentElement.scrollHeight")

	beyond := true
	ctx, cancel := p.tab.within()
	defer cancel()
	taken, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		CaptureBeyondViewport: &beyond,
		Clip:                  &page.Viewport{Y: top, Width: wide, Height: min(shown.height, bottom-top), Scale: 1},
	})
	must(t, err)

	original, err := png.Decode(bytes.NewReader(taken.Data))
	must(t, err)
	var small bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	must(t, encoder.Encode(&small, withFewColours(original)))
	return small.Bytes()
}

// colours is how many a picture has: letters are grey at their edges, and the pages have
// few colours besides.
const colours = 16

// withFewColours returns a picture with its most frequent colours alone.
func withFewColours(original image.Image) image.Image {
	frequent := map[color.Color]int{}
	for y := original.Bounds().Min.Y; y < original.Bounds().Max.Y; y++ {
		for x := original.Bounds().Min.X; x < original.Bounds().Max.X; x++ {
			frequent[color.RGBAModel.Convert(original.At(x, y))]++
		}
	}

	order := func(c color.Color) string { return fmt.Sprint(c) }
	chosen := slices.SortedFunc(maps.Keys(frequent), func(a, b color.Color) int {
		return cmp.Or(frequent[b]-frequent[a], strings.Compare(order(a), order(b)))
	})
	small := image.NewPaletted(original.Bounds(), chosen[:min(colours, len(chosen))])
	draw.Draw(small, small.Bounds(), original, original.Bounds().Min, draw.Src)
	return small
}

// headingsThen reads docs/screenshots/headings.txt.
func headingsThen(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "screenshots", "headings.txt"))
	must(t, err)

	known, name := map[string][]string{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if template, is := strings.CutSuffix(line, ".html"); is {
			name = template
		} else if name != "" && line != "" {
			known[name] = append(known[name], line)
		}
	}
	return known
}

var filledIn = regexp.MustCompile(`\\\{\\\{.*?\\\}\\\}|%s`)

// isHeading reports whether a heading of a page is one that headings.txt has, in which
// braces and %s stand for what the page fills in.
func isHeading(then, found string) bool {
	level, text, _ := strings.Cut(then, " ")
	for either := range strings.SplitSeq(text, "{{else}}") {
		pattern := filledIn.ReplaceAllString(regexp.QuoteMeta(level+" "+either), ".*")
		if regexp.MustCompile("^" + pattern + "$").MatchString(found) {
			return true
		}
	}
	return false
}
