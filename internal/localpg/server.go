package localpg

import (
	"context"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
)

// Command returns the server, ready to start in the foreground; it logs to standard
// error. When ctx ends, the server gets SIGINT (a fast shutdown: sessions are cut,
// nothing committed is lost), and is killed if that takes a minute. Start it with
// StartBound(cmd, syscall.SIGINT), or it outlives a parent that crashes.
func (c *Cluster) Command(ctx context.Context) *exec.Cmd {
	settings := c.settings()
	args := []string{"-D", c.dataDir()}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}

	cmd := c.command(ctx, "postgres", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	return cmd
}

// settings returns the settings that are passed on the command line, where neither ALTER
// SYSTEM nor an edited file can undo what protects personal data.
func (c *Cluster) settings() map[string]string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(c.Port),
		"unix_socket_directories": c.SocketDir,
		"unix_socket_permissions": "0700",
		"password_encryption":     "scram-sha-256",

		// No personal data in the log: no parameters, no DETAIL lines (which quote rows),
		// no failing statements.
		"log_parameter_max_length":          "0",
		"log_parameter_max_length_on_error": "0",
		"log_error_verbosity":               "terse",
		"log_min_error_statement":           "panic",
		"log_statement":                     "none",
		"log_min_duration_statement":        "-1",
		"logging_collector":                 "off", // the supervisor owns standard error
		"log_destination":                   "stderr",
		"log_checkpoints":                   "off", // every five minutes, and of no use here

		"TimeZone":        "UTC",
		"log_timezone":    "UTC",
		"max_connections": "200",
		"shared_buffers":  "128MB",
		"max_wal_size":    "2GB", // fewer checkpoints during imports and rebuilds
		"wal_compression": "on",
		"jit":             "off", // our statements are short: compiling them does not pay
	}

	maps.Copy(settings, c.config.Settings)
	return settings
}
