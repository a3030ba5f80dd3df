package domain_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

func TestACodeIsReadHoweverItIsTyped(t *testing.T) {
	t.Parallel()
	code := domain.NewCodeText([domain.CodeEntropy]byte{0, 1, 31, 32, 255, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17})
	shown := code.String()
	if shown != "01Z0-Z789-ABCD-EFGH" || code.FirstHalf() != "01Z0Z789" {
		t.Fatalf("shown as %s, whose first half is %s", shown, code.FirstHalf())
	}

	for _, typed := range []string{
		shown, string(code), "01z0z789abcdefgh", " 01Z0 Z789 ABCD EFGH\n", "oIz0–z789-abcd—efgh",
		"0 l z 0 z789 abcd efgh", "01Z0\u00a0Z789-ABCD-EFGH",
	} {
		if got := domain.ParseCodeText(typed); got != code {
			t.Errorf("%q is read as %q", typed, got)
		}
	}
	for _, typed := range []string{
		"", "-", "01Z0-Z789-ABCD-EFG", "01Z0-Z789-ABCD-EFGHJ", "01Z0-Z789-ABCD-EFGU",
		"01Z0_Z789_ABCD_EFGH", "01Z0Z789ABCDEFG\x00",
		"０1Z0-Z789-ABCD-EFGH", "01Z0Z789ABCDEFG\u0130", strings.Repeat("-", 10_000) + shown, "\xff1Z0-Z789-ABCD-EFGH",
	} {
		if got := domain.ParseCodeText(typed); got != "" {
			t.Errorf("%q is read as %q", typed, got)
		}
	}
}

func TestNoSignOfACodeIsLikelierThanAnother(t *testing.T) {
	t.Parallel()
	counts := map[byte]int{}
	for b := range 256 {
		code := domain.NewCodeText([domain.CodeEntropy]byte{byte(b)})
		counts[code[0]]++
	}
	if len(counts) != 32 {
		t.Errorf("%d signs, want 32", len(counts))
	}
	for sign, n := range counts {
		if n != 8 {
			t.Errorf("%c comes of %d bytes, want 8", sign, n)
		}
	}
}

func TestACodeIsUsableFifteenMinutesAndUntilFiveTriesWereWrong(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	code := domain.OneTimeCode{ID: uuid.New(), ExpiresAt: now.Add(domain.CodeLasts), Wrong: 4}
	tried := code
	tried.Wrong = domain.MaxWrongTries

	for name, c := range map[string]struct {
		code domain.OneTimeCode
		at   time.Time
		want bool
	}{
		"at once":            {code, now, true},
		"at the last moment": {code, now.Add(15*time.Minute - time.Microsecond), true},
		"a moment too late":  {code, now.Add(15 * time.Minute), false},
		"tried out":          {tried, now, false},
		"none":               {domain.OneTimeCode{ExpiresAt: now.Add(time.Hour)}, now, false},
	} {
		if got := c.code.Usable(c.at); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestWhoMayHandACodeToWhom(t *testing.T) {
	t.Parallel()
	const system = domain.Role(domain.RoleSystem)
	may := map[domain.Role][]domain.Role{
		domain.FieldWorker: {domain.Citizen},
		domain.Manager:     {domain.Citizen, domain.FieldWorker, domain.Manager},
		domain.Admin:       domain.Roles(),
		system:             domain.Roles(),
	}
	for _, by := range append(domain.Roles(), system) {
		for _, of := range domain.Roles() {
			_, err := domain.IssueResetCode{By: by, IdentityDocument: "ID card"}.Decide(
				domain.User{Role: of, Active: true}, true)
			want := false
			for _, role := range may[by] {
				want = want || role == of
			}
			if (err == nil) != want {
				t.Errorf("%s to %s: %v", by, of, err)
			}
		}
	}
}

func TestACodeIsHandedOnlyToSomebodyWhoCanUseIt(t *testing.T) {
	t.Parallel()
	active, erased := domain.User{Role: domain.Citizen, Active: true}, domain.User{Role: domain.Citizen, Erased: true}
	for name, c := range map[string]struct {
		user      domain.User
		hasSignIn bool
		document  string
		want      domain.Code
	}{
		"no document":     {active, true, " \n", domain.CodeInvalid},
		"a long document": {active, true, strings.Repeat("a", 501), domain.CodeInvalid},
		"an erased one":   {erased, false, "ID card", domain.CodeSubjectErased},
		"a closed one":    {domain.User{Role: domain.Citizen}, true, "ID card", domain.CodeAccountInactive},
		"no sign-in":      {active, false, "ID card", domain.CodeNoSignIn},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := domain.IssueResetCode{By: domain.Admin, IdentityDocument: c.document}.Decide(c.user, c.hasSignIn)
			if !errors.Is(err, domain.Refuse(c.want, "")) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestALetterSaysWhatItIsForInItsReadersLanguage(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, kind := range []domain.CodeKind{domain.PasswordResetCode, domain.EmailVerificationCode} {
		for _, language := range domain.Languages() {
			l := domain.Letter{
				Kind: kind, Language: language, Municipality: "100% !Kheis",
				Code: domain.NewCodeText([domain.CodeEntropy]byte{}),
			}
			text := l.Subject() + "\n" + l.Text()
			if seen[l.Text()] {
				t.Errorf("%s in %s says what another letter says", kind, language)
			}
			seen[l.Text()] = true

			if strings.Count(text, l.Code.String()) != 1 || !strings.Contains(text, "15") ||
				strings.Count(text, "100% !Kheis") != 2 || strings.Contains(text, "%!") {
				t.Errorf("%s in %s:\n%s", kind, language, text)
			}
			for line := range strings.Lines(l.Text()) {
				if n := len([]rune(line)); n > 78 {
					t.Errorf("%s in %s: a line of %d characters", kind, language, n)
				}
			}
		}
	}

	english := domain.Letter{Kind: domain.PasswordResetCode, Language: domain.English}
	unknown := domain.Letter{Kind: domain.PasswordResetCode, Language: "fr"}
	if unknown.Text() != english.Text() {
		t.Error("a letter in a language that there is not is not in English")
	}
}

func TestAnAddressIsVerifiedUntilItIsAnother(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	verified := domain.User{Email: "a@example.org"}.Evolve(
		domain.Recorded{Event: &domain.EmailVerified{}, RecordedAt: at})
	if verified.EmailVerifiedAt != at {
		t.Errorf("verified at %v", verified.EmailVerifiedAt)
	}
	for name, e := range map[string]domain.Event{
		"another address": &domain.UserEmailChanged{
			Email: domain.Known(domain.Change[string]{Old: "a@example.org", New: "b@example.org"}),
		},
		"an erasure": &domain.UserErased{},
	} {
		if u := verified.Evolve(domain.Recorded{Event: e}); !u.EmailVerifiedAt.IsZero() {
			t.Errorf("after %s it is still verified", name)
		}
	}
	if u := verified.Evolve(domain.Recorded{Event: &domain.UserPasswordChanged{}}); u.EmailVerifiedAt != at {
		t.Error("after another password it is not verified any more")
	}
}
