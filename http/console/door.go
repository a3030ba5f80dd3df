package console

import (
	"slices"
	"strings"

	"github.com/salga-trust/engine/http/client"
)

// doorPage is what the pages for people without a session show.
type doorPage struct {
	Provinces []province
	// Wording is what an account rests on, in the language of WordingLang.
	Wording, WordingLang string
}

// province is a part of a list of municipalities that is too long to be searched as a
// whole.
type province struct {
	Code           string
	Municipalities []client.MunicipalityBody
}

// provinces returns the municipalities that are open, by province, both by name.
func (v *Visit) provinces() ([]province, error) {
	active := client.ListMunicipalitiesParamsIsActiveTrue
	all, err := everyPage(func(after *string, limit *int64) ([]client.MunicipalityBody, *string, error) {
		list, err := v.API.ListMunicipalities(v.r.Context(),
			&client.ListMunicipalitiesParams{Limit: limit, After: after, IsActive: &active})
		if err != nil {
			return nil, nil, err
		}
		return list.Body.Items, list.Body.Next, nil
	})
	if err != nil {
		return nil, err
	}

	slices.SortFunc(all, func(a, b client.MunicipalityBody) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) // eThekwini is not the last
	})
	var grouped []province
	for _, m := range all {
		i := slices.IndexFunc(grouped, func(p province) bool { return p.Code == m.Province })
		if i < 0 {
			i, grouped = len(grouped), append(grouped, province{Code: m.Province})
		}
		grouped[i].Municipalities = append(grouped[i].Municipalities, m)
	}

	words, err := v.words()
	slices.SortFunc(grouped, func(a, b province) int {
		return strings.Compare(words.word("province", a.Code), words.word("province", b.Code))
	})
	return grouped, err
}

// unchosen says of a list that nothing was chosen from what the API says of a code that
// is nobody's.
func unchosen(err error) error {
	if client.CodeOf(err) == client.ProblemCodeUnknownMunicipality {
		return faulty("municipality_code", "required")
	}
	return err
}

// registrationWording adds the wording of the consent that an account rests on.
func (v *Visit) registrationWording(page *doorPage) error {
	purpose, err := v.API.GetPurpose(v.r.Context(), registration, nil)
	if err != nil {
		return err
	}
	page.Wording, page.WordingLang = v.wording(purpose.Body)
	return nil
}

func (v *Visit) registerPage() (page doorPage, err error) {
	if page.Provinces, err = v.provinces(); err != nil {
		return doorPage{}, err
	}
	return page, v.registrationWording(&page)
}

// RegisterForm asks for what a resident's account needs.
func (c *Console) RegisterForm(v *Visit) error {
	page, err := v.registerPage()
	if err != nil {
		return err
	}
	return v.render("register", page)
}

// Register opens a resident's account, with the consent that it rests on.
func (c *Console) Register(v *Visit) error {
	page, err := v.registerPage()
	if err != nil {
		return err
	}

	language := client.RegisterBodyPreferredLanguage(v.Value("preferred_language"))
	_, err = v.API.Register(v.r.Context(), client.RegisterBody{
		Email: v.Value("email"), Password: v.Form.Get("password"), FullName: v.Value("full_name"),
		MunicipalityCode: v.Value("municipality_code"), Phone: v.optional("phone"), PreferredLanguage: &language,
		Consent: client.RegisterConsentBody{
			Purpose: registration, PurposeDescription: &page.Wording,
			Language: client.RegisterConsentBodyLanguage(page.WordingLang), Consented: v.Value("consented") == "yes",
		},
	}, &client.RegisterParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.again("register", page, unchosen(err))
	}
	v.redirect(link("/console/sign-in", "done", "registered", "lang", v.Lang))
	return nil
}

// ForgotForm asks whose password was forgotten.
func (c *Console) ForgotForm(v *Visit) error {
	all, err := v.provinces()
	if err != nil {
		return err
	}
	return v.render("forgot", doorPage{Provinces: all})
}

// Forgot has a code sent to the address, and says the same whether or not it has an
// account.
func (c *Console) Forgot(v *Visit) error {
	_, err := v.API.RequestPasswordReset(v.r.Context(), client.PasswordResetBody{
		Email: v.Value("email"), MunicipalityCode: v.Value("municipality_code"),
	}, &client.RequestPasswordResetParams{IdempotencyKey: v.key()})
	if err != nil {
		all, failed := v.provinces()
		if failed != nil {
			return failed
		}
		return v.again("forgot", doorPage{Provinces: all}, unchosen(err))
	}
	v.redirect(link("/console/redeem", "done", "reset", "lang", v.Lang))
	return nil
}

// RedeemForm takes a one-time code and a new password.
func (c *Console) RedeemForm(v *Visit) error {
	var page doorPage
	if err := v.registrationWording(&page); err != nil {
		return err
	}
	return v.render("redeem", page)
}

// Redeem sets a new password with a code, or opens an account that staff prepared: then
// there is an address to sign in with, and a consent.
func (c *Console) Redeem(v *Visit) error {
	var page doorPage
	if err := v.registrationWording(&page); err != nil {
		return err
	}

	body := client.RedeemBody{
		Code: v.Value("code"), Password: v.Form.Get("password"), Email: v.optional("email"),
	}
	if body.Email != nil {
		body.Consent = &client.ConsentStruct{
			Purpose: registration, PurposeDescription: &page.Wording,
			Language: client.ConsentStructLanguage(page.WordingLang), Consented: v.Value("consented") == "yes",
		}
	}
	_, err := v.API.RedeemCode(v.r.Context(), body, &client.RedeemCodeParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.again("redeem", page, err)
	}
	v.redirect(link("/console/sign-in", "done", "redeemed", "lang", v.Lang))
	return nil
}
