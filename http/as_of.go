package http

import (
	"context"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

type asOfInput struct {
	Paging
	StateOfConsents

	SubjectID string `query:"subject_id" format:"uuid" doc:"Only consents of this person."`
}

type asOfOutput struct {
	Position string `header:"Event-Position" doc:"The log position that the list was made at."`
	Body     struct {
		Position int64         `json:"position" doc:"As known at this position; the same on every page." example:"1050"`
		AsOf     *instant      `json:"as_of" nullable:"true" doc:"The state at this instant: as requested, otherwise the last at which anything changed; null: at the end of what was known. The same on every page."`
		Items    []consentBody `json:"items" nullable:"false" doc:"Person by person in order of their ids, each by given_at."`
		Next     *string       `json:"next" doc:"Pass as after for the next page, with the same filters but without as_of, known_at and position, which it keeps; null: this is the last."`
	} `nameHint:"ConsentsAsOf"`
}

// listAsOf returns a page of what an export holds, and records a read of the people on
// it.
func (s *server) listAsOf(ctx context.Context, call commands.Call, in *asOfInput) (*asOfOutput, error) {
	var f domain.Faults
	q := in.question(&f)
	q.Subject.UUID = optionalID(&f, "subject_id", in.SubjectID)
	in.checkMoment(&f)
	err := f.Err()
	if err != nil {
		return nil, err
	}

	if in.After == "" {
		err = s.resolve(ctx, call, &in.StateOfConsents, &q)
	} else {
		err = s.known(ctx, call, q)
	}
	if err != nil {
		return nil, err
	}

	list, err := s.config.Reports.ReplayPage(ctx, call.Tenant, q, in.page())
	if err != nil {
		return nil, err
	}
	q.Position, q.At = list.Position, list.At

	people := each(list.Items, func(d domain.Decided) domain.UserID { return d.Subject })
	if err := s.recordRead(ctx, call, "consents", q.Named(), people...); err != nil {
		return nil, err
	}

	out := &asOfOutput{Position: position(q.Position)}
	out.Body.Position, out.Body.AsOf = q.Position, instantOrNull(q.At)
	out.Body.Items, out.Body.Next = each(list.Items, consentOf), orNull(list.Next)
	return out, nil
}

// checkMoment refuses a moment beside a cursor, which has one: an answer about one of the
// two would be taken for an answer about the other.
func (in *asOfInput) checkMoment(f *domain.Faults) {
	if in.After == "" {
		return
	}

	for field, given := range map[string]bool{
		"as_of": !in.AsOf.IsZero(), "known_at": !in.KnownAt.IsZero(), "position": in.Position != 0,
	} {
		if given {
			f.Add(field, "invalid", "Leave this out with after, which keeps what the first page was about.")
		}
	}
}
