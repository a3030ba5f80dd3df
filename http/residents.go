package http

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// ExternalID is a number by which the municipality's other systems know a person. It is
// exported for huma.
type ExternalID struct {
	Type  string `json:"type" says:"enum=municipal_account|meter|other" example:"meter"`
	Value string `json:"value" doc:"Letter case, blanks and hyphens do not matter." example:"04123456789"`
}

func externalIDOf(x domain.ExternalID) ExternalID {
	return ExternalID{Type: string(x.Type), Value: x.Value}
}

func externalIDs(list []ExternalID) []domain.ExternalID {
	return each(list, func(x ExternalID) domain.ExternalID {
		return domain.ExternalID{Type: domain.ExternalIDType(x.Type), Value: x.Value}
	})
}

// residentOf is userOf with what only staff and the person themselves see.
func residentOf(r domain.Resident) userBody {
	b := userOf(r.User)
	b.ExternalIDs = each(r.ExternalIDs, externalIDOf)
	b.Merged = each(r.Merged, func(id domain.UserID) uuid.UUID { return id.UUID })
	return b
}

func residentAnswer(a commands.Answer[domain.Resident], err error) (*userChanged, error) {
	if err != nil {
		return nil, err
	}
	return &userChanged{ETag: etag(a.Value.Version), Position: position(a.Position), Body: residentOf(a.Value)}, nil
}

type recordResidentInput struct {
	Body struct {
		FullName          string       `json:"full_name" says:"min=2;max=100" example:"Thandi Dlamini"`
		Phone             string       `json:"phone,omitempty" doc:"E.164 or South African national format." example:"082 123 4567"`
		Email             string       `json:"email,omitempty" says:"max=254" doc:"An address to write to. It is not proven and nobody signs in with it, so other people may have the same."`
		PreferredLanguage string       `json:"preferred_language,omitempty" minLength:"1" says:"enum=en|zu|af" doc:"Default: en." example:"zu"`
		ExternalIDs       []ExternalID `json:"external_ids,omitempty" nullable:"false" doc:"Each belongs to one person of your municipality. Give at least one of phone, email and external_ids."`
	} `nameHint:"RecordResidentBody"`
}

func (s *server) recordResident(
	ctx context.Context, call commands.Call, in *recordResidentInput,
) (*userChanged, error) {
	b := in.Body
	a, err := s.config.Commands.RecordResident(ctx, call, commands.RecordResident{
		FullName: b.FullName, Phone: b.Phone, Email: b.Email,
		PreferredLanguage: domain.Language(b.PreferredLanguage), ExternalIDs: externalIDs(b.ExternalIDs),
	})
	return residentAnswer(a, s.recordTaken(ctx, call, err))
}

type changeResidentInput struct {
	ID   string `path:"id"`
	Body struct {
		FullName          *string      `json:"full_name,omitempty" says:"min=2;max=100" example:"Thandi Zulu"`
		Phone             clearable    `json:"phone,omitzero" doc:"E.164 or South African national format; null or empty removes it."`
		Email             clearable    `json:"email,omitzero" doc:"null or empty removes it."`
		PreferredLanguage *string      `json:"preferred_language,omitempty" says:"enum=en|zu|af"`
		AddExternalIDs    []ExternalID `json:"add_external_ids,omitempty" nullable:"false"`
		RemoveExternalIDs []ExternalID `json:"remove_external_ids,omitempty" nullable:"false"`
	} `nameHint:"ChangeResidentBody"`
}

func (s *server) changeResident(
	ctx context.Context, call commands.Call, in *changeResidentInput,
) (*userChanged, error) {
	id, err := oneUserInput{in.ID}.user()
	if err != nil {
		return nil, err
	}

	b := in.Body
	a, err := s.config.Commands.ChangeResident(ctx, call, commands.ChangeResident{
		User: id, FullName: b.FullName, Phone: b.Phone.pointer(), Email: b.Email.pointer(),
		PreferredLanguage: (*domain.Language)(b.PreferredLanguage),
		Add:               externalIDs(b.AddExternalIDs), Remove: externalIDs(b.RemoveExternalIDs),
	})
	return residentAnswer(a, s.residentRefused(ctx, call, a, id, err))
}

// residentRefused records what a change reveals although it was refused or changed
// nothing.
func (s *server) residentRefused(
	ctx context.Context, call commands.Call, a commands.Answer[domain.Resident], id domain.UserID, err error,
) error {
	err = s.recordRefusal(ctx, call, s.recordTaken(ctx, call, err), "profile", id)
	return recordUnchanged(ctx, s, call, a, err, "profile", func(r domain.Resident) domain.UserID { return r.ID })
}

