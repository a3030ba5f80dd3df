package console

import (
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

// readsPage lists who has looked at personal data.
type readsPage struct {
	Asked bool // somebody is named
	Items []look
	Next  *string
}

// look is one recorded read, as a page shows it.
type look struct {
	client.ExposureBody

	Shown  []uuid.UUID // at most maxShown of its people
	More   int         // how many more there are
	Filter []lookFilter
}

type lookFilter struct{ Name, Value string }

// maxShown is how many people a line of a list names.
const maxShown = 5

// Reads lists who has looked at a person's data, or what an account has looked at.
func (c *Console) Reads(v *Visit) error {
	read := fieldReader{v: v}
	subject, actor := read.optionalID("subject_id"), read.optionalID("actor_id")
	from, to := read.instant("from"), read.instant("to")
	if err := read.refused(); err != nil {
		return v.again("reads", readsPage{}, err)
	}
	if subject == nil && actor == nil {
		return v.render("reads", readsPage{})
	}

	found, err := v.API.Exposure(v.r.Context(), &client.ExposureParams{
		SubjectID: subject, ActorID: actor, From: from, To: to, After: v.optional("after"),
	})
	if err != nil {
		return v.again("reads", readsPage{}, err)
	}
	page := readsPage{Asked: true, Next: found.Body.Next}
	for _, item := range found.Body.Items {
		page.Items = append(page.Items, lookOf(item))
	}
	return v.render("reads", page)
}

func lookOf(x client.ExposureBody) look {
	l := look{ExposureBody: x, Shown: x.Subjects[:min(len(x.Subjects), maxShown)]}
	l.More = len(x.Subjects) - len(l.Shown)
	for _, name := range slices.Sorted(maps.Keys(x.Filter)) {
		l.Filter = append(l.Filter, lookFilter{name, x.Filter[name]})
	}
	return l
}
