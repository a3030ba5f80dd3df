package console

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

// dueRequest is a request and the days that are left to answer it; below zero, it is
// overdue.
type dueRequest struct {
	client.RequestBody

	Days int
}

// Late is by how many days a request is overdue.
func (q dueRequest) Late() int { return -q.Days }

// Open reports whether a request has yet to be answered.
func (q dueRequest) Open() bool { return q.Status == client.RequestBodyStatusOpen }

// due counts the days, by the South African calendar, until a request must be answered.
func (c *Console) due(q client.RequestBody) dueRequest {
	on, err := time.Parse(time.DateOnly, q.DueOn)
	if err != nil {
		return dueRequest{RequestBody: q}
	}
	y, m, d := c.config.Now().In(southAfrica()).Date()
	today := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	return dueRequest{RequestBody: q, Days: int(on.Sub(today) / (24 * time.Hour))}
}

type requestsView struct {
	Status string
	Items  []dueRequest
	Next   *string
}

// Requests lists what people asked for, by deadline.
func (c *Console) Requests(v *Visit) error {
	params := client.ListRequestsParams{After: v.optional("after")}
	list := requestsView{Status: "open"}
	if status := v.optional("status"); status != nil {
		list.Status = *status
		params.Status = new(client.ListRequestsParamsStatus(*status))
	}

	found, err := v.API.ListRequests(v.r.Context(), &params)
	if err != nil {
		return err
	}
	list.Next = found.Body.Next
	for _, q := range found.Body.Items {
		list.Items = append(list.Items, c.due(q))
	}
	return v.render("requests", list)
}

// request returns the request in the page's address.
func (c *Console) request(v *Visit) (dueRequest, error) {
	id, err := v.id()
	if err != nil {
		return dueRequest{}, err
	}
	q, err := v.API.GetRequest(v.r.Context(), id, nil)
	if err != nil {
		return dueRequest{}, err
	}
	return c.due(q.Body), nil
}

// Request shows one request, and what to do about it.
func (c *Console) Request(v *Visit) error {
	q, err := c.request(v)
	if err != nil {
		return err
	}
	return v.render("request", q)
}

// EraseForm asks for the word that confirms an erasure.
func (c *Console) EraseForm(v *Visit) error {
	q, err := c.request(v)
	if err != nil {
		return err
	}
	if q.Kind != client.RequestBodyKindErasure || !q.Open() {
		v.redirect(requestPath(q.ID))
		return nil
	}
	page, err := v.erasePage(q)
	if err != nil {
		return err
	}
	return v.render("erase", page)
}

// erasePage is what the page of an erasure shows.
type erasePage struct {
	dueRequest

	Holds []client.HoldBody // in force: as long as there are any, nothing can be erased
}

func (v *Visit) erasePage(q dueRequest) (erasePage, error) {
	rights, err := v.rights(&q.SubjectID)
	return erasePage{q, inForce(rights.Holds)}, err
}

// rights returns all requests and holds of a person; nil: the visitor's own.
func (v *Visit) rights(subject *uuid.UUID) (all client.Rights, err error) {
	limit := pageSize
	params := client.GetRightsParams{Limit: &limit, SubjectID: subject}
	for {
		part, err := v.API.GetRights(v.r.Context(), &params)
		if err != nil {
			return client.Rights{}, err
		}
		all.Requests = append(all.Requests, part.Body.Requests...)
		all.Holds = append(all.Holds, part.Body.Holds...)
		if params.After = part.Body.Next; params.After == nil {
			return all, nil
		}
	}
}

func inForce(holds []client.HoldBody) []client.HoldBody {
	return slices.DeleteFunc(holds, func(h client.HoldBody) bool { return h.LiftedAt != nil })
}

func requestPath(id uuid.UUID) string { return "/console/requests/" + id.String() }

// Fulfil closes a request as fulfilled. What fulfils an erasure is the erasure itself, so
// that needs the word that confirms it.
func (c *Console) Fulfil(v *Visit) error {
	q, err := c.request(v)
	if err != nil {
		return err
	}
	if q.Kind == client.RequestBodyKindErasure && !v.confirms() {
		return v.fulfilAgain(q, wrongWord())
	}

	done, err := v.API.FulfilRequest(v.r.Context(), q.ID, &client.FulfilRequestBody{Note: v.optional("note")},
		&client.FulfilRequestParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.fulfilAgain(q, err)
	}
	if done.Body.CertificateID != nil {
		v.redirect("/console/certificates/" + done.Body.CertificateID.String())
		return nil
	}
	v.redirect(requestPath(q.ID))
	return nil
}

// fulfilAgain shows the form for a request that could not be fulfilled.
func (v *Visit) fulfilAgain(q dueRequest, refused error) error {
	if q.Kind != client.RequestBodyKindErasure {
		return v.again("request", q, refused)
	}
	page, err := v.erasePage(q)
	if err != nil {
		return err
	}
	return v.again("erase", page, refused)
}

