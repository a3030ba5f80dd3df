package localpg_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/salga-trust/engine/internal/localpg"
	"github.com/salga-trust/engine/internal/pgtest"
)

// playSleeperParent is the parent of a child that would sleep for a long time.
func playSleeperParent() {
	cmd := exec.CommandContext(context.Background(), "sleep", "600")
	if err := localpg.StartBound(cmd, syscall.SIGKILL); err != nil {
		panic(err)
	}
	fmt.Println(cmd.Process.Pid)
	_ = cmd.Wait()
}

// playClusterParent is the parent of a server.
func playClusterParent() {
	ctx := context.Background()
	found, err := localpg.Find()
	if err != nil {
		panic(err)
	}

	cluster, err := localpg.New(localpg.Config{
		Dir: os.Getenv("DIR"), Binaries: found, Port: 5432, Password: os.Getenv("PASSWORD"), NoSync: true,
		Settings: map[string]string{"listen_addresses": ""},
	})
	if err != nil {
		panic(err)
	}
	if err := cluster.Init(ctx); err != nil {
		panic(err)
	}

	server, err := pgtest.Start(ctx, cluster, os.Stderr)
	if err != nil {
		panic(err)
	}
	fmt.Println(server.PID())
	<-server.Ended()
}
