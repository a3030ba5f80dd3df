package console

import (
	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

// personForm is a form about one person.
type personForm struct {
	Person client.UserBody
	// Version is what the form was filled in on, so that nothing newer is overwritten.
	Version string

	Consent  *client.ConsentBody  // that the form is about, if any
	Purposes []client.PurposeBody // to choose from, if any
	Purpose  *client.PurposeBody  // the chosen one, whose wording is shown
	Code     codeKind             // that the form makes, if it does
}

// formAbout shows a form about the person in the address. If it was refused, it comes
// back filled in.
func (v *Visit) formAbout(page string, refused error, complete ...func(*Visit, *personForm) error) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	return v.formOf(id, page, refused, complete...)
}

func (v *Visit) formOf(id uuid.UUID, page string, refused error, complete ...func(*Visit, *personForm) error) error {
	got, err := v.API.GetResident(v.r.Context(), id, nil)
	if err != nil {
		return err
	}

	form := personForm{Person: got.Body, Version: got.ETag()}
	for _, c := range complete {
		if err := c(v, &form); err != nil {
			return err
		}
	}
	if refused != nil {
		return v.again(page, form, refused)
	}
	return v.render(page, form)
}

// toPerson leads to the page of a person, after a change.
func (v *Visit) toPerson(id uuid.UUID) error {
	v.redirect("/console/people/" + id.String())
	return nil
}
