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

// templates holds the page of each file in each language, read once.
//
//nolint:gochecknoglobals // read once, never written
var templates = sync.OnceValues(func() (map[Lang]map[string]*template.Template, error) {
	words, err := vocabulary()
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}

	made := map[Lang]map[string]*template.Template{}
	for _, lang := range Langs() {
		layout, err := template.New("").Funcs(words.functions(lang)).ParseFS(templateFiles, layoutFiles()...)
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}

		made[lang] = map[string]*template.Template{}
		for _, file := range files {
			page := template.Must(layout.Clone())
			if _, err := page.ParseFS(templateFiles, file); err != nil {
				return nil, fmt.Errorf("console: %w", err)
			}
			made[lang][strings.TrimSuffix(path.Base(file), ".html")] = page
		}
	}
	return made, nil
})
