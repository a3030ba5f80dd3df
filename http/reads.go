package http

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// recordRead records that the caller is about to be shown personal data of these people:
// call it before the answer leaves (POPIA s19, s23(1)(b)). One's own data is no reading
// of another's. Of the filter, what is empty is left out.
func (s *server) recordRead(
	ctx context.Context, call commands.Call, fields string, filter map[string]string, people ...domain.UserID,
) error {
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

// recordReadOfAll is recordRead for an answer that shows whomever the filter covers; the
// people named are all of them, or none.
func (s *server) recordReadOfAll(
	ctx context.Context, call commands.Call, fields string, filter map[string]string, people ...domain.UserID,
) error {
	maps.DeleteFunc(filter, func(_, value string) bool { return value == "" })
	route := s.routes[traceOf(ctx).id]
	_, err := s.config.Commands.RecordRead(ctx, call, commands.RecordRead{
		Route: route.method + " " + route.path, Fields: fields, Subjects: people, Filter: filter,
	})
	return err
}

// recordHourly is recordRead of one person where it is asked again and again: the same
// look counts once an hour.
func (s *server) recordHourly(
	ctx context.Context, call commands.Call, fields string, filter map[string]string, person domain.UserID,
) error {
	if person == call.User || person.IsZero() {
		return nil
	}
	route := s.routes[traceOf(ctx).id]
	_, err := s.config.Commands.RecordRead(ctx, call, commands.RecordRead{
		Route: route.method + " " + route.path, Fields: fields, Subjects: []domain.UserID{person}, Filter: filter,
		Hourly: true,
	})
	return err
}

// recordStanding records the look at a person whom a command was about, where it changed
// nothing: its answer shows what stands, and no other event says who saw it.
func recordStanding[T any](
	ctx context.Context, s *server, call commands.Call, a commands.Answer[T], err error, fields string,
	person func(T) domain.UserID,
) error {
	if err != nil || !a.Stood {
		return err
	}
	return s.recordHourly(ctx, call, fields, nil, person(a.Value))
}

// recordRefusal records the look at a person whom a command was about, where its refusal
// tells something about them. It returns the refusal.
func (s *server) recordRefusal(
	ctx context.Context, call commands.Call, refusal error, fields string, person domain.UserID,
) error {
	e, is := errors.AsType[*domain.Error](refusal)
	if !is || !slices.Contains(telling(), e.Code) {
		return refusal
	}
	if err := s.recordHourly(ctx, call, fields, nil, person); err != nil {
		return err
	}
	return refusal
}

// telling are the refusals that say something about the person whom a command was about.
func telling() []domain.Code {
	return []domain.Code{
		domain.CodeAlreadyGranted, domain.CodeInForce, domain.CodeNotGranted, domain.CodeConsentRequired,
		domain.CodeLastAdmin,
		domain.CodeRetentionHold, domain.CodeStaffRecordKept, domain.CodeRequestClosed, domain.CodeTooManyOpen,
		domain.CodeSubjectErased,
		domain.CodeStale,
	}
}

// masked stands for a value in a filter that identifies a person: the record of a read
// names the filter only.
func masked(value string) string {
	if value == "" {
		return ""
	}
	return "given"
}
