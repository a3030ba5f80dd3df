package http

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// recordRead records that the caller is about to see personal data of these people: call
// it before the answer leaves (POPIA s19, s23(1)(b)). The caller's own data does not
// count. Empty values of the filter are left out.
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

// recordReadOfAll is recordRead for an answer that shows everybody the filter covers.
// Name all of these people, or none.
func (s *server) recordReadOfAll(
	ctx context.Context, call commands.Call, fields string, filter map[string]string, people ...domain.UserID,
) error {
	maps.DeleteFunc(filter, func(_, value string) bool { return value == "" })

	trace := traceOf(ctx)
	route := s.routes[trace.id]
	read := commands.RecordRead{
		Route: route.method + " " + route.path, Fields: fields, Subjects: people, Filter: filter,
	}
	if trace.looks != nil {
		trace.looks.add(call, read)
		return nil
	}
	_, err := s.config.Commands.RecordRead(ctx, call, read)
	return err
}

// looks are the reads behind one page. They are recorded together, before the page
// leaves: an append costs much more than a read in it.
type looks struct {
	mu    sync.Mutex // a page asks several questions at once
	by    commands.Call
	reads []commands.RecordRead
}

// add keeps a read. All are of the page's one visitor.
func (l *looks) add(call commands.Call, read commands.RecordRead) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by, l.reads = call, append(l.reads, read)
}

// record records what was kept. It is not kept after that, whether or not it could be
// recorded: the page then shows that it could not, and nothing else.
func (l *looks) record(ctx context.Context, handler *commands.Handler) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	reads := l.reads
	l.reads = nil
	if len(reads) == 0 {
		return nil
	}

	_, err := handler.RecordReads(ctx, l.by, commands.RecordReads{Reads: reads})
	return err
}

// recordHourly is recordRead for requests that are often repeated: the same read, of the
// same people in the same order, is recorded once an hour.
func (s *server) recordHourly(
	ctx context.Context, call commands.Call, fields string, filter map[string]string, people ...domain.UserID,
) error {
	others := slices.DeleteFunc(slices.Clone(people), func(p domain.UserID) bool {
		return p == call.User || p.IsZero()
	})
	if len(others) == 0 {
		return nil
	}

	route := s.routes[traceOf(ctx).id]
	_, err := s.config.Commands.RecordRead(ctx, call, commands.RecordRead{
		Route: route.method + " " + route.path, Fields: fields, Subjects: others, Filter: filter,
		Hourly: true,
	})
	return err
}

// recordUnchanged records a read of the person that a command was about if it changed
// nothing: its answer shows the current state, and no other event says who saw it.
func recordUnchanged[T any](
	ctx context.Context, s *server, call commands.Call, a commands.Answer[T], err error, fields string,
	person func(T) domain.UserID,
) error {
	if err != nil || !a.Stood {
		return err
	}
	return s.recordHourly(ctx, call, fields, nil, person(a.Value))
}

// recordRefusal records a read of the person that a command was about if its refusal
// reveals something about them. It returns the refusal.
func (s *server) recordRefusal(
	ctx context.Context, call commands.Call, refusal error, fields string, person domain.UserID,
) error {
	e, is := errors.AsType[*domain.Error](refusal)
	if !is || !slices.Contains(revealing(), e.Code) {
		return refusal
	}

	if err := s.recordHourly(ctx, call, fields, nil, person); err != nil {
		return err
	}
	return refusal
}

// revealing lists the refusals that reveal something about the person that a command was
// about.
func revealing() []domain.Code {
	return []domain.Code{
		domain.CodeAlreadyGranted, domain.CodeInForce, domain.CodeNotGranted, domain.CodeConsentRequired,
		domain.CodeLastAdmin, domain.CodeRetentionHold, domain.CodeStaffRecordKept, domain.CodeRequestClosed,
		domain.CodeTooManyOpen, domain.CodeSubjectErased, domain.CodeStale,
		domain.CodeHasAccount, domain.CodeNoAccount, domain.CodeAnnulled, domain.CodeNotWithdrawn,
		domain.CodeAccountRestsOn, domain.CodeMerged, domain.CodeNotMerged, domain.CodeHasMerged,
		domain.CodeRequestsOpen, domain.CodeTooManyDecisions, domain.CodeNotProvable,
	}
}

// masked replaces a value of a filter that identifies a person: the record of a read says
// only that it was given.
func masked(value string) string {
	if value == "" {
		return ""
	}
	return "given"
}
