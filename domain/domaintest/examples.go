package domaintest

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Examples returns one event of every type with every field filled in: the examples
// below, whose values have a meaning, and Filled for every other type.
func Examples() []domain.Event {
	all := slices.Concat(municipalityExamples(), userExamples(), consentExamples(), purposeExamples(), rightsExamples(),
		sessionExamples(), serviceAccountExamples(), webhookExamples())

	given := map[string]bool{}
	for _, e := range all {
		given[e.EventType()] = true
	}
	for _, eventType := range domain.EventTypes() {
		if !given[eventType] {
			all = append(all, Filled(eventType))
		}
	}
	return all
}

func rightsExamples() []domain.Event {
	request, hold := domain.RequestID{UUID: ID(0xa, 1)}, domain.HoldID{UUID: ID(0xb, 1)}
	text := func(text string) domain.Personal[domain.FreeText] { return domain.Known(domain.FreeText{Text: text}) }

	return []domain.Event{
		&domain.RequestLodged{
			RequestID: request, Kind: domain.CorrectionRequest, LodgedBy: domain.ByStaff, DueOn: "2026-04-07",
			ReceivedAt: Clock("2026-03-06"), Private: text("my surname is Ṋemavhola"),
		},
		&domain.RequestFulfilled{
			RequestID: request, Kind: domain.CorrectionRequest, Certificate: ID(0xe, 9),
			Private: text("corrected at the counter"),
		},
		&domain.RequestRefused{
			RequestID: request, Kind: domain.AccessRequest, Ground: domain.GroundIdentity,
			Private: text("no document was shown"),
		},
		&domain.HoldPlaced{HoldID: hold, Private: text("case 114/2026 in the High Court")},
		&domain.HoldLifted{HoldID: hold, Private: text("case 114/2026 was settled")},
		&domain.ProofIssued{
			ReceiptID: ID(0xa, 2), ConsentID: domain.ConsentID{UUID: ID(0xc, 1)}, Purpose: "sms_alert",
			StreamType: domain.ConsentStream, StreamID: ID(0x5, 1), StreamVersion: 3,
		},
	}
}

func webhookExamples() []domain.Event {
	return []domain.Event{
		&domain.WebhookRegistered{
			URL: "https://alerts.example.org/consents", Events: []string{"consent.granted.v1", "consent.withdrawn.v1"},
		},
		&domain.WebhookPaused{Reason: domain.PausedGone},
		&domain.WebhookResumed{},
		&domain.WebhookDeleted{},
	}
}

func serviceAccountExamples() []domain.Event {
	return []domain.Event{
		&domain.ServiceAccountCreated{
			Name: "SMS alerts", Scopes: []domain.Scope{domain.ScopeCheck, domain.ScopeRead}, SecretID: ID(0xf, 1),
		},
		&domain.ServiceAccountSecretRotated{SecretID: ID(0xf, 2), FormerUntil: Clock("2026-03-07 08:10")},
		&domain.ServiceAccountRevoked{},
	}
}

func municipalityExamples() []domain.Event {
	return []domain.Event{
		&domain.MunicipalityRegistered{
			Code: "NC084", Name: "!Kheis Local Municipality", Province: "Northern Cape", Category: "B",
			DistrictCode: "DC8", Population: new(16637), ContactEmail: "info@kheis.example.org.za",
		},
		&domain.MunicipalityDetailsChanged{
			Name: &domain.Change[string]{Old: "!Kheis Local Municipality", New: "!Kheis Munisipaliteit"},
			ContactEmail: &domain.Change[string]{
				Old: "info@kheis.example.org.za", New: "amptenaar@kheis.example.org.za",
			},
			Population: &domain.Change[*int]{Old: new(16637), New: new(16700)},
		},
		&domain.MunicipalityDeactivated{},
		&domain.MunicipalityReactivated{},
	}
}

