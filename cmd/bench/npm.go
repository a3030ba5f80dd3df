package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// driver holds the script that drives the contender in Node, and the lock file that names
// its packages by checksum.
//
//go:embed driver/package.json driver/package-lock.json driver/emmett.mjs
var driver embed.FS

// installing bounds how long npm may take.
const installing = 3 * time.Minute

// installModules makes the folder of the packages from npm, or returns one sentence that
// says why there is none: a run without them measures the rest. Scripts of packages do
// not run.
func installModules(ctx context.Context, cache string) (modules, missing string) {
	modules = filepath.Join(cache, "npm")
	if err := os.MkdirAll(modules, 0o750); err != nil {
		return "", err.Error()
	}
	lock, err := driver.ReadFile("driver/package-lock.json")
	if err != nil {
		return "", err.Error()
	}
	done, err := os.ReadFile(filepath.Join(modules, "installed.json"))
	installed := err == nil && string(done) == string(lock)

	for _, name := range []string{"package.json", "package-lock.json", "emmett.mjs"} {
		text, err := driver.ReadFile("driver/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(modules, name), text, 0o600)
		}
		if err != nil {
			return "", err.Error()
		}
	}
	if installed {
		return modules, ""
	}

	if _, err := exec.LookPath("npm"); err != nil {
		return "", "npm is not installed"
	}
	ctx, cancel := context.WithTimeout(ctx, installing)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = modules
	if said, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "npm ci: %v\n%s\n", err, said)
		return "", "npm ci failed; the packages may be out of reach"
	}
	if err := os.WriteFile(filepath.Join(modules, "installed.json"), lock, 0o600); err != nil {
		return "", err.Error()
	}
	return modules, ""
}

// moduleVersion returns the version of a package that npm installed.
func moduleVersion(modules, name string) string {
	text, err := os.ReadFile(filepath.Join(modules, "node_modules", name, "package.json"))
	if err != nil {
		return ""
	}
	var about struct{ Version string }
	if err := json.Unmarshal(text, &about); err != nil {
		return ""
	}
	return about.Version
}
