package domain_test

import (
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// demandFault demands exactly this fault of a field, or none if the code is empty.
func demandFault(t *testing.T, err error, field, code string) {
	t.Helper()
	got := strings.Join(domaintest.FaultsOf(err), "; ")
	want := ""
	if code != "" {
		want = field + " " + code
	}

	if got != want || (code == "") != (err == nil) {
		t.Errorf("faults %q, want %q", got, want)
	}
}

func TestEmailAddresses(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct{ email, fault string }{
		"plain":                           {"thandi@example.co.za", ""},
		"upper case":                      {"Thandi.NKOSI@Example.CO.ZA", ""},
		"plus tag":                        {"thandi+stad@example.org.za", ""},
		"apostrophe":                      {"siobhan.o'reilly@example.ie", ""},
		"municipal subdomains":            {"records.office@gis.msunduzi.gov.za", ""},
		"Tshivenda letters":               {"ṱhilidzi@example.co.za", ""},
		"a domain with accents":           {"info@dorpsraad-naudé.co.za", ""},
		"a domain in another script":      {"संपर्क@हिन्दी.भारत", ""},
		"a domain in Punycode":            {"info@xn--fiqs8s.xn--3e0b707e", ""},
		"a domain with digits":            {"a@123.co.za", ""},
		"one character each":              {"a@b.za", ""},
		"a local part of 64 characters":   {strings.Repeat("a", 64) + "@example.co.za", ""},
		"a local part of 65 characters":   {strings.Repeat("a", 65) + "@example.co.za", "invalid"},
		"255 characters":                  {"a@" + strings.Repeat("example.", 31) + "za.za", "too_long"},
		"empty":                           {"", "required"},
		"blanks only":                     {"   ", "invalid"},
		"no at sign":                      {"thandi.example.co.za", "invalid"},
		"two at signs":                    {"thandi@@example.co.za", "invalid"},
		"no local part":                   {"@example.co.za", "invalid"},
		"no domain":                       {"thandi@", "invalid"},
		"no dot in the domain":            {"thandi@localhost", "invalid"},
		"a dot first":                     {".thandi@example.co.za", "invalid"},
		"a dot before the at sign":        {"thandi.@example.co.za", "invalid"},
		"two dots in the local part":      {"thandi..nkosi@example.co.za", "invalid"},
		"two dots in the domain":          {"thandi@example..za", "invalid"},
		"a dot last":                      {"thandi@example.co.za.", "invalid"},
		"a label that starts with a dash": {"thandi@-example.co.za", "invalid"},
		"a label that ends with a dash":   {"thandi@example-.co.za", "invalid"},
		"a last label with a dash first":  {"thandi@example.-za", "invalid"},
		"a last label of one letter":      {"thandi@example.z", "invalid"},
		"a number for a last label":       {"thandi@10.0.0.1", "invalid"},
		"a blank within":                  {"thandi nkosi@example.co.za", "invalid"},
		"a blank last":                    {"thandi@example.co.za ", "invalid"},
		"a no-break space":                {"thandi\u00a0nkosi@example.co.za", "invalid"},
		"a zero-width space":              {"thandi\u200b@example.co.za", "invalid"},
		"a line break":                    {"thandi@example.co.za\nbcc: all@example.co.za", "invalid"},
		"a line break last":               {"thandi@example.co.za\n", "invalid"},
		"a control character of C1":       {"thandi\u0085@example.co.za", "invalid"},
		"text turned around":              {"thandi\u202e@example.co.za", "invalid"},
		"broken UTF-8":                    {"thandi\xff@example.co.za", "invalid"},
		"a display name":                  {"Thandi <thandi@example.co.za>", "invalid"},
		"a list":                          {"a@example.co.za,b@example.co.za", "invalid"},
		"markup":                          {"<script>@example.co.za", "invalid"},
		"an underscore in the domain":     {"thandi@my_example.co.za", "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f domain.Faults
			f.Email("email", c.email)
			demandFault(t, f.Err(), "email", c.fault)
		})
	}
}

