package console

import (
	"slices"
	"strconv"
	"strings"

	"github.com/salga-trust/engine/http/client"
)

// purposeLine is a purpose in a list.
type purposeLine struct {
	client.PurposeBody

	Own     bool // the visitor's to change
	Version string
}

// Next returns the version of the wording that comes next.
func (p purposeLine) Next() int64 { return p.Notice.Version + 1 }

// purposePage is a purpose with its wordings, and how many stand under each.
type purposePage struct {
	purposeLine

	Versions []version // oldest first
	Standing countTable
}

// version is a version of a wording, beside the one before.
type version struct {
	client.NoticeBody

	Texts []versionText
}

// versionText is a wording in one language. Changes are against the version before; none
// of the first.
type versionText struct {
	Lang    string
	Text    string
	SHA256  string
	Changes []change
}

// lineOf tells whether the visitor's municipality may change a purpose: SALGA's are the
// defaults.
func (v *Visit) lineOf(p client.PurposeBody) purposeLine {
	return purposeLine{PurposeBody: p, Own: v.Visitor.Platform || p.Own}
}

// Purposes lists the purposes in force.
func (c *Console) Purposes(v *Visit) error {
	all, err := v.purposes()
	if err != nil {
		return err
	}

	var lines []purposeLine
	for _, p := range all {
		lines = append(lines, v.lineOf(p))
	}
	return v.render("purposes", lines)
}

// purposes returns the purposes in force in the visitor's municipality.
func (v *Visit) purposes() ([]client.PurposeBody, error) {
	return everyPage(func(after *string, limit *int64) ([]client.PurposeBody, *string, error) {
		page, err := v.API.ListPurposes(v.r.Context(), &client.ListPurposesParams{
			MunicipalityCode: v.municipality(), After: after, Limit: limit,
		})
		if err != nil {
			return nil, nil, err
		}
		return page.Body.Items, page.Body.Next, nil
	})
}

// municipality returns the code of the visitor's municipality; nil for SALGA, whose
// purposes are the defaults.
func (v *Visit) municipality() *string {
	if v.Visitor.Platform {
		return nil
	}
	return &v.Visitor.Municipality
}

// Purpose shows one purpose, all versions of its wording, and how many people stand under
// each of them.
func (c *Console) Purpose(v *Visit) error {
	line, err := v.purpose()
	if err != nil {
		return err
	}
	params := client.ListNoticesParams{MunicipalityCode: v.municipality()}
	notices, err := everyPage(func(after *string, limit *int64) ([]client.NoticeBody, *string, error) {
		params.After, params.Limit = after, limit
		page, err := v.API.ListNotices(v.r.Context(), line.Code, &params)
		if err != nil {
			return nil, nil, err
		}
		return page.Body.Items, page.Body.Next, nil
	})
	if err != nil {
		return err
	}

	counted, err := v.API.CountConsents(v.r.Context(), &client.CountConsentsParams{
		Purpose: &line.Code,
		By: []client.CountConsentsParamsBy{
			client.CountConsentsParamsByNoticeVersion, client.CountConsentsParamsByStatus,
		},
	})
	if err != nil {
		return err
	}
	return v.render("purpose", purposePage{
		purposeLine: line, Versions: versionsOf(notices),
		Standing: tableOf(counted.Body, func(c client.CountedBody) string { return plain(c.NoticeVersion) }),
	})
}

// purpose returns the purpose in the page's address.
func (v *Visit) purpose() (purposeLine, error) {
	p, err := v.API.GetPurpose(v.r.Context(), v.code(), &client.GetPurposeParams{MunicipalityCode: v.municipality()})
	if err != nil {
		return purposeLine{}, err
	}
	line := v.lineOf(p.Body)
	line.Version = p.ETag()
	return line, nil
}

func versionsOf(notices []client.NoticeBody) []version {
	versions := make([]version, len(notices))
	for i, n := range notices {
		versions[i].NoticeBody = n
		for _, lang := range Langs() {
			text := versionText{Lang: string(lang), Text: n.Texts[string(lang)], SHA256: n.SHA256[string(lang)]}
			if i > 0 {
				text.Changes = wordsChanged(notices[i-1].Texts[string(lang)], text.Text)
			}
			versions[i].Texts = append(versions[i].Texts, text)
		}
	}
	return versions
}

// Current returns the wording in force in every language.
func (p purposePage) Current() []versionText {
	if len(p.Versions) == 0 {
		return nil
	}
	return p.Versions[len(p.Versions)-1].Texts
}

// impactPage says who would have to be asked again.
type impactPage struct {
	client.ImpactBody

	Code string
}

// PurposeImpact lists who would have to be asked again if the next wording required it.
// The API records the look.
func (c *Console) PurposeImpact(v *Visit) error {
	found, err := v.API.PurposeImpact(v.r.Context(), v.code(), &client.PurposeImpactParams{After: v.optional("after")})
	if err != nil {
		return err
	}
	v.Position = found.Body.Position
	return v.render("purpose_impact", impactPage{ImpactBody: found.Body, Code: found.Body.Purpose})
}

// DefinePurposeForm shows the form for a new purpose.
func (c *Console) DefinePurposeForm(v *Visit) error { return v.render("purpose_new", nil) }

