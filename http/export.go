package http

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

type exportInput struct {
	StateOfConsents
	SubjectID string `query:"subject_id" format:"uuid" doc:"Only consents of this person."`
	Counting  string `query:"counting" enum:"true,false" doc:"true: for each purpose only the decision that counts, which is the one in force, otherwise the newest that was not annulled. Give subject_id, too."`
	Format    string `query:"format" enum:"json,csv,ndjson" default:"json"`
}

// StateOfConsents holds the parameters of every question about the state of a
// municipality's consents. It is exported for huma, see Paging.
type StateOfConsents struct {
	AsOf          moment `query:"as_of" doc:"The state at this instant; default: now, named in the answer as the last instant at which anything changed."`
	KnownAt       moment `query:"known_at" doc:"As known at this instant; default: now."`
	Position      int64  `query:"position" minimum:"1" doc:"As known at this position of an earlier answer; with its as_of, the same bytes again."`
	Purpose       string `query:"purpose" doc:"Only consents to this purpose."`
	NoticeVersion int    `query:"notice_version" minimum:"1" doc:"Only decisions on this version of the wording."`
	Status        string `query:"status" enum:"granted,refused,withdrawn,expired,lapsed,annulled" doc:"Only what had become this by then. A grant that a newer one superseded stays granted, but is not in_force."`
	Channel       string `query:"channel" enum:"web,counter,phone,whatsapp,ussd,paper" doc:"Only decisions that came this way."`
	Language      string `query:"language" enum:"en,zu,af" doc:"Only decisions on a wording in this language."`
	GivenFrom     moment `query:"given_from" doc:"Only decisions given at this instant or later."`
	GivenTo       moment `query:"given_to" doc:"Only decisions given before this instant."`
}

// question returns what is asked for, and the faults in it. Its moment is still to be
// resolved.
func (in *StateOfConsents) question(f *domain.Faults) reports.ReplayQuery {
	if in.Position != 0 && !in.KnownAt.IsZero() {
		f.Add("position", "invalid", "Give position or known_at, not both.")
	}

	q := reports.ReplayQuery{ConsentFilter: projections.ConsentFilter{
		Status: domain.Status(in.Status),
		DecisionFilter: projections.DecisionFilter{
			Purpose: tidied(f, "purpose", in.Purpose, domain.CanonicalPurposeCode), NoticeVersion: in.NoticeVersion,
			Language: domain.Language(in.Language), Channel: domain.Channel(in.Channel),
			GivenFrom: in.GivenFrom.Time, GivenTo: in.GivenTo.Time,
		},
	}}
	q.Check(f)
	return q
}

// resolve completes a question that can be asked with the moment that it is about.
func (s *server) resolve(
	ctx context.Context, call commands.Call, in *StateOfConsents, q *reports.ReplayQuery,
) error {
	if err := s.known(ctx, call, *q); err != nil {
		return err
	}

	about, err := s.config.Reports.Resolve(ctx, call.Tenant, in.AsOf.Time, in.KnownAt.Time, in.Position)
	q.Position, q.At = about.Position, about.At
	return err
}

// known refuses a question about a purpose or a person that never was, which would
// otherwise be answered as one about something that nobody decided.
func (s *server) known(ctx context.Context, call commands.Call, q reports.ReplayQuery) error {
	if q.Purpose != "" {
		if err := s.config.Commands.KnownPurpose(ctx, call.Tenant, q.Purpose); err != nil {
			return err
		}
	}
	if !q.Subject.IsZero() {
		if err := s.config.Commands.KnownPerson(ctx, call.Tenant, q.Subject); err != nil {
			return err
		}
	}
	return nil
}

type exportOutput struct {
	Position    string `header:"Event-Position" doc:"The log position that the export was made at."`
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        func(huma.Context)
}

// exportsAtOnce is how many exports may run at the same time: each holds a connection and
// a snapshot while it streams.
const exportsAtOnce = 4

