// Vulndb writes the Go vulnerability database in the form that govulncheck reads, from
// the module that holds its reports: a module proxy can be reached where vuln.go.dev
// cannot.
//
//	go run ./.ci/vulndb REPORTS OUT
//
// REPORTS is data/osv of golang.org/x/vulndb, and OUT a folder for govulncheck -db
// file://OUT. The form: https://go.dev/doc/security/vuln/database#api.
package main

import (
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"time"
)

// report is the part of an OSV report that the indexes need:
// https://ossf.github.io/osv-schema.
type report struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Affected []struct {
		Package struct {
			Name string `json:"name"`
		} `json:"package"`
		Ranges []struct {
			Events []struct {
				Fixed string `json:"fixed"`
			} `json:"events"`
		} `json:"ranges"`
	} `json:"affected"`
}

type vulnerability struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Fixed    string    `json:"fixed,omitempty"`
}

type module struct {
	Path  string          `json:"path"`
	Vulns []vulnerability `json:"vulns"`
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: vulndb REPORTS OUT")
	}
	if err := convert(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func convert(reports, out string) error {
	files, err := filepath.Glob(filepath.Join(reports, "GO-*.json"))
	if err != nil {
		return err
	}

	modules, newest := map[string]*module{}, time.Time{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil {
			return err
		}

		if r.Modified.After(newest) {
			newest = r.Modified
		}
		index(modules, r)
		if err := write(filepath.Join(out, "ID", r.ID+".json"), text); err != nil {
			return err
		}
	}

	list := []*module{}
	for _, m := range modules {
		list = append(list, m)
	}
	if err := writeJSON(filepath.Join(out, "index", "modules.json"), list); err != nil {
		return err
	}
	return writeJSON(filepath.Join(out, "index", "db.json"), map[string]time.Time{"modified": newest})
}

// index records a report under each module that it affects, with the last version that
// fixes it there.
func index(modules map[string]*module, r report) {
	for _, affected := range r.Affected {
		v := vulnerability{ID: r.ID, Modified: r.Modified}
		for _, versions := range affected.Ranges {
			for _, event := range versions.Events {
				if event.Fixed != "" {
					v.Fixed = event.Fixed
				}
			}
		}

		path := affected.Package.Name
		if modules[path] == nil {
			modules[path] = &module{Path: path}
		}
		modules[path].Vulns = append(modules[path].Vulns, v)
	}
}

func writeJSON(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return write(path, text)
}

func write(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
