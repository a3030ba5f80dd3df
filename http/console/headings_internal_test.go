package console

import (
	"bytes"
	"flag"
	"fmt"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template/parse"
)

// The pictures of docs/officer.md: make screenshots takes them, each named after the
// template of its page, and after a hyphen what tells two of one page apart.
const (
	pictures   = "../../docs/screenshots"
	documented = "../../docs/officer.md"

	pictureWidth = 1280
	onePicture   = 60_000  // bytes, at most
	allPictures  = 600_000 // bytes, at most
)

var update = flag.Bool("update", false,
	"write docs/screenshots/headings.txt (make screenshots does, after it has taken them)")

// A picture shows a page as it was. When a heading of the page has changed since, the
// picture is out of date.
func TestThePicturesHaveTheHeadingsOfTheirPages(t *testing.T) {
	t.Parallel()
	all, err := vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	now := headingsOf(t, templatesOf(pictured(t)), templateSource(t), all[English])

	file := filepath.Join(pictures, "headings.txt")
	if *update {
		if err := os.WriteFile(file, []byte(now), 0o644); err != nil { //nolint:gosec // documents are for everybody
			t.Fatal(err)
		}
	}
	then, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(then) != now {
		t.Errorf("headings have changed since the pictures were taken: run make screenshots.\nthen:\n%s\nnow:\n%s",
			then, now)
	}
}

// Else the test above might find nothing because it looks at nothing.
func TestAChangedHeadingIsFound(t *testing.T) {
	t.Parallel()
	all, err := vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	pages, source, words := templatesOf(pictured(t)), templateSource(t), all[English]
	now := headingsOf(t, pages, source, words)

	for _, page := range pages {
		changed := maps.Clone(source)
		changed[page] = strings.Replace(source[page], "</h1>", " again</h1>", 1)
		if headingsOf(t, pages, changed, words) == now {
			t.Errorf("a changed h1 of %s is not noticed", page)
		}
	}
	for _, key := range []string{"menu_overview", "answer", "consents_download", "purpose_current", "me_agreed"} {
		changed := maps.Clone(words)
		changed[key] += " again"
		if headingsOf(t, pages, source, changed) == now {
			t.Errorf("a changed text %s is not noticed", key)
		}
	}
}

func TestThePicturesAreSmallAndShown(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(documented)
	if err != nil {
		t.Fatal(err)
	}

	total := 0
	for _, picture := range pictured(t) {
		name := picture + ".png"
		content, err := os.ReadFile(filepath.Join(pictures, name))
		if err != nil {
			t.Fatal(err)
		}
		size, err := png.DecodeConfig(bytes.NewReader(content))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}

		total += len(content)
		if size.Width != pictureWidth || len(content) > onePicture {
			t.Errorf("%s has %d columns of pixels and %d bytes", name, size.Width, len(content))
		}
		if !bytes.Contains(text, []byte("](screenshots/"+name+")")) {
			t.Errorf("%s does not show %s", documented, name)
		}
	}
	if total > allPictures {
		t.Errorf("the pictures have %d bytes together", total)
	}
}

// pictured returns the names of the pictures.
func pictured(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pictures, "*.png"))
	if err != nil || len(files) < 8 {
		t.Fatalf("there are %d pictures: %v", len(files), err)
	}
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".png"))
	}
	return names
}

// templatesOf returns the names of the templates that the pictures are of.
func templatesOf(pictures []string) (pages []string) {
	for _, picture := range pictures {
		page, _, _ := strings.Cut(picture, "-")
		pages = append(pages, page)
	}
	return slices.Compact(pages)
}

// templateSource returns the text of each template, by its name.
func templateSource(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	source := map[string]string{}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source[strings.TrimSuffix(filepath.Base(name), ".html")] = string(content)
	}
	return source
}

var (
	heading = regexp.MustCompile(`(?s)<(h[12])\b[^>]*>(.*?)</h[12]>`)
	tag     = regexp.MustCompile(`</?[a-z][^>]*>`)
)

// headingsOf returns what the pages have as headings, in the order of their templates:
// their words in English, and in braces what depends on whom the page is about. All
// branches of a template count, also one that a picture does not show; those of one
// heading have {{else}} between them.
func headingsOf(t *testing.T, pages []string, source, words map[string]string) string {
	t.Helper()
	var out strings.Builder
	out.WriteString("# The headings of these pages when their pictures were taken. make screenshots writes both.\n")

	for _, page := range pages {
		trees := map[string]*parse.Tree{}
		for _, name := range []string{"parts", "parts_rights", page} {
			defined, tree := map[string]*parse.Tree{}, parse.New(name)
			tree.Mode = parse.SkipFuncCheck
			if _, err := tree.Parse(source[name], "", "", defined); err != nil {
				t.Fatal(err)
			}
			maps.Copy(trees, defined) // a page's own parts replace those of all pages
		}

		// Errors and notices stand above every page, and in no picture.
		for _, name := range []string{"refused", "done", "notice"} {
			delete(trees, name)
		}

		fmt.Fprintf(&out, "\n%s.html\n", page)
		text := spoken{trees: trees, words: words}.list(trees["content"].Root)
		for _, found := range heading.FindAllStringSubmatch(text, -1) {
			plain := tag.ReplaceAllString(found[2], "")
			fmt.Fprintf(&out, "%s %s\n", found[1], strings.Join(strings.Fields(plain), " "))
		}
	}
	return out.String()
}

// spoken writes a template out with the words in it.
type spoken struct {
	trees map[string]*parse.Tree
	words map[string]string
}

func (s spoken) list(list *parse.ListNode) string {
	if list == nil {
		return ""
	}
	var out strings.Builder
	for _, node := range list.Nodes {
		out.WriteString(s.node(node))
	}
	return out.String()
}

func (s spoken) node(node parse.Node) string {
	switch node := node.(type) {
	case *parse.TextNode:
		return string(node.Text)
	case *parse.ActionNode:
		return s.action(node)
	case *parse.IfNode:
		if node.ElseList != nil {
			return s.list(node.List) + "{{else}}" + s.list(node.ElseList)
		}
		return s.list(node.List)
	case *parse.WithNode:
		return s.list(node.List) + s.list(node.ElseList)
	case *parse.RangeNode:
		return s.list(node.List) + s.list(node.ElseList)
	case *parse.TemplateNode:
		if tree := s.trees[node.Name]; tree != nil {
			return s.list(tree.Root)
		}
	}
	return ""
}

var keyed = regexp.MustCompile(`^\{\{t "([a-z0-9_]+)"`)

// action returns a text that a template names, or the name of what it fills in.
func (s spoken) action(node *parse.ActionNode) string {
	if len(node.Pipe.Decl) > 0 {
		return ""
	}
	if found := keyed.FindStringSubmatch(node.String()); found != nil {
		return s.words[found[1]]
	}
	return node.String()
}
