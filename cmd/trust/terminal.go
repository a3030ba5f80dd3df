package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// isTerminal reports whether a file is a terminal.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// newProgress returns a progress bar, which is drawn only on a terminal. A total of -1 is
// one not known yet.
func newProgress(f *os.File, total int64, what string) *progressbar.ProgressBar {
	options := []progressbar.Option{
		progressbar.OptionSetDescription(what), progressbar.OptionShowCount(), progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100 * time.Millisecond), progressbar.OptionClearOnFinish(),
	}
	if isTerminal(f) {
		options = append(options, progressbar.OptionSetWriter(f))
	} else {
		options = append(options, progressbar.OptionSetWriter(io.Discard), progressbar.OptionSetVisibility(false))
	}
	return progressbar.NewOptions64(total, options...)
}