func TestNamesOfPeople(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct{ name, fault string }{
		"Tshivenda":                    {"Ṱhilidzi Ṋemavhola", ""},
		"Tshivenda, all five letters":  {"Ḓ Ḽ Ṅ Ṋ Ṱ", ""},
		"Tshivenda with loose marks":   {"T\u032dhilidzi N\u032demavhola", ""},
		"Khoekhoe clicks":              {"ǀUi ǁGaroëb ǂToma ǃKhein", ""},
		"a click written as !":         {"N!xau", ""},
		"an apostrophe":                {"Siobhan O'Reilly", ""},
		"a curly apostrophe":           {"Siobhan O’Reilly", ""},
		"double spaces":                {"Thandi  Nkosi", ""},
		"particles and dots":           {"Adv. J.P. van der Merwe", ""},
		"a hyphen and accents":         {"Zoë Naudé-Müller", ""},
		"Tamil":                        {"தமிழ் செல்வி", ""},
		"Chinese, two characters":      {"李娜", ""},
		"two characters":               {"Bo", ""},
		"a joiner within":              {"क्\u200dष", ""},
		"100 characters":               {strings.Repeat("Ṱ", 100), ""},
		"101 characters":               {strings.Repeat("Ṱ", 101), "too_long"},
		"one character":                {"Ṱ", "too_short"},
		"empty":                        {"", "too_short"},
		"blanks only":                  {"     ", "too_short"},
		"no-break spaces only":         {"\u00a0\u00a0\u00a0", "too_short"},
		"one character between blanks": {"  T  ", "too_short"},
		"markup":                       {"<script>alert(1)</script>", "invalid"},
		"a NUL":                        {"Thandi\x00Nkosi", "invalid"},
		"a line break":                 {"Thandi\nNkosi", "invalid"},
		"an escape sequence":           {"Thandi\x1b[31m", "invalid"},
		"a control character of C1":    {"Thandi\u009bNkosi", "invalid"},
		"a line separator":             {"Thandi\u2028Nkosi", "invalid"},
		"broken UTF-8":                 {"Thandi\xc3\x28", "invalid"},
		"a character that was lost":    {"Thandi \ufffd", "invalid"},
		"text turned around":           {"Thandi \u202eisokN", "invalid"},
		"a mark of direction":          {"Thandi\u200f Nkosi", "invalid"},
		"nothing to be seen":           {"\u200b\u200b\u200b", "invalid"},
		"signs only":                   {"---", "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f domain.Faults
			f.Name("full_name", c.name, domain.MinName)
			demandFault(t, f.Err(), "full_name", c.fault)
		})
	}
}

func TestPhoneNumbers(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct{ phone, fault string }{
		"a South African cell phone":   {"+27821234567", ""},
		"a South African landline":     {"+27333928000", ""},
		"Lesotho":                      {"+26622312345", ""},
		"fifteen digits of no plan":    {"+123456789012345", "invalid"},
		"one digit too many":           {"+278212345678", "invalid"},
		"none":                         {"", ""},
		"national form":                {"082 123 4567", "invalid"},
		"blanks within":                {"+27 82 123 4567", "invalid"},
		"no plus":                      {"27821234567", "invalid"},
		"two zeros for the plus":       {"0027821234567", "invalid"},
		"a country that starts with 0": {"+0821234567", "invalid"},
		"sixteen digits":               {"+1234567890123456", "invalid"},
		"too few digits":               {"+278212", "invalid"},
		"letters":                      {"+27CALLME", "invalid"},
		"an extension":                 {"+27333928000x12", "invalid"},
		"a line break last":            {"+27821234567\n", "invalid"},
		"digits of another script":     {"+٢٧٨٢١٢٣٤٥٦٧", "invalid"},
		"marks of direction around it": {"\u202a+27821234567\u202c", "invalid"},
		"blanks only":                  {" ", "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f domain.Faults
			f.Phone("phone", c.phone)
			demandFault(t, f.Err(), "phone", c.fault)
		})
	}
}

func TestFreeText(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct{ text, fault string }{
		"empty":                            {"", ""},
		"lines and tabs":                   {"Ek wil nie meer nie.\r\n\tDankie", ""},
		"markup is mere text":              {"<b>no</b> & 'no' \"no\"", ""},
		"ten characters":                   {"ṰṰṰṰṰṰṰṰṰṰ", ""},
		"eleven characters":                {"ṰṰṰṰṰṰṰṰṰṰṰ", "too_long"},
		"a NUL":                            {"a\x00b", "invalid"},
		"broken UTF-8":                     {"a\xffb", "invalid"},
		"a character broken by a line end": {"\xe1\xb9\r\xb0", "invalid"},
		"a terminal's backspace":           {"a\bb", "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := 10
			if !strings.Contains(c.text, "Ṱ") {
				limit = domain.MaxReason
			}

			var f domain.Faults
			f.Text("reason", c.text, limit)
			demandFault(t, f.Err(), "reason", c.fault)
		})
	}
}

func TestCanonicalForms(t *testing.T) {
	t.Parallel()
	if got := domain.CanonicalEmail("  Ṱhandi@Example.CO.ZA\n"); got != "ṱhandi@example.co.za" {
		t.Errorf("e-mail address %q", got)
	}
	if got := domain.CanonicalName("  City  OF\tCape\u00a0Town "); got != "city of cape town" {
		t.Errorf("name %q", got)
	}
	if got := domain.TidyName("  Thandi \t Nkosi "); got != "Thandi Nkosi" {
		t.Errorf("tidy name %q", got)
	}
}

func TestClosedListsHoldWhatTheContractNames(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		what string
		got  int
		want int
	}{
		{"roles", len(domain.Roles()), 5},
		{"languages", len(domain.Languages()), 3},
		{"channels", len(domain.Channels()), 6},
		{"provinces", len(domain.Provinces()), 9},
		{"bases of POPIA s11(1)", len(domain.Bases()), 6},
	} {
		if c.got != c.want {
			t.Errorf("%d %s, want %d", c.got, c.what, c.want)
		}
	}

	if domain.Role("Admin").Valid() || domain.Role("").Valid() || !domain.Admin.Valid() {
		t.Error("roles are closed and letter case matters")
	}
	if domain.Language("xh").Valid() || !domain.Zulu.Valid() || domain.Channel("fax").Valid() || !domain.USSD.Valid() {
		t.Error("languages and channels are closed")
	}
}
