package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is the release, which the API reports too.
const version = "0.1.0"

type versionCmd struct{}

// Run prints one line: release, commit if known, compiler and platform.
func (versionCmd) Run(p *program) error {
	commit := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				commit = ", commit " + setting.Value[:min(12, len(setting.Value))]
			}
		}
	}

	_, err := fmt.Fprintf(p.stdout, "trust %s (%s, %s/%s%s)\n", version, runtime.Version(), runtime.GOOS,
		runtime.GOARCH, commit)
	return err
}
