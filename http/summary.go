package http

import (
	"context"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// countsAtOnce is how many counts may run at the same time: one of a distant past folds
// as many events as an export.
const countsAtOnce = 4

type summaryInput struct {
	StateOfConsents
	By []projections.Dimension `query:"by" required:"true" minItems:"1" uniqueItems:"true" enum:"purpose,notice_version,language,channel,status" doc:"What to count by, separated by commas; the items come in this order." example:"purpose,status"`
}

type summaryOutput struct {
	Position string `header:"Event-Position" doc:"The log position that the counts were made at."`
	Body     struct {
		Position int64                   `json:"position" doc:"As known at this position." example:"1050"`
		AsOf     *instant                `json:"as_of" nullable:"true" doc:"The state at this instant: as requested, otherwise the last at which anything changed; null: at the end of what was known."`
		By       []projections.Dimension `json:"by" nullable:"false" enum:"purpose,notice_version,language,channel,status" doc:"As requested."`
		Items    []countedBody           `json:"items" nullable:"false" doc:"One for each combination that occurs."`
		Count    int64                   `json:"count" doc:"Of all items." example:"1204"`
	} `nameHint:"ConsentSummary"`
}

// countedBody counts consents that are alike in what was asked for. What only a claim can
// lack, because its source does not know it, is absent.
type countedBody struct {
	Purpose       string          `json:"purpose,omitempty" example:"sms_alert"`
	NoticeVersion int             `json:"notice_version,omitempty" doc:"Absent although asked for: not known, of claims."`
	Language      domain.Language `json:"language,omitempty" enum:"en,zu,af" doc:"As notice_version."`
	Channel       domain.Channel  `json:"channel,omitempty" enum:"web,counter,phone,whatsapp,ussd,paper" doc:"As notice_version."`
	Status        domain.Status   `json:"status,omitempty" enum:"granted,refused,withdrawn,expired,lapsed,annulled" example:"granted"`
	Count         int64           `json:"count" example:"1204"`
}

func countedOf(c reports.Counted) countedBody {
	return countedBody{
		Purpose: c.Purpose, NoticeVersion: c.NoticeVersion, Language: c.Language, Channel: c.Channel,
		Status: c.Status, Count: c.Count,
	}
}

// countConsents counts what an export would list. Counts are about no person, so this is
// not recorded as a read.
func (s *server) countConsents(ctx context.Context, call commands.Call, in *summaryInput) (*summaryOutput, error) {
	var f domain.Faults
	q := in.question(&f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	if err := s.resolve(ctx, call, &in.StateOfConsents, &q); err != nil {
		return nil, err
	}

	release, err := begin(s.counts, "counts")
	if err != nil {
		return nil, err
	}
	defer release()

	counted, err := s.config.Reports.Summary(ctx, call.Tenant, q, in.By)
	if err != nil {
		return nil, err
	}

	out := &summaryOutput{Position: position(q.Position)}
	b := &out.Body
	b.Position, b.AsOf, b.By, b.Items = q.Position, instantOrNull(q.At), in.By, each(counted, countedOf)
	for _, item := range counted {
		b.Count += item.Count
	}
	return out, nil
}
