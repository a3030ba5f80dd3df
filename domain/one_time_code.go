package domain

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
)

// CodeKind is what a one-time code is good for. A user has at most one of each kind: a
// new one replaces the former.
type CodeKind string

// The kinds of one-time codes.
const (
	// PasswordResetCode is redeemed for a new password.
	PasswordResetCode CodeKind = "password_reset"
	// SignInCode is redeemed by a resident without an account for one: with an e-mail
	// address, a password and the consent that an account rests on.
	SignInCode CodeKind = "sign_in"
	// EmailVerificationCode proves that its owner reads what is sent to the account's
	// address.
	EmailVerificationCode CodeKind = "email_verification"
)

// How a code reached the person it is for.
const (
	CodeByEmail    = "email"    // sent to the account's address
	CodeByStaff    = "staff"    // handed over by somebody who saw an identity document
	CodeByOperator = "operator" // the same, on the server
)

// Events of a user's stream about one-time codes. None holds a code or a part of one.
type (
	// CodeIssue is what the issues of all kinds of codes have in common. The event's
	// actor is whoever handed it over.
	CodeIssue struct {
		CodeID    uuid.UUID               `json:"code_id"`
		Channel   string                  `json:"channel"` // CodeByEmail, CodeByStaff or CodeByOperator
		ExpiresAt time.Time               `json:"expires_at"`
		Private   Personal[IdentityFacts] `json:"-"` // absent if it was sent by e-mail
	}
	// IdentityFacts say how it was known that the person is who they claim to be.
	IdentityFacts struct {
		IdentityDocument string `json:"identity_document"`
	}
	// ResetCodeIssued says that there is a code for a new password.
	ResetCodeIssued struct{ CodeIssue }
	// SignInCodeIssued says that there is a code for a first password.
	SignInCodeIssued struct{ CodeIssue }
	// EmailVerificationBegun says that a code was sent to the account's address.
	EmailVerificationBegun struct {
		CodeID    uuid.UUID `json:"code_id"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	// EmailVerified says that the code came back, so that the address is theirs. It says
	// so of the address that the account has now; a new one is not verified.
	EmailVerified struct {
		CodeID uuid.UUID `json:"code_id"`
	}
)

// EventType implements Event.
func (*ResetCodeIssued) EventType() string { return "user.reset_code_issued.v1" }

// EventType implements Event.
func (*SignInCodeIssued) EventType() string { return "user.sign_in_code_issued.v1" }

// EventType implements Event.
func (*EmailVerificationBegun) EventType() string { return "user.email_verification_begun.v1" }

// EventType implements Event.
func (*EmailVerified) EventType() string { return "user.email_verified.v1" }

func (i *CodeIssue) personal() Part { return &i.Private }

func (e *EmailVerified) changes() []FieldChange {
	return append(fieldsOf(e), turned("email_verified", true))
}

// OneTimeCode is a code as the command side keeps it. It is not history: it is gone once
// it is spent, replaced, or what its user signs in with has changed otherwise.
type OneTimeCode struct {
	ID        uuid.UUID // as the event of its issue names it; zero: there is no such code
	Tenant    TenantID
	User      UserID
	Kind      CodeKind
	Digest    [32]byte // of the whole code
	ExpiresAt time.Time
	Wrong     int // codes that began like it and were wrong
}

const (
	// CodeLasts is how long a code can be redeemed: long enough to walk home from the
	// counter, or for a slow mail server.
	CodeLasts = 15 * time.Minute
	// MaxWrongTries is how many wrong codes use a code up.
	MaxWrongTries = 5
)

// Usable reports whether a code could still be redeemed.
func (c OneTimeCode) Usable(now time.Time) bool {
	return c.ID != uuid.Nil && now.Before(c.ExpiresAt) && c.Wrong < MaxWrongTries
}

// CodeText is a one-time code as a person holds it. Its first half finds the code, which
// tries are then counted against; the second half is the secret. 40 random bits are in
// each, so that somebody who has seen the first half and has five tries finds the second
// with a chance of one in two hundred thousand million.
//
// It is Crockford's base 32: letters that look or sound like another or like a digit are
// left out, and read as that when somebody types them all the same.
type CodeText string

const (
	codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	codeHalf     = 8 // characters
	codeGroup    = 4 // characters between hyphens
)

// CodeEntropy is how many random bytes NewCodeText takes.
const CodeEntropy = 2 * codeHalf

// NewCodeText returns the code that random bytes make.
func NewCodeText(random [CodeEntropy]byte) CodeText {
	var text [CodeEntropy]byte
	for i, b := range random {
		text[i] = codeAlphabet[int(b)%len(codeAlphabet)] // 32 divides 256: none is likelier
	}
	return CodeText(text[:])
}

// ParseCodeText reads a code as somebody typed it: in any letter case, in any groups. It
// returns an empty one for what cannot be a code.
func ParseCodeText(typed string) CodeText {
	if Oversize(typed, maxTypedCode) {
		return ""
	}

	apart := func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) }
	tidy := strings.Join(strings.FieldsFunc(strings.ToUpper(typed), apart), "")
	tidy = strings.NewReplacer("O", "0", "I", "1", "L", "1").Replace(tidy)

	stray := func(r rune) bool { return !strings.ContainsRune(codeAlphabet, r) }
	if len(tidy) != CodeEntropy || strings.ContainsFunc(tidy, stray) {
		return ""
	}
	return CodeText(tidy)
}

// maxTypedCode is the longest text that is looked at: a code with a blank after each
// character is shorter.
const maxTypedCode = 64

// FirstHalf returns the half that finds the code.
func (c CodeText) FirstHalf() string { return string(c[:codeHalf]) }

// String returns the code as it is shown: in groups that can be read out.
func (c CodeText) String() string {
	var groups []string
	for group := range slices.Chunk([]byte(c), codeGroup) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, "-")
}

// InvalidCode is the one answer to every code that cannot be redeemed, whatever the
// reason: what is known about somebody's code is not for whoever guesses.
func InvalidCode() *Error {
	return Refuse(CodeCodeInvalid, "This code is wrong, was used, replaced or tried too often, or has expired: "+
		"ask for a new one.")
}

// IssueResetCode asks for a code with which somebody else can set a new password.
type IssueResetCode struct {
	By               Role   // of whoever hands it over; RoleSystem for an operator
	IdentityDocument string // that they have seen
}

// Decide refuses what must not be. hasSignIn is whether the user has anything to sign in
// with. Errors: validation_failed, forbidden, subject_erased, account_inactive,
// no_sign_in.
func (c IssueResetCode) Decide(u User, hasSignIn bool) (IdentityFacts, error) {
	facts, err := identified(c.IdentityDocument)
	if err != nil {
		return facts, err
	}

	switch {
	case !mayResetFor(c.By, u.Role):
		return facts, Refuse(CodeForbidden, "Somebody with a higher role must hand this person a code.")
	case u.Erased:
		return facts, Refuse(CodeSubjectErased, "This person's data was erased.")
	case !u.Active:
		return facts, Refuse(CodeAccountInactive, "This account is not active.")
	case !hasSignIn:
		return facts, Refuse(CodeNoSignIn, "This person has nothing to sign in with yet.")
	default:
		return facts, nil
	}
}

// mayResetFor reports whether staff of a role may hand a code to somebody of another:
// whoever gets one can act in that role. Field workers, who meet residents only, may not
// do so for each other.
func mayResetFor(by, of Role) bool {
	switch by {
	case FieldWorker:
		return of == Citizen
	case Manager:
		return of == Citizen || of == FieldWorker || of == Manager
	case Admin, RoleSystem:
		return true
	default:
		return false
	}
}

// identified checks the document that was seen.
func identified(document string) (IdentityFacts, error) {
	document = TidyText(document)

	var f Faults
	if document == "" {
		f.Add("identity_document", "required",
			"Say which identity document you have seen, such as: ID card, number ending in 083.")
	}
	f.Text("identity_document", document, MaxReference)
	return IdentityFacts{IdentityDocument: document}, f.Err()
}
