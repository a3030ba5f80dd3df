package commands_test

import (
	"testing"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/commands/storetest"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestTheRealLogKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Exercise(t, func(t *testing.T) commands.Store {
		t.Helper()
		_, store := handler(t, pgtest.New(t), &clock{})
		return store
	})
}
