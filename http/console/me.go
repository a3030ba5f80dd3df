package console

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

	"github.com/salga-trust/engine/http/client"
)

// pageSize is how many items a page asks the API for, and newest how many of a list it
// shows above the link to all.
const (
	pageSize = int64(100)
	newest   = int64(10)
)

// minePage is what /me shows.
type minePage struct {
	Decisions []decisions
	Partly    bool // only the newest decisions are in Decisions, and whatever counts
	Seal      seal
	Offers    []offer
	// Guarded are purposes about children: a competent person decides, at a counter.
	Guarded  []client.PurposeBody
	Looks    client.ListBodyLookBody
	Programs []client.ProgramBody
	Open     int // requests
	Holds    int // in force
}

// decisions are what the visitor decided about one purpose, newest first.
type decisions struct {
	Purpose string
	Newest  client.ConsentBody
	Earlier []client.ConsentBody // the newest of them
	More    int                  // how many earlier ones are not shown
	// Own reports that it is the consent which the account rests on.
	Own bool
}

// offer is a purpose that the visitor may agree to now.
type offer struct {
	Purpose client.PurposeBody
	Text    string
	Lang    string // of the text
}

// Me shows what the visitor agreed to, who looked at their data, and what they can do.
func (c *Console) Me(v *Visit) error {
	page, err := v.mine()
	if err != nil {
		return err
	}
	return v.render("me", page)
}

// mine gathers what /me shows.
func (v *Visit) mine() (page minePage, err error) {
	var consents []client.ConsentBody
	var purposes []client.PurposeBody
	err = together(
		func() (err error) { consents, page.Partly, err = v.myConsents(); return err },
		func() (err error) { purposes, err = v.purposes(); return err },
		func() (err error) { page.Seal, err = v.seal(); return err },
		func() error { return v.myLooks(&page) },
		func() error { return v.myPrograms(&page) },
		func() error { return v.myRights(&page) },
	)
	if err != nil {
		return minePage{}, err
	}

	page.Decisions = byPurpose(consents)
	v.offers(&page, purposes, consents)
	return page, nil
}

func (v *Visit) myLooks(page *minePage) error {
	looks, err := v.API.ListReads(v.r.Context(), &client.ListReadsParams{Limit: new(newest)})
	if err == nil {
		page.Looks = looks.Body
	}
	return err
}

func (v *Visit) myPrograms(page *minePage) error {
	programs, err := v.API.ListPrograms(v.r.Context(), &client.ListProgramsParams{Limit: new(pageSize)})
	if err == nil {
		page.Programs = programs.Body.Items
	}
	return err
}

func (v *Visit) myRights(page *minePage) error {
	rights, err := v.rights(nil)
	if err != nil {
		return err
	}

	page.Holds = len(inForce(rights.Holds))
	for _, q := range rights.Requests {
		if q.ClosedAt == nil {
			page.Open++
		}
	}
	return nil
}

// myConsents returns the newest that the visitor decided and, if that is only a part,
// whatever counts of the rest.
func (v *Visit) myConsents() (decided []client.ConsentBody, partly bool, err error) {
	ctx := v.r.Context()
	list, err := v.API.ListConsents(ctx, &client.ListConsentsParams{Limit: new(pageSize)})
	if err != nil || list.Body.Next == nil {
		return list.Body.Items, false, err
	}

	counting, err := v.API.ListConsents(ctx,
		&client.ListConsentsParams{Counting: new(client.ListConsentsParamsCountingTrue)})
	if err != nil {
		return nil, false, err
	}
	decided = list.Body.Items
	for _, c := range counting.Body.Items {
		if !slices.ContainsFunc(decided, func(d client.ConsentBody) bool { return d.ID == c.ID }) {
			decided = append(decided, c)
		}
	}
	return decided, true, nil
}

// everyPage returns the items of all pages of a list.
func everyPage[T any](next func(after *string, limit *int64) ([]T, *string, error)) (all []T, err error) {
	limit := pageSize
	var after *string
	for {
		items, more, err := next(after, &limit)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if more == nil {
			return all, nil
		}
		after = more
	}
}

