package pg

import (
	"fmt"
	"strings"
)

// Where collects the conditions of a query and the arguments of their placeholders. Args
// may start with arguments of the query around the conditions.
type Where struct {
	Args       []any
	conditions strings.Builder
}

// And adds a condition; each %s in it, or %[1]s, stands for an argument.
func (w *Where) And(condition string, args ...any) {
	if len(args) > 0 {
		placeholders := make([]any, len(args))
		for i, arg := range args {
			placeholders[i] = w.Arg(arg)
		}
		condition = fmt.Sprintf(condition, placeholders...)
	}
	w.conditions.WriteString(" and " + condition)
}

// Arg adds an argument and returns its placeholder.
func (w *Where) Arg(value any) string {
	w.Args = append(w.Args, value)
	return fmt.Sprintf("$%d", len(w.Args))
}

// SQL returns the conditions, each with an "and" before it.
func (w *Where) SQL() string { return w.conditions.String() }
