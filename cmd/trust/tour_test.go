package main

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/salga-trust/engine/internal/pgtest"
)

// The commands on a page work as written: all blocks, in their order, in one shell, on a
// fresh system.
func TestEveryPageWorksAsWritten(t *testing.T) {
	t.Parallel()
	for page, least := range map[string]int{
		"README.md": 5, "docs/officer.md": 9, "docs/developer.md": 12, "docs/backup.md": 3,
	} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join(root, page))
			if err != nil {
				t.Fatal(err)
			}
			blocks := regexp.MustCompile("(?s)```sh tour\n(.*?)```").FindAllStringSubmatch(string(text), -1)
			if len(blocks) < least {
				t.Fatalf("the page has %d blocks", len(blocks))
			}
			var script strings.Builder
			script.WriteString("set -euo pipefail\n")
			for _, b := range blocks {
				script.WriteString(b[1])
			}

			s := newSite(t)
			s.start("up")
			pgtest.Eventually(t, "the system is ready", s.ready)

			ctx, cancel := context.WithTimeout(t.Context(), 2*pgtest.Patience)
			defer cancel()
			tour := exec.CommandContext(ctx, "bash", "-x")
			tour.Stdin, tour.Dir = strings.NewReader(script.String()), s.dir
			tour.WaitDelay = pgtest.Patience // background processes may hold its output
			tour.Env = append(s.env, "BASE=http://"+s.addr, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
			if said, err := tour.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, said)
			}
		})
	}
}

// Links of the documentation lead somewhere.
func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) < 5 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, name := range []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"} {
		pages = append(pages, filepath.Join(root, name))
	}

	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(string(text), -1) {
			path, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(path, "://") {
				continue
			}

			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			found, err := os.ReadFile(target)
			if info, isThere := os.Stat(target); isThere == nil && info.IsDir() {
				continue
			}
			if err != nil || (anchor != "" && !strings.Contains(headings(string(found)), "\n"+anchor+"\n")) {
				t.Errorf("%s: %s leads nowhere", filepath.Base(page), link[1])
			}
		}
	}
}

// headings returns the anchors of a page, each on a line.
func headings(page string) string {
	anchors := "\n"
	for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(h[1]), "")
		anchors += strings.ReplaceAll(name, " ", "-") + "\n"
	}
	return anchors
}

// Each promise names the test that proves it. A test that is renamed or gone is noticed.
func TestTheTestsThatSecurityNamesExist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}

	var tests strings.Builder
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir // data of a running system, which comes and goes
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 15 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, n := range named {
		if !strings.Contains(tests.String(), "func "+n[1]+"(") {
			t.Errorf("there is no %s", n[1])
		}
	}
}