// byPurpose groups decisions: the purposes that were decided on last come first. What was
// moved to another record in a merge is there once, as its copy.
func byPurpose(consents []client.ConsentBody) (grouped []decisions) {
	sorted := slices.DeleteFunc(slices.Clone(consents), func(c client.ConsentBody) bool { return c.MovedTo != nil })
	slices.SortStableFunc(sorted, func(a, b client.ConsentBody) int {
		return cmp.Or(inForceFirst(a, b), b.GivenAt.Compare(a.GivenAt), cmp.Compare(b.Position, a.Position))
	})

	for _, consent := range sorted {
		i := slices.IndexFunc(grouped, func(d decisions) bool { return d.Purpose == consent.Purpose })
		if i < 0 {
			grouped = append(grouped, decisions{
				Purpose: consent.Purpose, Newest: consent, Own: consent.Purpose == registration,
			})
			continue
		}
		if len(grouped[i].Earlier) == int(newest) {
			grouped[i].More++
			continue
		}
		grouped[i].Earlier = append(grouped[i].Earlier, consent)
	}
	return grouped
}

// Before counts the decisions before the newest.
func (d decisions) Before() int { return len(d.Earlier) + d.More }

func inForceFirst(a, b client.ConsentBody) int {
	switch {
	case a.InForce == b.InForce:
		return 0
	case a.InForce:
		return -1
	default:
		return 1
	}
}

// offers finds the purposes that the visitor may still agree to.
func (v *Visit) offers(page *minePage, purposes []client.PurposeBody, consents []client.ConsentBody) {
	for _, p := range purposes {
		stands := slices.ContainsFunc(consents, func(c client.ConsentBody) bool {
			return c.Purpose == p.Code && c.InForce
		})
		if p.Retired || stands || p.Code == registration || p.Basis != client.PurposeBodyBasisConsent {
			continue
		}
		if p.CompetentPersonRequired {
			page.Guarded = append(page.Guarded, p)
			continue
		}
		text, lang := v.wording(p)
		page.Offers = append(page.Offers, offer{p, text, lang})
	}
}

// wording returns the words of a purpose in the page's language, or else in one that
// there is.
func (v *Visit) wording(p client.PurposeBody) (text, lang string) {
	for _, lang := range append([]Lang{v.Lang}, Langs()...) {
		if text := p.Notice.Texts[string(lang)]; text != "" {
			return text, string(lang)
		}
	}
	return "", ""
}

// DecideMine records that the visitor agrees to a purpose, or does not.
func (c *Console) DecideMine(v *Visit) error {
	body := client.RecordConsentBody{
		Purpose: v.Value("purpose"), Language: client.RecordConsentBodyLanguage(v.Value("language")),
		Consented: v.Value("consented") == "yes",
	}
	version, unread := strconv.ParseInt(v.Value("notice_version"), 10, 64)
	if unread != nil || (!body.Consented && v.Value("consented") != "no") {
		return v.mineAgain(refusal(http.StatusUnprocessableEntity, client.ProblemCodeValidationFailed))
	}

	body.NoticeVersion = &version
	_, err := v.API.RecordConsent(v.r.Context(), body, &client.RecordConsentParams{
		IdempotencyKey: v.keyOf(body.Purpose, v.Value("consented")),
	})
	if err != nil {
		return v.mineAgain(err)
	}
	v.redirect(link("/me", "done", map[bool]string{true: "agreed", false: "declined"}[body.Consented]))
	return nil
}

// mineAgain shows /me with the reason why one of its forms was refused.
func (v *Visit) mineAgain(refused error) error {
	page, err := v.mine()
	if err != nil {
		return err
	}
	return v.again("me", page, refused)
}

