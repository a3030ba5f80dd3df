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
	"github.com/salga-trust/engine/projections/reports"
)

type exportInput struct {
	AsOf     moment `query:"as_of" doc:"The state at this instant; default: now, named in the answer as the last instant at which anything changed."`
	KnownAt  moment `query:"known_at" doc:"As known at this instant; default: now."`
	Position int64  `query:"position" minimum:"1" doc:"As known at this position of an earlier answer; with its as_of, the same bytes again."`
	Purpose  string `query:"purpose" doc:"Only consents to this purpose."`
	Format   string `query:"format" enum:"json,csv,ndjson" default:"json"`
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

// export streams the state of all consents of the tenant, replayed from events, in
// constant memory.
func (s *server) export(ctx context.Context, call commands.Call, in *exportInput) (*exportOutput, error) {
	q := reports.ReplayQuery{Purpose: domain.CanonicalPurposeCode(in.Purpose)}
	if q.Purpose != "" {
		if err := s.config.Commands.KnownPurpose(ctx, call.Tenant, q.Purpose); err != nil {
			return nil, err
		}
	}

	about, err := s.config.Reports.Resolve(ctx, call.Tenant, in.AsOf.Time, in.KnownAt.Time, in.Position)
	if err != nil {
		return nil, err
	}
	q.Position, q.At = about.Position, about.At
	municipality, err := s.config.Commands.CodeOf(ctx, call.Tenant)
	if err != nil {
		return nil, err
	}

	release, err := s.beginExport()
	if err != nil {
		return nil, err // nothing was read
	}
	filter := map[string]string{
		"purpose": q.Purpose, "as_of": printed(instantOrNull(q.At)),
		"position": position(q.Position),
	}
	if err := s.recordReadOfAll(ctx, call, "consents", filter); err != nil {
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

// beginExport lets one more export run, until it is released.
func (s *server) beginExport() (release func(), err error) {
	select {
	case s.exports <- struct{}{}:
		return func() { <-s.exports }, nil
	default:
		return nil, domain.Refuse(domain.CodeOverloaded, "Too many exports are running; try again later.")
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
