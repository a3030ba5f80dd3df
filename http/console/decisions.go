package console

import (
	"strconv"

	"github.com/salga-trust/engine/http/client"
)

// RecordConsentForm shows the form for a decision that somebody made.
func (c *Console) RecordConsentForm(v *Visit) error {
	return v.formAbout("record_consent", nil, purposesToDecide)
}

// purposesToDecide completes a form with the purposes that rest on consent.
func purposesToDecide(v *Visit, form *personForm) error {
	all, err := v.purposes()
	if err != nil {
		return err
	}

	for _, p := range all {
		if p.Basis != client.PurposeBodyBasisConsent {
			continue
		}
		form.Purposes = append(form.Purposes, p)
		if p.Code == v.Value("purpose") {
			form.Purpose = &p
		}
	}
	return nil
}

// Codes lists the codes of the purposes to choose from.
func (f personForm) Codes() (codes []string) {
	for _, p := range f.Purposes {
		codes = append(codes, p.Code)
	}
	return codes
}

// RecordConsent records a decision that somebody made.
func (c *Console) RecordConsent(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}

	r := fieldReader{v: v}
	body := client.RecordConsentBody{
		SubjectID: &id, Purpose: v.Value("purpose"), Consented: r.yes("consented"),
		Language: client.RecordConsentBodyLanguage(v.Value("language")),
		Channel:  chosen[client.RecordConsentBodyChannel](v, "channel"),
		GivenAt:  r.instant("given_at"), ValidUntil: r.instant("valid_until"),
		Evidence: v.evidence(), GivenBy: v.givenBy(), NoticeVersion: v.noticeShown(),
	}
	err = r.refused()
	if err == nil {
		_, err = v.API.RecordConsent(v.r.Context(), body, &client.RecordConsentParams{IdempotencyKey: v.key()})
	}
	if err != nil {
		return v.formAbout("record_consent", err, purposesToDecide)
	}
	return v.toPerson(id)
}

// noticeShown returns the version of the wording that the form showed; nil: it showed
// that of another purpose, or none.
func (v *Visit) noticeShown() *int64 {
	version, err := strconv.ParseInt(v.Value("notice_version"), 10, 64)
	if err != nil || v.Value("purpose_shown") != v.Value("purpose") {
		return nil
	}
	return &version
}

// WithdrawConsentForm asks whether a consent is to be withdrawn.
func (c *Console) WithdrawConsentForm(v *Visit) error {
	return v.formAboutConsent("withdraw_consent", nil)
}

// WithdrawConsent withdraws a consent at its subject's wish.
func (c *Console) WithdrawConsent(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}

	r := fieldReader{v: v}
	body := client.WithdrawConsentBody{
		Reason: v.optional("reason"), GivenAt: r.instant("given_at"), Evidence: v.evidence(),
	}
	if err := r.refused(); err != nil {
		return v.formAboutConsent("withdraw_consent", err)
	}
	gone, err := v.API.WithdrawConsent(v.r.Context(), id, &body,
		&client.WithdrawConsentParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.formAboutConsent("withdraw_consent", err)
	}
	return v.toPerson(gone.Body.SubjectID)
}

// AnnulConsentForm asks whether an entry was made in error.
func (c *Console) AnnulConsentForm(v *Visit) error { return v.formAboutConsent("annul_consent", nil) }

// AnnulConsent makes an entry that was made in error count for nothing.
func (c *Console) AnnulConsent(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}

	body := client.AnnulConsentBody{
		Reason: v.Value("reason"), Evidence: v.evidence(), Entry: chosen[client.AnnulConsentBodyEntry](v, "entry"),
	}
	gone, err := v.API.AnnulConsent(v.r.Context(), id, body, &client.AnnulConsentParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.formAboutConsent("annul_consent", err)
	}
	return v.toPerson(gone.Body.SubjectID)
}

// formAboutConsent shows a form about the consent in the address.
func (v *Visit) formAboutConsent(page string, refused error) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	consent, err := v.API.GetConsent(v.r.Context(), id, nil)
	if err != nil {
		return err
	}

	return v.formOf(consent.Body.SubjectID, page, refused, func(_ *Visit, form *personForm) error {
		form.Consent = &consent.Body
		return nil
	})
}
