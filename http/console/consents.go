package console

import (
	"net/url"
	"time"

	"github.com/salga-trust/engine/http/client"
)

// consentsPage says how everybody's consents stood at an instant.
type consentsPage struct {
	client.ConsentSummary

	Purposes []string
	Table    countTable
	Files    []consentFile // none if the question was refused

	// Asked says that something was asked, so that people are listed.
	Asked bool
	Rows  []consentLine
	Next  *string
	// Later is the address of the next page.
	Later string
}

// consentLine is a consent, and the address of its person as they stood then.
type consentLine struct {
	client.ConsentBody

	Address string
}

// consentFile is a download of what a page counts.
type consentFile struct{ Format, Address string }

// stateQuestion is a question about the state of consents, with its two clocks.
type stateQuestion struct {
	AsOf, KnownAt      *time.Time
	Position           *int64
	NoticeVersion      *int64
	GivenFrom, GivenTo *time.Time
}

// stateQuestion reads the question in the address.
func (v *Visit) stateQuestion() (stateQuestion, error) {
	read := fieldReader{v: v}
	q := stateQuestion{
		AsOf: read.instant("as_of"), KnownAt: read.instant("known_at"), Position: read.number("position"),
		NoticeVersion: read.number("notice_version"),
		GivenFrom:     read.instant("given_from"), GivenTo: read.instant("given_to"),
	}
	return q, read.refused()
}

// Consents counts everybody's consents as of a date, and lists them in pages. Until
// something is asked nobody is listed, so that opening the page is no look at anybody.
func (c *Console) Consents(v *Visit) error {
	page := consentsPage{Asked: v.asked()}
	purposes, err := v.purposes()
	if err != nil {
		return err
	}
	for _, p := range purposes {
		page.Purposes = append(page.Purposes, p.Code)
	}

	q, err := v.stateQuestion()
	if err == nil && v.Value("after") != "" { // the cursor says which moment the counts are about
		q, err = v.listConsents(&page, q)
	}
	if err == nil {
		err = v.countConsents(&page, q)
	}
	if err == nil && page.Asked && v.Value("after") == "" {
		q.AsOf, q.KnownAt, q.Position = page.AsOf, nil, &page.Position
		_, err = v.listConsents(&page, q)
	}
	if err != nil {
		return v.again("consents", consentsPage{Purposes: page.Purposes}, err)
	}

	v.Position = page.Position
	page.Files = v.consentFiles(page.ConsentSummary)
	if page.Next != nil {
		later := view{Visit: v}
		page.Later = later.Own("after", *page.Next, "known_at", "", "position", plain(page.Position))
	}
	return v.render("consents", page)
}

// asked reports whether the form was sent, be it empty.
func (v *Visit) asked() bool {
	query := v.r.URL.Query()
	query.Del("lang")
	return len(query) > 0
}

// countConsents completes the page with counts.
func (v *Visit) countConsents(page *consentsPage, q stateQuestion) error {
	counted, err := v.API.CountConsents(v.r.Context(), &client.CountConsentsParams{
		AsOf: q.AsOf, KnownAt: q.KnownAt, Position: q.Position, NoticeVersion: q.NoticeVersion,
		GivenFrom: q.GivenFrom, GivenTo: q.GivenTo,
		Purpose: v.optional("purpose"), Status: chosen[client.CountConsentsParamsStatus](v, "status"),
		Channel:  chosen[client.CountConsentsParamsChannel](v, "channel"),
		Language: chosen[client.CountConsentsParamsLanguage](v, "language"),
		By: []client.CountConsentsParamsBy{
			client.CountConsentsParamsByPurpose, client.CountConsentsParamsByStatus,
		},
	})
	if err != nil {
		return err
	}

	page.ConsentSummary = counted.Body
	page.Table = tableOf(counted.Body, func(c client.CountedBody) string { return plain(c.Purpose) })
	return nil
}

// listConsents completes the page with a part of the list, and returns the question with
// the moment that the list is about. A moment in the address must be that of the cursor
// beside it.
func (v *Visit) listConsents(page *consentsPage, q stateQuestion) (stateQuestion, error) {
	asked := client.ListConsentsAsOfParams{
		KnownAt: q.KnownAt, NoticeVersion: q.NoticeVersion, GivenFrom: q.GivenFrom, GivenTo: q.GivenTo,
		Purpose: v.optional("purpose"), Status: chosen[client.ListConsentsAsOfParamsStatus](v, "status"),
		Channel:  chosen[client.ListConsentsAsOfParamsChannel](v, "channel"),
		Language: chosen[client.ListConsentsAsOfParamsLanguage](v, "language"), After: v.optional("after"),
	}
	if asked.After == nil {
		asked.AsOf, asked.Position = q.AsOf, q.Position
	}
	list, err := v.API.ListConsentsAsOf(v.r.Context(), &asked)
	if err != nil {
		return q, err
	}

	of := list.Body
	if q.Position != nil && *q.Position != of.Position {
		return q, misread("position")
	}
	if q.AsOf != nil && (of.AsOf == nil || !q.AsOf.Truncate(time.Microsecond).Equal(*of.AsOf)) {
		return q, misread("as_of")
	}
	q.AsOf, q.Position = of.AsOf, &of.Position

	page.Next = of.Next
	for _, row := range of.Items {
		address := "/console/people/" + row.SubjectID.String() + "?" + momentOf(of.Position, of.AsOf).Encode()
		page.Rows = append(page.Rows, consentLine{row, address})
	}
	return q, nil
}

// momentOf names a moment in an address.
func momentOf(position int64, asOf *time.Time) url.Values {
	query := url.Values{"position": {plain(position)}}
	if asOf != nil {
		query.Set("as_of", asOf.Format(time.RFC3339Nano))
	}
	return query
}

// consentFiles returns the downloads of what was counted: at the same position, so that
// they agree with the counts however much later they are made.
func (v *Visit) consentFiles(counted client.ConsentSummary) (files []consentFile) {
	for _, format := range []string{"csv", "ndjson"} {
		query := momentOf(counted.Position, counted.AsOf)
		query.Set("format", format)
		v.keepFilters(query)
		files = append(files, consentFile{format, "/console/consents/download?" + query.Encode()})
	}
	return files
}

// keepFilters adds the filters in the address to another.
func (v *Visit) keepFilters(query url.Values) {
	for _, field := range []string{
		"purpose", "status", "channel", "language", "notice_version", "given_from", "given_to",
	} {
		if value := v.Value(field); value != "" {
			query.Set(field, value)
		}
	}
}

// DownloadConsents sends the state of everybody's consents as a file. The API records the
// look.
func (c *Console) DownloadConsents(v *Visit) error {
	q, err := v.stateQuestion()
	if err != nil {
		return err
	}

	query := url.Values{}
	for _, field := range []string{"format", "position"} {
		if value := v.Value(field); value != "" {
			query.Set(field, value)
		}
	}
	v.keepFilters(query)
	for field, at := range map[string]*time.Time{
		"as_of": q.AsOf, "known_at": q.KnownAt, "given_from": q.GivenFrom, "given_to": q.GivenTo,
	} {
		if at != nil {
			query.Set(field, at.Format(time.RFC3339Nano))
		}
	}
	return v.stream("/api/v1/compliance/consents?"+query.Encode(), "")
}