// export streams the state of the tenant's consents, replayed from events, in constant
// memory.
func (s *server) export(ctx context.Context, call commands.Call, in *exportInput) (*exportOutput, error) {
	var f domain.Faults
	q := in.question(&f)
	q.Subject.UUID = optionalID(&f, "subject_id", in.SubjectID)
	if q.Counting = in.Counting == "true"; q.Counting && in.SubjectID == "" {
		f.Add("subject_id", "required", "Say whose decisions count: counting is about one person.")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	if err := s.resolve(ctx, call, &in.StateOfConsents, &q); err != nil {
		return nil, err
	}
	municipality, err := s.codeOf(ctx, call)
	if err != nil {
		return nil, err
	}

	release, err := begin(s.exports, "exports")
	if err != nil {
		return nil, err // nothing was read
	}
	if err := s.recordExport(ctx, call, q); err != nil {
		release()
		return nil, err
	}

	of := ConsentDocument{Format: Format(in.Format), Municipality: municipality, Position: q.Position, AsOf: q.At}
	out := &exportOutput{
		Position: position(q.Position), ContentType: of.Format.mediaType(),
		Disposition: fmt.Sprintf(`attachment; filename="consents-%d.%s"`, q.Position, of.Format),
	}
	out.Body = func(c huma.Context) {
		defer release()
		_, w := humachi.Unwrap(c)
		s.stream(ctx, call, q, of, w)
	}
	return out, nil
}

// codeOf returns the code of the caller's municipality.
func (s *server) codeOf(ctx context.Context, call commands.Call) (string, error) {
	if code := call.Municipality().Code; code != "" {
		return code, nil
	}
	return s.config.Commands.CodeOf(ctx, call.Tenant)
}

// recordExport records a read of everybody whom the filter covers, or of the one person
// asked about.
func (s *server) recordExport(ctx context.Context, call commands.Call, q reports.ReplayQuery) error {
	if q.Subject.IsZero() {
		return s.recordReadOfAll(ctx, call, "consents", q.Named())
	}
	return s.recordRead(ctx, call, "consents", q.Named(), q.Subject)
}

// begin lets one more of its kind run, until it is released.
func begin(running chan struct{}, kind string) (release func(), err error) {
	select {
	case running <- struct{}{}:
		return func() { <-running }, nil
	default:
		return nil, domain.Refuse(domain.CodeOverloaded, "Too many %s are running; try again later.", kind)
	}
}

// stream writes the export. A failure before the first byte is a problem like any other;
// after it, only cutting the connection can show it.
func (s *server) stream(
	ctx context.Context, call commands.Call, q reports.ReplayQuery, of ConsentDocument, w http.ResponseWriter,
) {
	ctx, renew, end := s.eachPage(ctx)
	defer end()
	q.Page = renew

	out := &progress{to: w, renew: renew}
	err := s.replay(ctx, call, q, of, out)
	switch {
	case err == nil:
	case !out.began:
		s.refuse(ctx, w, err)
	default:
		s.log(ctx, slog.LevelWarn, "an export was cut off", err)
		cut(w)
	}
}

// refuse answers with a problem, and drops the headers that were set for a success.
func (s *server) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	for _, name := range []string{headerPosition, headerLog, "Content-Disposition"} {
		w.Header().Del(name)
	}
	s.problemOf(ctx, err, nil).write(w)
}

func (s *server) replay(
	ctx context.Context, call commands.Call, q reports.ReplayQuery, of ConsentDocument, w io.Writer,
) error {
	x, err := NewConsentExport(w, of)
	if err != nil {
		return err
	}

	err = s.config.Reports.Replay(ctx, call.Tenant, q, func(c domain.Decided) error { return x.Write(c, Revealed{}) })
	if err != nil {
		return err
	}
	return x.Close()
}

// progress renews an export's time for a page whenever the client has taken a piece.
type progress struct {
	to    io.Writer
	renew func()
	began bool
}

// Write implements io.Writer.
func (p *progress) Write(b []byte) (int, error) {
	p.began = true
	n, err := p.to.Write(b)
	p.renew()
	return n, err
}