func userExamples() []domain.Event {
	return []domain.Event{
		&domain.UserRegistered{
			MunicipalityCode: "LIM343", Role: domain.Citizen, PreferredLanguage: domain.English,
			Person: domain.Known(domain.PersonFacts{
				Email: "Thilidzi.Nemavhola@example.co.za", FullName: "Ṱhilidzi Ṋemavhola", Phone: "+27821234567",
			}),
		},
		&domain.UserProfileChanged{
			Fields:            []string{"full_name", "phone", "preferred_language"},
			PreferredLanguage: &domain.Change[domain.Language]{Old: domain.English, New: domain.Afrikaans},
			Person: domain.Known(domain.ProfileChanges{
				FullName: &domain.Change[string]{Old: "Siobhan O'Reilly", New: "Siobhan O'Reilly-van der Merwe"},
				Phone:    &domain.Change[string]{Old: "+27821234567", New: "+27731234567"},
			}),
		},
		&domain.UserEmailChanged{
			Email: domain.Known(domain.Change[string]{
				Old: "thandi@example.co.za", New: "thandi.nkosi+stad@example.co.za",
			}),
		},
		&domain.UserRoleChanged{Role: domain.Change[domain.Role]{Old: domain.FieldWorker, New: domain.Manager}},
		&domain.UserPasswordChanged{Cause: domain.CauseReset, CodeID: ID(0xd, 1)},
		&domain.UserPasswordRehashed{},

		&domain.UserDeactivated{Cause: domain.CauseConsentWithdrawn},
		&domain.UserReactivated{},

		&domain.SecondFactorBegun{FactorID: ID(0xc, 1), ExpiresAt: Clock("2026-03-06 08:10")},
		&domain.SecondFactorSet{FactorID: ID(0xc, 1)},
		&domain.SecondFactorRemoved{
			FactorID: ID(0xc, 1), Cause: domain.CauseRecovery,
			EvidenceSHA256: domain.WordingHash("scan of an affidavit"),
			Private: domain.Known(domain.RecoveryFacts{
				Reason:            "Phone stolen in Thohoyandou; came in person with her ID.",
				EvidenceReference: "box 6, affidavit 2",
			}),
		},

		&domain.ResetCodeIssued{CodeIssue: codeIssue(ID(0xd, 1), domain.CodeByStaff)},
		&domain.SignInCodeIssued{CodeIssue: codeIssue(ID(0xd, 2), domain.CodeByStaff)},
		&domain.EmailVerificationBegun{CodeID: ID(0xd, 3), ExpiresAt: Clock("2026-03-06 08:15")},
		&domain.EmailVerified{CodeID: ID(0xd, 3)},

		&domain.UserErased{
			Cause: domain.CauseRequest, RequestID: domain.RequestID{UUID: ID(0xa, 1)}, Keys: []uuid.UUID{Thandi().UUID},
			Destroyed: []domain.Remnant{
				domain.RemnantProfile, domain.RemnantFreeText, domain.RemnantOrigins, domain.RemnantCredentials,
				domain.RemnantSessions,
			},
			Kept:           []domain.Remnant{domain.RemnantConsents, domain.RemnantAudit, domain.RemnantStatistics},
			NoSecondPerson: true,
		},

		&domain.ResidentRecorded{
			MunicipalityCode: "LIM343", PreferredLanguage: domain.Zulu,
			Person: domain.Known(domain.ResidentFacts{
				FullName: "Ṱhilidzi Ṋemavhola", Phone: "+27821234567", Email: "thilidzi@example.co.za",
				ExternalIDs: []domain.ExternalID{{Type: domain.Meter, Value: "04123456789"}},
			}),
		},
		&domain.ResidentDetailsChanged{
			Fields: []string{
				"full_name", "phone", "preferred_language", "email", "added_external_ids", "removed_external_ids",
			},
			PreferredLanguage: &domain.Change[domain.Language]{Old: domain.Zulu, New: domain.English},
			Person: domain.Known(domain.ResidentChanges{
				FullName:           &domain.Change[string]{Old: "Thilidzi Nemavhola", New: "Ṱhilidzi Ṋemavhola"},
				Phone:              &domain.Change[string]{Old: "+27821234567", New: "+27731234567"},
				Email:              &domain.Change[string]{Old: "thilidzi@example.co.za", New: "tn@example.co.za"},
				AddedExternalIDs:   []domain.ExternalID{{Type: domain.MunicipalAccount, Value: "100200300"}},
				RemovedExternalIDs: []domain.ExternalID{{Type: domain.Meter, Value: "04123456789"}},
			}),
		},

		&domain.ResidentMerged{
			From: Clerk(), Into: Thandi(), EvidenceSHA256: domain.WordingHash("scan of an ID card"),
			Private: domain.Known(domain.MergeFacts{
				Reason: "One meter, one ID card.", EvidenceReference: "box 6, card 3",
			}),
		},
		&domain.ResidentUnmerged{
			From: Clerk(), Into: Thandi(), EvidenceSHA256: domain.WordingHash("scan of two ID cards"),
			Private: domain.Known(domain.MergeFacts{
				Reason: "Mother and daughter of one name.", EvidenceReference: "box 6, card 4",
			}),
		},
		&domain.AccountOpened{
			CodeID: ID(0xd, 1), Email: domain.Known(domain.Change[string]{
				Old: "thilidzi@example.co.za", New: "tn@example.co.za",
			}),
		},

		&domain.TenantMismatch{Route: "GET /api/v1/users/me", Named: domain.TenantID{UUID: ID(0x1, 2)}, Count: 7},
		&domain.AdminAdded{User: domain.UserID{UUID: ID(0x3, 1)}},
		&domain.AdminRemoved{User: domain.UserID{UUID: ID(0x3, 1)}},
	}
}

