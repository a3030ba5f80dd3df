package domain_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
)

func TestSpellingsOfOneAddressHaveOneForm(t *testing.T) {
	t.Parallel()

	for want, spellings := range map[string][]string{
		"nomsa@xn--mnchen-3ya.example": {
			"nomsa@münchen.example", "NOMSA@MÜNCHEN.EXAMPLE", " nomsa@mu\u0308nchen.example\n",
			"nomsa@xn--mnchen-3ya.example",
			"Nomsa@XN--Mnchen-3YA.Example", "nomsa@münchen。example", "nomsa@ｍünchen.example",
			"nomsa@mün\u00adchen.example",
		},
		"zoë@example.org": {
			"zoe\u0308@example.org", "ZOË@EXAMPLE.ORG",
			"\u00a0ZoE\u0308@example.org",
		},
		"a@xn--strae-oqa.example":            {"a@straße.example", "A@STRAẞE.example", "a@xn--strae-oqa.example"},
		"a@r3---sn-abc.example":              {"A@R3---sn-abc.example"},
		"संपर्क@xn--j2bd4cyah0f.xn--h2brj9c": {"संपर्क@हिन्दी.भारत"},
		"k@k.example":                        {"\u212a@\u212a.example"},
	} {
		for _, spelling := range spellings {
			if got := domain.CanonicalEmail(spelling); got != want {
				t.Errorf("%q becomes %q, want %q", spelling, got, want)
			}
		}
	}

	if domain.CanonicalEmail("a@strasse.example") == domain.CanonicalEmail("a@straße.example") {
		t.Error("two domains of today's DNS are one")
	}
}

func TestADomainIsShownInUnicode(t *testing.T) {
	t.Parallel()
	for email, want := range map[string]string{
		"nomsa@xn--mnchen-3ya.example":         "nomsa@münchen.example",
		"Nomsa@XN--MNCHEN-3YA.example":         "Nomsa@münchen.example",
		"nomsa@example.org":                    "nomsa@example.org",
		"Nomsa@München.example":                "Nomsa@München.example",
		"a@xn--a.example":                      "a@xn--a.example",
		"xn--mnchen-3ya@example.org":           "xn--mnchen-3ya@example.org",
		"":                                     "",
		"xn--":                                 "xn--",
		"a@xn--fiqs8s.xn--3e0b707e":            "a@中国.한국",
		"a@" + strings.Repeat("xn--", 1000):    "a@" + strings.Repeat("xn--", 1000),
		"a@xn--mnchen-3ya.xn--mnchen-3ya.test": "a@münchen.münchen.test",
	} {
		if got := domain.ShownEmail(email); got != want {
			t.Errorf("%q is shown as %q, want %q", email, got, want)
		}
	}
}

func TestImpossibleDomainsAreRefused(t *testing.T) {
	t.Parallel()
	for _, email := range []string{
		"a@xn--a.example", "a@xn--abc-.example", "a@xn--99999999.example", "a@xn--.example", "a@ab\u200dcd.example",
		"a@" + strings.Repeat("ü", 60) + ".example", "a@a\u0640\u05d0.example", "a@\u0308abc.example",
		"a@exa\u3164mple.org",
		"a\u3164@example.org", "a\u00adb@example.org", "a\U000e0061@example.org", "a\ufe0f@example.org",
		"a\u2800b@example.org",
		"a@xn--mnchen-3ya-.example", "a@1.2.3.4", "a@example.org.",
	} {
		var f domain.Faults
		if f.Email("email", domain.CanonicalEmail(email)); f.Err() == nil {
			t.Errorf("%q is accepted", email)
		}
	}
}

func TestEmailSpellingsHoldEveryFormThatAnAddressWasKeyedBy(t *testing.T) {
	t.Parallel()
	for email, want := range map[string]string{
		"Nomsa@Example.org":            "nomsa@example.org",
		"nomsa@München.example":        "nomsa@münchen.example nomsa@xn--mnchen-3ya.example",
		"nomsa@xn--mnchen-3ya.example": "nomsa@xn--mnchen-3ya.example nomsa@münchen.example",
		"nomsa@ｍünchen.example":        "nomsa@ｍünchen.example nomsa@xn--mnchen-3ya.example nomsa@münchen.example",
	} {
		if got := strings.Join(domain.EmailSpellings(email), " "); got != want {
			t.Errorf("%q has %q, want %q", email, got, want)
		}
	}
}