// DefinePurpose defines a purpose of the visitor's municipality.
func (c *Console) DefinePurpose(v *Visit) error {
	read := fieldReader{v: v}
	days, special := read.number("validity_days"), read.yes("special_personal_information")
	if err := read.refused(); err != nil {
		return v.again("purpose_new", nil, err)
	}

	made, err := v.API.DefinePurpose(v.r.Context(), client.DefinePurposeBody{
		Code: v.Value("code"), Basis: client.DefinePurposeBodyBasis(v.Value("basis")),
		Retention: v.Value("retention"), SpecialPersonalInformation: special,
		ValidityDays: days, Notice: client.NoticeStruct{Texts: v.wordings("notice.texts.")},
	}, &client.DefinePurposeParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.again("purpose_new", nil, err)
	}
	v.redirect("/console/purposes/" + made.Body.Code)
	return nil
}

// wordings returns the wording in each language, from the fields with a prefix.
func (v *Visit) wordings(prefix string) client.TextsBody {
	return client.TextsBody{En: v.Value(prefix + "en"), Zu: v.Value(prefix + "zu"), Af: v.Value(prefix + "af")}
}

// noticePage is the form for the next wording.
type noticePage struct {
	purposeLine

	// Affected is how many people would have to be asked again if it required it; nil:
	// SALGA asks nobody.
	Affected *int64
}

// nextNotice returns what the form for the next wording shows.
func (v *Visit) nextNotice() (noticePage, error) {
	line, err := v.purpose()
	if err != nil || v.Visitor.Platform {
		return noticePage{purposeLine: line}, err
	}

	counted, err := v.API.PurposeImpact(v.r.Context(), line.Code, &client.PurposeImpactParams{
		CountOnly: new(client.PurposeImpactParamsCountOnly("true")),
	})
	if err != nil {
		return noticePage{}, err
	}
	return noticePage{purposeLine: line, Affected: &counted.Body.Count}, nil
}

// NoticeForm shows the form for the next wording, which begins as the one in force.
func (c *Console) NoticeForm(v *Visit) error {
	page, err := v.nextNotice()
	if err != nil {
		return err
	}
	return v.render("purpose_notice", page)
}

// PublishNotice publishes the next wording of a purpose.
func (c *Console) PublishNotice(v *Visit) error {
	read := fieldReader{v: v}
	reconsent, days := read.instant("reconsent"), read.number("validity_days")
	err := read.refused()
	if err == nil {
		_, err = v.API.PublishNotice(v.r.Context(), v.code(), client.PublishNoticeBody{
			Texts: v.wordings("texts."), Reconsent: reconsent, ValidityDays: days,
		}, &client.PublishNoticeParams{IdempotencyKey: v.key(), IfMatch: v.optional("version")})
	}
	if err != nil {
		page, failed := v.nextNotice()
		if failed != nil {
			return failed
		}
		return v.again("purpose_notice", page, err)
	}

	v.redirect("/console/purposes/" + v.code())
	return nil
}

// RetireForm asks whether a purpose is to end.
func (c *Console) RetireForm(v *Visit) error {
	line, err := v.purpose()
	if err != nil {
		return err
	}
	return v.render("purpose_retire", line)
}

// RetirePurpose ends a purpose.
func (c *Console) RetirePurpose(v *Visit) error {
	retired, err := v.API.RetirePurpose(v.r.Context(), v.code(),
		&client.RetirePurposeParams{IdempotencyKey: v.key(), IfMatch: v.optional("version")})
	if err != nil {
		line, failed := v.purpose()
		if failed != nil {
			return failed
		}
		return v.again("purpose_retire", line, err)
	}
	v.redirect("/console/purposes/" + retired.Body.Code)
	return nil
}

// countTable is a count of consents by two features, the second of which is their status.
type countTable struct {
	Statuses []string
	Rows     []countRow
	Totals   []int64
	Total    int64
}

// countRow counts by status. A row without a name is of claims that lack it.
type countRow struct {
	Name   string
	Counts []int64
	Total  int64
}

// statuses lists what may become of an answer, in the order of columns.
func statuses() []string {
	return []string{"granted", "refused", "withdrawn", "expired", "lapsed", "annulled"}
}

// tableOf makes a table of counts, with a row for each name.
func tableOf(counted client.ConsentSummary, name func(client.CountedBody) string) countTable {
	table := countTable{Statuses: statuses(), Totals: make([]int64, len(statuses())), Total: counted.Count}
	for _, item := range counted.Items {
		row := table.row(name(item))
		row.Total += item.Count
		if i := slices.Index(table.Statuses, plain(item.Status)); i >= 0 {
			row.Counts[i] += item.Count
			table.Totals[i] += item.Count
		}
	}

	slices.SortFunc(table.Rows, func(a, b countRow) int { return byNumberThenName(a.Name, b.Name) })
	return table
}

func (t *countTable) row(name string) *countRow {
	for i := range t.Rows {
		if t.Rows[i].Name == name {
			return &t.Rows[i]
		}
	}
	t.Rows = append(t.Rows, countRow{Name: name, Counts: make([]int64, len(t.Statuses))})
	return &t.Rows[len(t.Rows)-1]
}

func byNumberThenName(a, b string) int {
	x, errA := strconv.Atoi(a)
	y, errB := strconv.Atoi(b)
	if errA == nil && errB == nil {
		return x - y
	}
	return strings.Compare(a, b)
}
