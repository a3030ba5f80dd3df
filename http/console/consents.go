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
}

// consentFile is a download of what a page counts.
type consentFile struct{ Format, Address string }

// stateQuestion is a question about the state of consents, with its two clocks.
type stateQuestion struct {
	AsOf, KnownAt           *time.Time
	Position, NoticeVersion *int64
}

// stateQuestion reads the question in the address.
func (v *Visit) stateQuestion() (stateQuestion, error) {
	read := fieldReader{v: v}
	q := stateQuestion{
		AsOf: read.instant("as_of"), KnownAt: read.instant("known_at"), Position: read.number("position"),
		NoticeVersion: read.number("notice_version"),
	}
	return q, read.refused()
}

// Consents counts everybody's consents as of a date. No person is shown.
func (c *Console) Consents(v *Visit) error {
	page := consentsPage{}
	lines, err := v.purposes()
	if err != nil {
		return err
	}
	for _, line := range lines {
		page.Purposes = append(page.Purposes, line.Code)
	}

	q, err := v.stateQuestion()
	if err != nil {
		return v.again("consents", page, err)
	}
	counted, err := v.API.CountConsents(v.r.Context(), &client.CountConsentsParams{
		AsOf: q.AsOf, KnownAt: q.KnownAt, Position: q.Position, NoticeVersion: q.NoticeVersion,
		Purpose: v.optional("purpose"), Status: chosen[client.CountConsentsParamsStatus](v, "status"),
		Channel:  chosen[client.CountConsentsParamsChannel](v, "channel"),
		Language: chosen[client.CountConsentsParamsLanguage](v, "language"),
		By: []client.CountConsentsParamsBy{
			client.CountConsentsParamsByPurpose, client.CountConsentsParamsByStatus,
		},
	})
	if err != nil {
		return v.again("consents", page, err)
	}

	page.ConsentSummary, v.Position = counted.Body, counted.Body.Position
	page.Table = tableOf(counted.Body, func(c client.CountedBody) string { return plain(c.Purpose) })
	page.Files = v.consentFiles(counted.Body)
	return v.render("consents", page)
}

// consentFiles returns the downloads of what was counted: at the same position, so that
// they agree with the counts however much later they are made.
func (v *Visit) consentFiles(counted client.ConsentSummary) (files []consentFile) {
	for _, format := range []string{"csv", "ndjson"} {
		query := url.Values{"format": {format}, "position": {plain(counted.Position)}}
		if counted.AsOf != nil {
			query.Set("as_of", counted.AsOf.Format(time.RFC3339Nano))
		}
		for _, field := range []string{"purpose", "status", "channel", "language", "notice_version"} {
			if value := v.Value(field); value != "" {
				query.Set(field, value)
			}
		}
		files = append(files, consentFile{format, "/console/consents/download?" + query.Encode()})
	}
	return files
}

// DownloadConsents sends the state of everybody's consents as a file. The API records the
// look.
func (c *Console) DownloadConsents(v *Visit) error {
	q, err := v.stateQuestion()
	if err != nil {
		return err
	}

	query := url.Values{}
	for field, at := range map[string]*time.Time{"as_of": q.AsOf, "known_at": q.KnownAt} {
		if at != nil {
			query.Set(field, at.Format(time.RFC3339Nano))
		}
	}
	for _, field := range []string{
		"format", "position", "purpose", "status", "channel", "language", "notice_version",
	} {
		if value := v.Value(field); value != "" {
			query.Set(field, value)
		}
	}
	return v.stream("/api/v1/compliance/consents?" + query.Encode())
}
