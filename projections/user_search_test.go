package projections_test

import (
	"cmp"
	"encoding/csv"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// Of people with all the names of the seed's file and with names of any letters, a search
// by any part of a name or address, in any case, finds those whose name and address have
// that part when they are put into lower case and compared one by one.
func TestASearchFindsWhatAPlainComparisonFinds(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test repeats what it found
	w := newWorld(t)
	super := w.db.Superuser(t)

	names := append(seedNames(t), anyNames(chance, 300)...)
	const insert = `insert into trust.users (id, tenant_id, municipality_code, email, full_name, phone,
			preferred_language, role, is_active, is_erased, created_at, updated_at, version, position)
		select gen_random_uuid(), $1, 'CPT', n.email, n.name, '', 'en', 'citizen', true, false, now(), now(), 1, 1
		from unnest($2::text[], $3::text[]) n (name, email)`
	emails := make([]string, len(names))
	for i, name := range names {
		emails[i] = anyAddress(chance, name)
	}
	for _, tenant := range []uuid.UUID{w.tenant.UUID, uuid.New()} {
		_, err := super.Exec(t.Context(), insert, tenant, names, emails)
		must(t, err)
	}

	const plain = `select u.id from trust.users u where u.tenant_id = $1 and
			(strpos(lower(u.full_name) || ' ' || lower(u.email), lower($2)) > 0
			or strpos(lower(u.email), lower($3)) > 0) order by u.id desc`
	found := 0
	for range 400 {
		i := chance.IntN(len(names))
		texts := []string{names[i], cmp.Or(emails[i], names[i]), names[i] + " " + emails[i]}
		q := anyPart(chance, texts[chance.IntN(len(texts))])
		text := domain.TidyName(q)
		if text == "" {
			continue
		}
		rows, err := super.Query(t.Context(), plain, w.tenant.UUID, text,
			domain.ShownEmail(domain.CanonicalEmail(text)))
		must(t, err)
		want, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		must(t, err)

		got := w.searched(t, projections.UserFilter{Q: q}, 1+chance.IntN(100))
		if !slices.Equal(got, want) {
			t.Fatalf("%q: found %d people, want %d", q, len(got), len(want))
		}
		found += len(want)
	}
	if found < 400 {
		t.Errorf("%d people found by all searches: this test looks for the wrong names", found)
	}
}

// searched returns the ids of all pages of a list.
func (w *world) searched(t *testing.T, f projections.UserFilter, limit int) (ids []uuid.UUID) {
	t.Helper()
	for page := (projections.Page{Limit: limit}); ; {
		list, err := w.queries.Users(t.Context(), w.tenant, f, page)
		must(t, err)
		for _, u := range list.Items {
			ids = append(ids, u.ID.UUID)
		}
		if page.After = list.Next; page.After == "" {
			return ids
		}
	}
}

// seedNames returns the names of the file that the seed takes them from.
func seedNames(t *testing.T) (names []string) {
	t.Helper()
	file, err := os.Open("../cmd/trust/data/names.csv")
	must(t, err)
	defer func() { _ = file.Close() }()
	rows, err := csv.NewReader(file).ReadAll()
	must(t, err)

	for _, row := range rows[1:] {
		names = append(names, row[1])
	}
	if len(names) < 100 {
		t.Fatalf("%d names: this test reads the wrong file", len(names))
	}
	return names
}

// letters are of the country's languages and of others, with marks, with cases that do
// not come in pairs, and with what patterns would take for more than a letter.
const letters = "abcdeghinosstuwxzABKNSTZ    ''--.%_\\*êëïöôáéŝšńǀǃǂḓḽṋṱṅṰṊḒḼßẞİıΣσςǅﬁÉèÈčŠÅåKΩΩѝжЖ\u0301\u0331"

func anyNames(chance *rand.Rand, n int) []string {
	names, letters := make([]string, n), []rune(letters)
	for i := range names {
		name := make([]rune, 2+chance.IntN(18))
		for j := range name {
			name[j] = letters[chance.IntN(len(letters))]
		}
		names[i] = domain.TidyName("N" + string(name))
	}
	return names
}

// anyAddress returns an address in some spelling, or none.
func anyAddress(chance *rand.Rand, name string) string {
	host := []string{"example.org", "Example.ORG", "münchen.example", "xn--mnchen-3ya.example"}[chance.IntN(4)]
	if chance.IntN(5) == 0 {
		return ""
	}
	return strings.ReplaceAll(name, " ", ".") + "@" + host
}

// anyPart returns a part of a text, perhaps in another case or with more blanks.
func anyPart(chance *rand.Rand, text string) string {
	runes := []rune(text)
	from := chance.IntN(len(runes))
	part := string(runes[from : from+1+chance.IntN(len(runes)-from)])
	if chance.IntN(4) == 0 {
		part = text
	}
	return []func(string) string{
		strings.ToUpper, strings.ToLower, strings.ToTitle, strings.TrimSpace,
		func(s string) string { return " " + strings.ReplaceAll(s, " ", "  ") },
	}[chance.IntN(5)](part)
}
