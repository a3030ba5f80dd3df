package console

import (
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"strings"
	"sync"
)

//go:embed templates/*.html
var templateFiles embed.FS

// layoutFiles are those that every page is made with.
func layoutFiles() []string {
	return []string{"templates/layout.html", "templates/parts.html", "templates/parts_rights.html"}
}

// templates holds the page of each file in each language. The parts that all pages share
// are read at the first use of any page, and each page at its own: a process that serves
// the API alone, or starts only to stop, does not wait for pages that nobody asks for.
//
//nolint:gochecknoglobals // read once, never written
var templates = sync.OnceValues(func() (map[Lang]map[string]pageOnce, error) {
	words, err := vocabulary()
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}

	made := map[Lang]map[string]pageOnce{}
	for _, lang := range Langs() {
		layout, err := template.New("").Funcs(words.functions(lang)).ParseFS(templateFiles, layoutFiles()...)
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}

		made[lang] = map[string]pageOnce{}
		for _, file := range files {
			name := strings.TrimSuffix(path.Base(file), ".html")
			made[lang][name] = sync.OnceValues(func() (*template.Template, error) {
				return template.Must(layout.Clone()).ParseFS(templateFiles, file)
			})
		}
	}
	return made, nil
})

// pageOnce returns a page, which it reads at its first call.
type pageOnce = func() (*template.Template, error)

// page returns a page in a language.
func page(lang Lang, name string) (*template.Template, error) {
	all, err := templates()
	if err != nil {
		return nil, err
	}
	once, known := all[lang][name]
	if !known {
		return nil, fmt.Errorf("console: there is no page %q in %s", name, lang)
	}
	return once()
}
