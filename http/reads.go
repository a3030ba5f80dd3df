package http

import (
	"context"
	"maps"
	"slices"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// recordRead records that the caller is about to be shown personal data of these people: call it before the answer leaves (POPIA
// s19, s23(1)(b)). One's own data is no reading of another's. Of the filter, what is empty is left out.
func (s *server) recordRead(ctx context.Context, call commands.Call, fields string, filter map[string]string, people ...domain.UserID) error {
	var others []domain.UserID
	for _, p := range people {
		if !p.IsZero() && p != call.User && !slices.Contains(others, p) {
			others = append(others, p)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return s.recordReadOfAll(ctx, call, fields, filter, others...)
}

// recordReadOfAll is recordRead for an answer that shows whomever the filter covers; the people named are all of them, or none.
func (s *server) recordReadOfAll(ctx context.Context, call commands.Call, fields string, filter map[string]string, people ...domain.UserID) error {
	maps.DeleteFunc(filter, func(_, value string) bool { return value == "" })
	route := s.routes[traceOf(ctx).id]
	_, err := s.config.Commands.RecordRead(ctx, call, commands.RecordRead{
		Route: route.method + " " + route.path, Fields: fields, Subjects: people, Filter: filter,
	})
	return err
}

// masked stands for a value in a filter that identifies a person: the record of a read names the filter only.
func masked(value string) string {
	if value == "" {
		return ""
	}
	return "given"
}