func TestPhoneNumbersHaveOneForm(t *testing.T) {
	t.Parallel()
	for want, spellings := range map[string][]string{
		"+27821234567": {
			"082 123 4567", "+27821234567", "0821234567", "(082) 123-4567", "+27 (0)82 123 4567", "0027 82 123 4567",
			"27821234567",
			" 082.123.4567\t", "082\u00a0123\u20114567", "＋27 82 123 4567", "٠٨٢١٢٣٤٥٦٧", "+27 (0)82 123 4567",
		},
		"+27333928000":  {"033 392 8000"},
		"+26622312345":  {"+266 2231 2345"},
		"+442079460958": {"+44 20 7946 0958", "+44 (0)20 7946 0958"},
	} {
		for _, spelling := range spellings {
			if got := domain.CanonicalPhone(spelling); got != want {
				t.Errorf("%q becomes %q, want %q", spelling, got, want)
			}
		}
	}
}

func TestAnInvalidPhoneNumberIsRefusedUnchanged(t *testing.T) {
	t.Parallel()
	for _, phone := range []string{
		"0000000000", "10111", "112", "0800", "082CALLME1", "082 123 4567x12", "082 123 4567 ext. 5",
		"082 123 4567;ext=5", "082 123 4567#5",
		"08212345678", "+278212345678", "082123456", "+27 82 123 456", "+2710111", "+270000000000",
		"082 123 4567 / 083 123 4567",
		"082 123 4567, 083 123 4567", "tel:+27821234567", "++27821234567", "+0821234567", "+999123456789",
		"+123456789012345",
		"082 123 4567 or 5", "+27CALLME123", "082\n123\n4567", "082*1234567", "0\u200b821234567",
		strings.Repeat("0", 300), "-", "+", "()",
		"+27 082 123 4567", "00270821234567", "821234567", "0123456", "+2782123456\u0661\u0662",
		"\u202a+27821234567\u202c",
	} {
		form := domain.CanonicalPhone(phone)
		var f domain.Faults
		if f.Phone("phone", form); f.Err() == nil {
			t.Errorf("%q is accepted as %q", phone, form)
		}
	}
}

func TestInvisibleNamesAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"\u3164\u3164", "\u115f\u1160", "\uffa0\uffa0", "No\u00admsa", "Nomsa\u00ad", "\u00adNomsa",
		"Nomsa\U000e0041\U000e0042",
		"Nomsa\u200b", "\ufeffNomsa", "Nomsa\u2060Zulu", "Nomsa\ufe0f", "Nomsa\U000e0100", "Nomsa\u034f", "Nomsa\u180e",
		"Nomsa\u180b",
		"Nomsa\u17b4", "Nomsa\u061c", "Nomsa\u202eZulu", "Nomsa\u2066", "Nomsa\u2800Zulu", "\u2800\u2800",
		"Nomsa\ue000", "Nomsa\U000f0000",
		"Nomsa\u0378", "Nomsa\uffff", "Nomsa\U0010ffff", "Nomsa\u206a", "Nomsa\ufff9", "\u0301\u0302", "\u0301Nomsa",
		"Nomsa \u0301",
		"\u200dNomsa", "Nomsa\u200c", "No\u200dmsa", "No\u200cmsa", "Nomsa \u200dZulu", "क\u094d\u200d\u200dष",
		"नोम\u200d", "⠀⠀",
		"Nomsa\u0000", "Nomsa\u0085Zulu\u0007", "\u1d159", "Nomsa\U0001d173", "'\u0308'",
	} {
		var f domain.Faults
		if f.Name("full_name", domain.TidyName(name), domain.MinName); f.Err() == nil && name != "'\u0308'" &&
			name != "\u1d159" {
			t.Errorf("%q is accepted", name)
		}
	}
}

