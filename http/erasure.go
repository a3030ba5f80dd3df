package http

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// CertificateBody is proof of an erasure. Nothing in it identifies anybody. It is
// exported for huma, see Paging.
type CertificateBody struct {
	CertificateID  uuid.UUID     `json:"certificate_id" format:"uuid"`
	TenantID       uuid.UUID     `json:"tenant_id" format:"uuid"`
	SubjectID      uuid.UUID     `json:"subject_id" format:"uuid" doc:"The id that history keeps; identifies nobody."`
	ErasedAt       instant       `json:"erased_at"`
	Position       int64         `json:"position" doc:"Log position of the erasure." example:"1043"`
	Cause          string        `json:"cause" enum:"self,request"`
	RequestID      *uuid.UUID    `json:"request_id" nullable:"true" format:"uuid" doc:"The fulfilled request; null: the person did it themselves."`
	NoSecondPerson bool          `json:"no_second_person" doc:"true: one account both lodged the request and carried it out, as the municipality had no other active manager or admin." example:"false"`
	Keys           []uuid.UUID   `json:"keys" nullable:"false" format:"uuid" doc:"Ids of the destroyed keys."`
	Destroyed      []remnantBody `json:"destroyed" nullable:"false"`
	Kept           []remnantBody `json:"kept" nullable:"false"`
}

// remnantBody is something that was destroyed or kept, and why.
type remnantBody struct {
	What domain.Remnant `json:"what" enum:"profile,free_text,origins,credentials,sessions,consents,audit,statistics"`
	Why  string         `json:"why" example:"Name, e-mail address and phone number, now and ever: unreadable, because their key is gone (POPIA s14(4))."`
}

func remnantOf(r domain.Remnant) remnantBody { return remnantBody{What: r, Why: whyOf(r)} }

// whyOf says in a sentence what becomes of something at an erasure.
func whyOf(r domain.Remnant) string {
	return map[domain.Remnant]string{
		domain.RemnantProfile: "Name, e-mail address and phone number, now and ever: unreadable, because their " +
			"key is gone (POPIA s14(4)).",
		domain.RemnantFreeText: "Reasons, details, references to evidence, competent persons: unreadable, " +
			"because their key is gone.",
		domain.RemnantOrigins: "Network addresses and programs this person came from: unreadable, because their " +
			"key is gone.",
		domain.RemnantCredentials: "The password's hash and the claim on the e-mail address: deleted; the address " +
			"may register again.",
		domain.RemnantSessions: "All sessions: ended.",
		domain.RemnantConsents: "That somebody agreed to what, when and in which words: proof the municipality " +
			"has to keep (POPIA s11(2)(a)). It names nobody.",
		domain.RemnantAudit: "That somebody did what and when: a record of processing (POPIA s14(1), s17, " +
			"s19). It names nobody.",
		domain.RemnantStatistics: "Counts, which identify nobody (POPIA s14(2)).",
	}[r]
}

func certificateBodyOf(a commands.Answer[commands.Certificate]) CertificateBody {
	c := a.Value
	return CertificateBody{
		CertificateID: c.ID, TenantID: c.Tenant.UUID, SubjectID: c.Subject.UUID, ErasedAt: instant(c.ErasedAt),
		Position: a.Position, Cause: c.Cause, RequestID: idOrNull(c.Request.UUID), NoSecondPerson: c.NoSecondPerson,
		Keys: c.Keys, Destroyed: each(c.Destroyed, remnantOf), Kept: each(c.Kept, remnantOf),
	}
}

// eraseInput has a body that may be missing: a client that sends none with DELETE is told
// what is required.
type eraseInput struct {
	Body *eraseBody
}

type eraseBody struct {
	Confirmation string `json:"confirmation" doc:"Must be DELETE MY ACCOUNT." example:"DELETE MY ACCOUNT"`
	Password     string `json:"password" example:"correct horse battery"`
}

type eraseOutput struct {
	Position string `header:"Event-Position"`
	Body     erasureBody
}

// erasureBody is a certificate, with the progress of the read tables.
type erasureBody struct {
	CertificateBody
	ReadTables map[string]string `json:"read_tables" doc:"By table: done, or pending (done within moments)." example:"{\"users\":\"done\"}"`
}

// eraseMe erases the caller. Only an attempt with the right password counts against the
// limit of one a day.
func (s *server) eraseMe(ctx context.Context, call commands.Call, in *eraseInput) (*eraseOutput, error) {
	if in.Body == nil {
		in.Body = &eraseBody{}
	}

	gate := s.gates[erasureRate].person
	if err := s.pass(ctx, gate, call.User.String()); err != nil {
		return nil, err
	}

	a, err := s.config.Commands.EraseMe(ctx, call,
		commands.EraseMe{Confirmation: in.Body.Confirmation, Password: in.Body.Password})
	if unproven(err) {
		s.giveBack(ctx, gate, call.User.String())
	}
	if err != nil {
		return nil, err
	}

	out := &eraseOutput{
		Position: position(a.Position),
		Body:     erasureBody{CertificateBody: certificateBodyOf(a), ReadTables: map[string]string{}},
	}
	for _, table := range []string{"users", "consents"} {
		out.Body.ReadTables[table] = "done"
		if s.config.Queries.WaitFor(ctx, table, a.Position) != nil {
			out.Body.ReadTables[table] = "pending"
		}
	}
	return out, nil
}

// unproven reports whether an erasure failed before its password was found to be right.
func unproven(err error) bool {
	if _, limited := errors.AsType[*problem](err); limited {
		return true
	}
	e, refused := errors.AsType[*domain.Error](err)
	before := []domain.Code{domain.CodeInvalid, domain.CodePasswordWrong, domain.CodeOverloaded}
	return refused && slices.Contains(before, e.Code)
}

type certificatesInput struct {
	Paging

	TenantID string `query:"tenant_id" doc:"Your own; SALGA's admins may name another, or omit it for all."`
}

type certificatesOutput struct {
	Body listBody[CertificateBody]
}

// certificates lists the certificates of erasures, newest first: to compare them after a
// restore.
func (s *server) certificates(
	ctx context.Context, call commands.Call, in *certificatesInput,
) (*certificatesOutput, error) {
	scope, err := auditScope(ctx, call, in.TenantID)
	if err != nil {
		return nil, err
	}
	list, err := s.config.Reports.Certificates(ctx, scope, in.page())
	if err != nil {
		return nil, err
	}

	out := certificatesOutput{Body: listBody[CertificateBody]{Items: []CertificateBody{}, Next: orNull(list.Next)}}
	for _, id := range list.Items {
		a, err := s.config.Commands.Certificate(ctx, id)
		if err != nil {
			return nil, err
		}
		out.Body.Items = append(out.Body.Items, certificateBodyOf(a))
	}
	return &out, nil
}

type certificateInput struct {
	ID string `path:"id"`
}

type certificateOutput struct {
	Body CertificateBody
}

// certificate returns the certificate of an erasure to anybody who knows its id: the
// erased person has no account any more.
func (s *server) certificate(ctx context.Context, _ commands.Call, in *certificateInput) (*certificateOutput, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}
	a, err := s.config.Commands.Certificate(ctx, id)
	if err != nil {
		return nil, err
	}
	return &certificateOutput{Body: certificateBodyOf(a)}, nil
}