func codeIssue(code uuid.UUID, channel string) domain.CodeIssue {
	return domain.CodeIssue{
		CodeID: code, Channel: channel, ExpiresAt: Clock("2026-03-06 08:15"),
		Private: domain.Known(domain.IdentityFacts{IdentityDocument: "ID card, number ending in 083"}),
	}
}

// PaperGrant is a grant given on paper on 1 March 2026 by a child's guardian.
func PaperGrant() *domain.ConsentGranted {
	return &domain.ConsentGranted{Decision: domain.Decision{
		ConsentID: Consent(1), Purpose: "newsletter", NoticeVersion: 1, Wording: NewsletterWords,
		SHA256: domain.WordingHash(NewsletterWords), Language: domain.English, Channel: domain.Paper,
		GivenAt: Clock("2026-03-01 09:30"), RecordedBy: domain.ByStaff, GivenBy: domain.ByCompetentPerson,
		Basis: domain.ConsentBasis, EvidenceSHA256: domain.WordingHash("scan of form 17"),
		Private: domain.Known(domain.DecisionFacts{
			EvidenceReference: "box 4, form 17",
			CompetentPerson: &domain.CompetentPerson{
				Name: "Nomvula Nkosi", Relation: "mother", Authority: "birth certificate 26-0417",
			},
		}),
	}}
}