// confirms reports whether the visitor typed the word for an erasure: that of the page's
// language, or the English one.
func (v *Visit) confirms() bool {
	all, err := vocabulary()
	if err != nil {
		return false
	}
	typed := v.Value("confirmation")
	return strings.EqualFold(typed, all[v.Lang]["erase_word"]) || strings.EqualFold(typed, all[English]["erase_word"])
}

func wrongWord() error {
	e := refusal(http.StatusUnprocessableEntity, client.ProblemCodeValidationFailed)
	e.Errors = []client.FieldError{{Field: "confirmation", Code: "not_the_word"}}
	return e
}

// RefuseForm asks on which ground of the law a request is refused.
func (c *Console) RefuseForm(v *Visit) error {
	q, err := c.request(v)
	if err != nil {
		return err
	}
	if !q.Open() {
		v.redirect(requestPath(q.ID))
		return nil
	}
	return v.render("refuse", q)
}

// Refuse closes a request as refused, on a ground of the law.
func (c *Console) Refuse(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	_, refused := v.API.RefuseRequest(v.r.Context(), id,
		client.RefuseRequestBody{Ground: client.RefuseRequestBodyGround(v.Value("ground")), Note: v.optional("note")},
		&client.RefuseRequestParams{IdempotencyKey: v.key()})
	if refused == nil {
		v.redirect(requestPath(id))
		return nil
	}

	q, err := c.request(v)
	if err != nil {
		return err
	}
	return v.again("refuse", q, refused)
}

// RequestData shows everything held about the person who asked for it, as the API makes
// that page for paper: under its own policy, in the person's language.
func (c *Console) RequestData(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	params := client.RequestDataPageParams{}
	if lang := v.optional("lang"); lang != nil {
		params.Lang = new(client.RequestDataPageParamsLang(*lang))
	}
	page, err := v.API.RequestDataPage(v.r.Context(), id, &params)
	if err != nil {
		return err
	}
	defer func() { _ = page.Body.Close() }()
	content, err := io.ReadAll(page.Body) // it is in memory
	if err != nil {
		return err
	}

	if err := v.recordLooks(); err != nil {
		return err
	}

	v.session.lang = v.former.lang // the paper's language is not the officer's
	v.keepSession()
	v.w.Header().Set("Content-Security-Policy", page.Header.Get("Content-Security-Policy"))
	v.send(http.StatusOK, page.Header.Get("Content-Type"), content, nil)
	return nil
}

type holdsView struct {
	client.ListBodyHoldBody

	Status string
}

// Holds lists the orders to keep somebody's data, newest first.
func (c *Console) Holds(v *Visit) error {
	params := client.ListHoldsParams{After: v.optional("after")}
	list := holdsView{Status: "in_force"}
	if status := v.optional("status"); status != nil {
		list.Status = *status
		params.Status = new(client.ListHoldsParamsStatus(*status))
	}

	found, err := v.API.ListHolds(v.r.Context(), &params)
	if err != nil {
		return err
	}
	list.ListBodyHoldBody = found.Body
	return v.render("holds", list)
}

// hold returns the hold in the page's address.
func (v *Visit) hold() (client.HoldBody, error) {
	id, err := v.id()
	if err != nil {
		return client.HoldBody{}, err
	}
	hold, err := v.API.GetHold(v.r.Context(), id, nil)
	if err != nil {
		return client.HoldBody{}, err
	}
	return hold.Body, nil
}

// LiftForm asks why a hold may be lifted, or says when it was.
func (c *Console) LiftForm(v *Visit) error {
	hold, err := v.hold()
	if err != nil {
		return err
	}
	return v.render("lift", hold)
}

// Lift lifts a hold. The API takes a second lifting to be done already, and keeps the
// first reason: whoever wrote another learns that from the page of the hold.
func (c *Console) Lift(v *Visit) error {
	hold, err := v.hold()
	if err != nil {
		return err
	}
	if hold.LiftedAt != nil {
		v.redirect("/console/holds/" + hold.ID.String() + "/lift")
		return nil
	}

	_, err = v.API.LiftHold(v.r.Context(), hold.ID, client.LiftHoldBody{Reason: v.Value("reason")},
		&client.LiftHoldParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.again("lift", hold, err)
	}
	v.redirect("/console/holds?done=hold_lifted")
	return nil
}

// Certificates lists the certificates of erasures, newest first.
func (c *Console) Certificates(v *Visit) error {
	list, err := v.API.ListCertificates(v.r.Context(), &client.ListCertificatesParams{After: v.optional("after")})
	if err != nil {
		return err
	}
	return v.render("certificates", list.Body)
}

// Certificate shows the proof of an erasure to anybody who has its address: who was
// erased has no account any more.
func (c *Console) Certificate(v *Visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	certificate, err := v.API.GetCertificate(v.r.Context(), id, nil)
	if err != nil {
		return err
	}
	return v.render("certificate", certificate.Body)
}