// recordTaken records a read of the person whom a refusal names. It returns the refusal.
func (s *server) recordTaken(ctx context.Context, call commands.Call, refusal error) error {
	e, is := errors.AsType[*domain.Error](refusal)
	if !is || e.Code != domain.CodeExternalIDTaken {
		return refusal
	}
	if err := s.recordHourly(ctx, call, "profile", nil, e.SubjectID); err != nil {
		return err
	}
	return refusal
}

// resident returns one person as staff look after them, from the log.
func (s *server) resident(ctx context.Context, call commands.Call, in *oneUserInput) (*userOutput, error) {
	id, err := in.user()
	if err != nil {
		return nil, err
	}

	a, err := s.config.Commands.Resident(ctx, call.Tenant, id)
	if err != nil {
		return nil, err
	}

	if err := s.recordRead(ctx, call, "profile", nil, a.Value.ID); err != nil {
		return nil, err
	}
	return &userOutput{ETag: etag(a.Value.Version), Body: residentOf(a.Value)}, nil
}

type mergeInput struct {
	ID   string `path:"id"`
	Body struct {
		Into     string        `json:"into" says:"format=uuid" doc:"The record that goes on." example:"019c0000-0000-7000-8000-000000000001"`
		Reason   string        `json:"reason,omitempty" example:"one meter, one identity card"`
		Evidence *evidenceBody `json:"evidence,omitempty"`
	} `nameHint:"MergeBody"`
}

func (s *server) mergeResidents(ctx context.Context, call commands.Call, in *mergeInput) (*userChanged, error) {
	id, err := oneUserInput{in.ID}.user()
	if err != nil {
		return nil, err
	}
	var f domain.Faults
	into := domain.UserID{UUID: optionalID(&f, "into", in.Body.Into)}
	if err := f.Err(); err != nil {
		return nil, err
	}

	c := commands.MergeResidents{From: id, Into: into, Reason: in.Body.Reason, Evidence: in.Body.Evidence.evidence()}
	a, err := s.config.Commands.MergeResidents(ctx, call, c)
	return residentAnswer(a, s.recordRefusal(ctx, call, err, "profile", id))
}

type unmergeInput struct {
	ID   string `path:"id"`
	Body *struct {
		Reason   string        `json:"reason,omitempty" example:"mother and daughter of one name"`
		Evidence *evidenceBody `json:"evidence,omitempty"`
	} `nameHint:"UnmergeBody"`
}

func (s *server) unmergeResidents(ctx context.Context, call commands.Call, in *unmergeInput) (*userChanged, error) {
	id, err := oneUserInput{in.ID}.user()
	if err != nil {
		return nil, err
	}

	c := commands.UnmergeResidents{From: id}
	if in.Body != nil {
		c.Reason, c.Evidence = in.Body.Reason, in.Body.Evidence.evidence()
	}
	a, err := s.config.Commands.UnmergeResidents(ctx, call, c)
	return residentAnswer(a, s.recordRefusal(ctx, call, err, "profile", id))
}

func (b *evidenceBody) evidence() *domain.Evidence {
	if b == nil {
		return nil
	}
	return &domain.Evidence{SHA256: b.SHA256, Reference: b.Reference}
}

type signInCodeInput struct {
	ID   string `path:"id"`
	Body struct {
		IdentityDocument string `json:"identity_document" says:"max=500" doc:"Which document of theirs you have seen; kept sealed." example:"ID card, number ending in 083"`
	} `nameHint:"SignInCodeBody"`
}

// issueSignInCode hands out a code with which a recorded person gets an account.
func (s *server) issueSignInCode(
	ctx context.Context, call commands.Call, in *signInCodeInput,
) (*codeOutput, error) {
	id, err := oneUserInput{in.ID}.user()
	if err != nil {
		return nil, err
	}

	a, err := s.config.Commands.IssueSignInCode(ctx, call, commands.IssueSignInCode{
		User: id, IdentityDocument: in.Body.IdentityDocument,
	})
	if err != nil {
		return nil, s.recordRefusal(ctx, call, err, "profile", id)
	}

	made := codeBody{Code: a.Value.Text.String(), ExpiresAt: instant(a.Value.ExpiresAt)}
	return &codeOutput{Position: position(a.Position), Body: made}, nil
}

// externalIDAsked reads TYPE:VALUE, in the form in which it is claimed. Without it, the
// result is zero.
func externalIDAsked(f *domain.Faults, text string) domain.ExternalID {
	if text == "" {
		return domain.ExternalID{}
	}

	kind, value, _ := strings.Cut(text, ":")
	x := domain.ExternalID{Type: domain.ExternalIDType(kind), Value: domain.CanonicalExternalID(value)}

	var own domain.Faults
	own.ExternalID("external_id", x)
	if own.Err() != nil {
		f.Add("external_id", "invalid", "Give TYPE:VALUE, where TYPE is municipal_account, meter or other.")
	}
	return x
}