// mineByID returns a decision of the visitor's own. Anybody else's is not there, whatever
// the visitor may do with it elsewhere.
func (v *Visit) mineByID() (client.ConsentBody, error) {
	id, err := v.id()
	if err != nil {
		return client.ConsentBody{}, err
	}
	consents, partly, err := v.myConsents()
	if err != nil {
		return client.ConsentBody{}, err
	}

	named := func(c client.ConsentBody) bool { return c.ID == id && c.SubjectID == v.Visitor.ID }
	if partly && !slices.ContainsFunc(consents, named) { // an old one, which counts no more
		if consents, err = v.allMyConsents(); err != nil {
			return client.ConsentBody{}, err
		}
	}
	i := slices.IndexFunc(consents, named)
	if i < 0 {
		return client.ConsentBody{}, refusal(http.StatusNotFound, client.ProblemCodeNotFound)
	}
	return consents[i], nil
}

// allMyConsents returns all that the visitor decided.
func (v *Visit) allMyConsents() ([]client.ConsentBody, error) {
	return everyPage(func(after *string, limit *int64) ([]client.ConsentBody, *string, error) {
		list, err := v.API.ListConsents(v.r.Context(), &client.ListConsentsParams{Limit: limit, After: after})
		if err != nil {
			return nil, nil, err
		}
		return list.Body.Items, list.Body.Next, nil
	})
}

// WithdrawMineForm says what happens if this consent is withdrawn.
func (c *Console) WithdrawMineForm(v *Visit) error {
	consent, err := v.mineByID()
	if err != nil {
		return err
	}
	return v.render("me_withdraw", consent)
}

// WithdrawMine withdraws a consent of the visitor's at once. The one that their account
// rests on closes it, so that is asked about first.
func (c *Console) WithdrawMine(v *Visit) error {
	consent, err := v.mineByID()
	if err != nil {
		return err
	}
	if consent.Purpose == registration && v.Value("sure") != "yes" {
		v.redirect("/me/consents/" + consent.ID.String() + "/withdraw")
		return nil
	}

	withdrawn, err := v.API.WithdrawConsent(v.r.Context(), consent.ID, nil,
		&client.WithdrawConsentParams{IdempotencyKey: v.keyOf(consent.ID.String())})
	if err != nil {
		return v.mineAgain(err)
	}
	if withdrawn.Body.Staying != nil {
		v.leave()
		return v.render("me_closed", *withdrawn.Body.Staying)
	}
	v.redirect("/me?done=withdrawn")
	return nil
}

// leave ends the session of an account that is no more.
func (v *Visit) leave() {
	v.session.access, v.session.refresh, v.session.position = "", "", 0
	v.Visitor, v.Position = Visitor{}, 0
}

// gone tells somebody who was erased so: to sign in again, as others are told to, is not
// open to them. They may just have sent the form twice.
func (v *Visit) gone() {
	certificate := v.Visitor.Erased
	v.leave()
	if err := v.answer(http.StatusGone, "gone", certificate, nil); err != nil {
		panic(err)
	}
}

// MyReads lists everybody who looked at the visitor's data, newest first.
func (c *Console) MyReads(v *Visit) error {
	limit := pageSize
	list, err := v.API.ListReads(v.r.Context(), &client.ListReadsParams{Limit: &limit, After: v.optional("after")})
	if err != nil {
		return err
	}
	return v.render("me_reads", list.Body)
}

// myDataPage is what /me/data shows of what is held about the visitor. The files that it
// leads to hold all of it, however much that is.
type myDataPage struct {
	Me        client.UserBody
	First     bool
	Decisions []client.ConsentBody // newest first
	Next      *string
}

// myDecisions is how many decisions a page of /me/data shows.
const myDecisions = 20

// MyData shows who the visitor is here, and page by page what they decided.
func (c *Console) MyData(v *Visit) error {
	page := myDataPage{First: v.Value("after") == ""}
	err := together(
		func() error {
			me, err := v.API.GetMe(v.r.Context(), nil)
			if err == nil {
				page.Me = me.Body
			}
			return err
		},
		func() error {
			list, err := v.API.ListConsents(v.r.Context(),
				&client.ListConsentsParams{Limit: new(int64(myDecisions)), After: v.optional("after")})
			if err == nil {
				page.Decisions, page.Next = list.Body.Items, list.Body.Next
			}
			return err
		},
	)
	if err != nil {
		return err
	}
	return v.render("me_data", page)
}