func consentExamples() []domain.Event {
	refused := PaperGrant().Decision
	refused.ConsentID, refused.Language = Consent(2), domain.Zulu
	refused.Wording, refused.SHA256 = NewsletterWordsZu, domain.WordingHash(NewsletterWordsZu)
	refused.GivenAt = time.Date(2026, 3, 2, 8, 0, 0, 123456000, time.UTC)

	from := &domain.CopyOf{Subject: Clerk(), Event: ID(0xe, 1), Position: 1204, Unstated: true}
	granted := PaperGrant()
	granted.ValidUntil, granted.ValidityDays = Clock("2028-12-31 22:00"), 1461
	claimed := ClaimedGrant()
	claimed.ValidityDays = 365
	granted.Copy, refused.Copy, claimed.Copy = from, from, from

	return []domain.Event{
		granted,
		&domain.ConsentRefused{Decision: refused},
		&domain.ConsentAnnulled{
			ConsentID: Consent(1), Purpose: "newsletter", Entry: domain.DecisionEntry, Annuls: ID(0xc, 4),
			Cause: domain.CauseMerged, MovedTo: Consent(3), EvidenceSHA256: domain.WordingHash("scan of a note"),
			Private: domain.Known(domain.AnnulmentFacts{
				Reason: "Meant for Thandi Nkosi of Imbali, not of Edendale.", EvidenceReference: "box 5, note 9",
			}),
		},
		&domain.ConsentWithdrawn{
			ConsentID: Consent(1), Purpose: "newsletter", GivenAt: Clock("2026-05-04 14:05"), RecordedBy: domain.BySelf,
			Cause: domain.CauseAccountClosed, EvidenceSHA256: domain.WordingHash("scan of a letter"), Copy: from,
			Private: domain.Known(domain.WithdrawalFacts{
				Reason: "My neighbour <Piet & Co> reads my post.", EvidenceReference: "box 5, letter 3",
			}),
		},
		claimed,
	}
}

// ClaimedGrant is what a spreadsheet says: the grant on paper of 1 March 2026, of which
// it knows only the day.
func ClaimedGrant() *domain.ConsentClaimed {
	d := PaperGrant().Decision
	d.ConsentID, d.GivenAt = Consent(3), Clock("2026-02-28 22:00")

	return &domain.ConsentClaimed{Decision: d, Claim: domain.ConsentClaim{
		Decided: domain.OutcomeGranted, Grade: domain.GradeDocumented, Source: "newsletter list of 2025",
		FileSHA256: domain.WordingHash("newsletter.csv"), Line: 12, DayOnly: true,
	}}
}

func purposeExamples() []domain.Event {
	texts := NewsletterTexts(NewsletterWords)
	hashes := map[domain.Language]string{}
	for l, text := range texts {
		hashes[l] = domain.WordingHash(text)
	}

	return []domain.Event{
		&domain.PurposeDefined{
			Code: "child_programme", Basis: domain.ConsentBasis, Special: true,
			Retention: "2 years after the programme", CompetentPerson: true,
		},
		&domain.PurposeNoticePublished{
			Code: "newsletter", Notice: 1, Texts: texts, SHA256: hashes, InUseSince: new(Clock("2025-11-03")),
			Reconsent: Clock("2027-03-01"), ValidityDays: 1461,
		},
		&domain.PurposeRetired{Code: "newsletter"},
	}
}

func sessionExamples() []domain.Event {
	return []domain.Event{
		&domain.SessionStarted{SessionID: ID(0x9, 1), ExpiresAt: Clock("2026-03-13 08:00")},
		&domain.SessionEnded{SessionID: ID(0x9, 1), Scope: domain.ScopeOne, Cause: domain.CauseLogout},
		&domain.SessionReuseDetected{SessionID: ID(0x9, 1)},
		&domain.SignInFailed{Count: 7, Cause: "password"},
		&domain.LogForked{
			Origin: "salga-trust/0195a1b2-0000-7000-8000-00000000000d", Size: 1204,
			Root: "dGhpcnR5LXR3byBieXRlcyBvZiBhbiBvbGQgcm9vdCE=",
		},
		&domain.EventDisowned{Position: 1204, EventID: ID(0xc, 1), Reason: "written past the programs on 2026-03-05"},
		&domain.PersonalDataRead{
			Route: "GET /api/v1/users", Fields: "profile", Head: 4711, Subjects: []domain.UserID{Thandi(), Clerk()},
			Filter:  map[string]string{"role": "citizen", "email": ""},
			Private: domain.Known(domain.ReadFacts{Reason: "complaint 2026/114"}),
		},
	}
}
