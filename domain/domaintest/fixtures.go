package domaintest

import "github.com/salga-trust/engine/domain"

// Msunduzi is the tenant in the examples.
func Msunduzi() domain.TenantID { return domain.TenantID{UUID: ID(0x7, 1)} }

// Thandi is a citizen.
func Thandi() domain.UserID { return domain.UserID{UUID: ID(0x5, 1)} }

// Clerk is a field worker at a counter.
func Clerk() domain.UserID { return domain.UserID{UUID: ID(0x5, 2)} }

// Consent names the n-th consent.
func Consent(n int) domain.ConsentID { return domain.ConsentID{UUID: ID(0xC, n)} }

// The words of the newsletter's two notices.
const (
	NewsletterWords    = "To send you the municipality's monthly newsletter by e-mail."
	NewsletterNewWords = "To send you the municipality's monthly newsletter by e-mail and SMS."
	NewsletterWordsZu  = "Ukukuthumelela iphephandaba lenyanga likamasipala nge-imeyili."
	NewsletterWordsAf  = "Om die munisipaliteit se maandelikse nuusbrief per e-pos aan u te stuur."
)

// NewsletterTexts returns the texts of a notice of the newsletter with these English
// words.
func NewsletterTexts(english string) map[domain.Language]string {
	return map[domain.Language]string{
		domain.English: english, domain.Zulu: NewsletterWordsZu, domain.Afrikaans: NewsletterWordsAf,
	}
}

// Newsletter returns a purpose that rests on consent: notice 1 since 5 January 2026,
// notice 2 since 1 April 2026.
func Newsletter() domain.Purpose {
	first := PurposeWith(func(*domain.DefinePurpose) {})
	next := domain.PublishNotice{Texts: NewsletterTexts(NewsletterNewWords)}

	return first.Evolve(domain.Recorded{
		Position: 9, Tenant: Msunduzi(), Stream: domain.PurposeOf(Msunduzi(), "newsletter"), Version: 3,
		RecordedAt: Clock("2026-04-01"), EffectiveAt: Clock("2026-04-01"),
		Event: must(next.Decide(first, Clock("2026-06-01")))[0],
	})
}

// PurposeWith returns the newsletter as defined on 5 January 2026, with a change to its
// definition.
func PurposeWith(change func(*domain.DefinePurpose)) domain.Purpose {
	command := domain.DefinePurpose{
		Code: "newsletter", Basis: domain.ConsentBasis, Retention: "until withdrawn",
		Texts: NewsletterTexts(NewsletterWords),
	}
	change(&command)

	events := must(command.Decide(domain.Purpose{}, Clock("2026-06-01")))
	return domain.Fold[domain.Purpose](History(domain.PurposeOf(Msunduzi(), command.Code), At("2026-01-05", events...)))
}

func must(events []domain.Event, err error) []domain.Event {
	if err != nil {
		panic(err)
	}
	return events
}