// MyDataPaper hands over all that is held about the visitor, to read and to print: the
// API's own page.
func (c *Console) MyDataPaper(v *Visit) error {
	return v.stream(link("/api/v1/data-rights/my-data/page", "lang", v.Lang), "my-data.html")
}

// MyDataFile hands over all that is held about the visitor, to take along: the API's own
// bytes.
func (c *Console) MyDataFile(v *Visit) error {
	return v.stream("/api/v1/data-rights/my-data", "my-data.json")
}

// requestsPage is what /me/requests shows.
type requestsPage struct {
	client.Rights

	Kinds []client.LodgeRequestBodyKind
}

func (v *Visit) myRequests() (requestsPage, error) {
	limit := pageSize
	rights, err := v.API.GetRights(v.r.Context(), &client.GetRightsParams{Limit: &limit, After: v.optional("after")})
	if err != nil {
		return requestsPage{}, err
	}
	return requestsPage{rights.Body, []client.LodgeRequestBodyKind{
		client.LodgeRequestBodyKindAccess, client.LodgeRequestBodyKindCorrection,
		client.LodgeRequestBodyKindErasure, client.LodgeRequestBodyKindObjection,
	}}, nil
}

// MyRequests lists what the visitor asked for under POPIA, and why data must be kept.
func (c *Console) MyRequests(v *Visit) error {
	page, err := v.myRequests()
	if err != nil {
		return err
	}
	return v.render("me_requests", page)
}

// LodgeMine lodges a request of the visitor's.
func (c *Console) LodgeMine(v *Visit) error {
	body := client.LodgeRequestBody{
		Kind: client.LodgeRequestBodyKind(v.Value("kind")), Details: v.optional("details"),
	}
	_, err := v.API.LodgeRequest(v.r.Context(), body, &client.LodgeRequestParams{IdempotencyKey: v.key()})
	if err != nil {
		page, failed := v.myRequests()
		if failed != nil {
			return failed
		}
		return v.again("me_requests", page, err)
	}
	v.redirect("/me/requests?done=lodged")
	return nil
}

// eraseMePage says what an erasure destroys and keeps, as its certificate names it.
type eraseMePage struct {
	Destroyed, Kept []client.RemnantBodyWhat

	Held bool // a hold is in force: nothing can be erased
}

func (v *Visit) eraseMePage() (eraseMePage, error) {
	rights, err := v.rights(nil)
	return eraseMePage{
		Destroyed: []client.RemnantBodyWhat{
			client.RemnantBodyWhatProfile, client.RemnantBodyWhatFreeText, client.RemnantBodyWhatOrigins,
			client.RemnantBodyWhatCredentials, client.RemnantBodyWhatSessions,
		},
		Kept: []client.RemnantBodyWhat{
			client.RemnantBodyWhatConsents, client.RemnantBodyWhatAudit, client.RemnantBodyWhatStatistics,
		},
		Held: len(inForce(rights.Holds)) > 0,
	}, err
}

// EraseMeForm says what an erasure destroys and what it cannot.
func (c *Console) EraseMeForm(v *Visit) error {
	page, err := v.eraseMePage()
	if err != nil {
		return err
	}
	return v.render("me_erase", page)
}

// EraseMe erases the visitor, who types the words that say so.
func (c *Console) EraseMe(v *Visit) error {
	body := &client.EraseBody{Confirmation: v.Value("confirmation"), Password: v.Form.Get("password")}
	erased, err := v.API.DeleteAccount(v.r.Context(), body, &client.DeleteAccountParams{IdempotencyKey: v.key()})
	switch client.CodeOf(err) { // in words for whoever it is about
	case client.ProblemCodeStaffRecordKept:
		err = refusal(http.StatusConflict, "own_record_kept")
	case client.ProblemCodeRetentionHold:
		err = refusal(http.StatusConflict, "own_retention_hold")
	default: // as the API says it
	}
	if err != nil {
		page, failed := v.eraseMePage()
		if failed != nil {
			return failed
		}
		return v.again("me_erase", page, err)
	}
	v.leave()
	return v.render("me_erased", erased.Body)
}
