package console

import (
	"strings"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

// peopleView is the page to find somebody on.
type peopleView struct {
	Asked bool // something was searched for
	Found []client.UserBody
	Next  *string
}

// People finds people. An id leads to its person; everything else shows who was found.
// Without a question nobody is listed, so that opening the page is no look at anybody.
func (c *Console) People(v *Visit) error {
	if text := v.Value("id"); text != "" {
		id, err := uuid.Parse(text)
		if err != nil {
			return v.again("people", peopleView{}, misread("id"))
		}
		v.redirect("/console/people/" + id.String())
		return nil
	}

	asked := client.ListUsersParams{
		Q: v.optional("q"), Email: v.optional("email"), Phone: v.optional("phone"), ExternalID: v.externalID(),
		After: v.optional("after"), Role: chosen[client.ListUsersParamsRole](v, "role"),
	}
	if asked.Q == nil && asked.Email == nil && asked.Phone == nil && asked.ExternalID == nil && asked.Role == nil {
		return v.render("people", peopleView{})
	}

	found, err := v.API.ListUsers(v.r.Context(), &asked)
	if err != nil {
		return v.again("people", peopleView{}, err)
	}
	return v.render("people", peopleView{Asked: true, Found: found.Body.Items, Next: found.Body.Next})
}

// externalID returns the external id searched for as the API reads it: TYPE:VALUE, as one
// text or with the type chosen from a list.
func (v *Visit) externalID() *string {
	value := v.Value("external_id")
	if value == "" {
		return nil
	}
	if kind := v.Value("external_type"); kind != "" && !strings.HasPrefix(value, kind+":") {
		value = kind + ":" + value
	}
	return &value
}