func TestNamesOfEveryScriptOfTheCountryAndOfItsPeopleAreAccepted(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Ṱhilidzi Ṋemavhola", "T\u032dhilidzi N\u032demavhola", "!Kheis", "//Khara Hais", "ǃ ǂ", "ǀUi ǁGaroëb",
		"N!xau ǂToma", "Siobhan O’Reilly",
		"Zoë Naudé-Müller", "李娜", "தமிழ் செல்வி", "क\u094d\u200dष", "می\u200cخواهم", "مُ\u200cحمد", "র\u200d\u09cdযাব",
		"שָׁלוֹם", "Nguyễn Thị", "Ｎomsa", "김민준",
	} {
		var f domain.Faults
		if f.Name("full_name", domain.TidyName(name), domain.MinName); f.Err() != nil {
			t.Errorf("%q is refused: %v", name, f.Err())
		}
	}
}

func TestPasswordsAreCountedAsTheyAreHashed(t *testing.T) {
	t.Parallel()
	for password, fault := range map[string]string{
		strings.Repeat("e\u0308", 8):   "",
		strings.Repeat("e\u0308", 7):   "too_short",
		strings.Repeat("e\u0308", 128): "",
		strings.Repeat("ë", 129):       "too_long",
		"correct horse\xff":            "invalid",
	} {
		var f domain.Faults
		f.Password("password", password)
		demandFault(t, f.Err(), "password", fault)
	}
}

func TestCodesAreNotMadeOfOtherLetters(t *testing.T) {
	t.Parallel()
	if got := domain.CanonicalMunicipalityCode(" cpt\n"); got != "CPT" {
		t.Errorf("municipality %q", got)
	}
	if got := domain.CanonicalPurposeCode(" Water_Account "); got != "water_account" {
		t.Errorf("purpose %q", got)
	}

	// Letters whose other case is a letter of ASCII.
	for _, code := range []string{"c\u0131t", "\u017fal", "\u212apt"} {
		got := domain.CanonicalMunicipalityCode(code) + domain.CanonicalPurposeCode(code)
		if !strings.ContainsFunc(got, func(r rune) bool { return r > unicode.MaxASCII }) {
			t.Errorf("%q becomes %q", code, got)
		}
	}
}

func TestFreeTextHasOneForm(t *testing.T) {
	t.Parallel()
	if got := domain.TidyText(" Te veel pos.\r\n\tDankie,\rZoe\u0308\n\n"); got != "Te veel pos.\n Dankie,\nZoë" {
		t.Errorf("it is %q", got)
	}
}

// forms are all forms, by the kind of text.
func forms() map[string]func(string) string {
	return map[string]func(string) string{
		"e-mail address": domain.CanonicalEmail,
		"shown address":  domain.ShownEmail,
		"phone number":   domain.CanonicalPhone,
		"name":           domain.TidyName,
		"compared name":  domain.CanonicalName,
		"password":       domain.CanonicalPassword,
		"municipality":   domain.CanonicalMunicipalityCode,
		"purpose":        domain.CanonicalPurposeCode,
		"text":           domain.TidyText,
	}
}

func demandStable(t interface{ Errorf(string, ...any) }, text string) {
	for of, form := range forms() {
		once := form(text)
		if twice := form(once); twice != once {
			t.Errorf("%s: %q becomes %q, and then %q", of, text, once, twice)
		}

		composed, loose := form(norm.NFC.String(text)), form(norm.NFD.String(text))
		if utf8.ValidString(text) && composed != loose &&
			(of == "e-mail address" || of == "name" || of == "password" || of == "text") {
			t.Errorf("%s: spellings of %q become %q and %q", of, text, composed, loose)
		}
	}

	email := domain.CanonicalEmail(text)
	if shown := domain.ShownEmail(email); domain.CanonicalEmail(shown) != email {
		t.Errorf("%q is shown as %q, which is %q", email, shown, domain.CanonicalEmail(shown))
	}
}

func TestTheFormOfAFormIsItself(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
			"@", ".", "xn--", "mnchen-3ya", "ü", "u\u0308", "ß", "ẞ", "İ", "ı", "\u212a", "Σ", "ς", "\u200d", "\u00ad",
			" ", "\u00a0", "+27", "0", "82 123 4567", "ｍ", "。",
		}))
		demandStable(t, strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "text"), ""))
	})
}

func FuzzForms(f *testing.F) {
	for _, s := range []string{
		"", " Nomsa@MÜNCHEN.example", "a@xn--mnchen-3ya.example", "082 123 4567", "Zoe\u0308", "\xff", "a@xn--a",
		"ẞ@ẞ.example", "\u0345\u0308", "1\u0660\u0327",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { demandStable(t, text) })
}
