package domain_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/salga-trust/engine/domain"
)

// FuzzDecode: no bytes make decoding or folding panic, and an event that was decoded once
// is encoded and decoded without change.
func FuzzDecode(f *testing.F) {
	for i, eventType := range domain.EventTypes() {
		g := readGolden(f, eventType)
		f.Add(byte(i), []byte(g.Payload), []byte(g.Personal))
		f.Add(byte(i), []byte("{}"), []byte(`{"old":null}`))
		f.Add(byte(i), []byte(`null`), []byte(`{"full_name":{"old":1}}`))
	}
	f.Add(byte(0), []byte(`{"given_at":"0000-01-01T00:00:00+23:59"}`), []byte("\xff"))

	f.Fuzz(func(t *testing.T, which byte, payload, personal []byte) {
		types := domain.EventTypes()
		eventType := types[int(which)%len(types)]
		e, err := domain.Decode(eventType, payload, opens(personal))
		if err != nil {
			return
		}
		foldEverywhere(domain.Recorded{Position: 1, Version: 1, Event: e})

		again, sealed, err := domain.Encode(e)
		if err != nil {
			return // an instant beyond the year 9999
		}

		back := mustDecode(t, eventType, again, opens(sealed))
		once, onceSealed := mustEncode(t, back)
		if !bytes.Equal(again, once) || !bytes.Equal(sealed, onceSealed) {
			t.Errorf("%s does not keep its form:\n%s %s\n%s %s", eventType, again, sealed, once, onceSealed)
		}
	})
}

// printable reports what holds for every accepted value: valid UTF-8 without control
// characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == unicode.ReplacementChar || r == '\u2028' || r == '\u2029' ||
			unicode.Is(unicode.Bidi_Control, r)
	})
}

func FuzzEmail(f *testing.F) {
	for _, s := range []string{
		"", "a@b.za", "Thandi.NKOSI+stad@Example.CO.ZA", "संपर्क@हिन्दी.भारत", "a@@b.za", "a\u00a0b@c.za", "a@b.c\xff",
		"İ@example.za", "a@-b.za", "..@..", "ẞ@K.za",
	} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, email string) {
		var faults domain.Faults
		faults.Email("email", email)
		if faults.Err() != nil {
			demandSilence(t, faults.Err(), email)
			return
		}

		if !printable(email) || strings.ContainsFunc(email, unicode.IsSpace) || strings.Count(email, "@") != 1 ||
			utf8.RuneCountInString(email) > domain.MaxEmail || strings.ContainsAny(email, "<>\"(),;:\\[]") {
			t.Errorf("accepted %q", email)
		}

		local, host, _ := strings.Cut(email, "@")
		if local == "" || slices.Contains(strings.Split(host, "."), "") || !strings.Contains(host, ".") {
			t.Errorf("accepted %q", email)
		}

		var again domain.Faults
		if again.Email("email", domain.CanonicalEmail(email)); again.Err() != nil {
			t.Errorf("the canonical form of %q is refused: %v", email, again.Err())
		}
	})
}

// demandSilence demands that a refusal says one of these sentences and nothing else, so
// that it cannot repeat what was given.
func demandSilence(t *testing.T, err error, value string) {
	t.Helper()
	sentences := []string{
		"Give an e-mail address.", "An e-mail address has at most 254 characters.", "This is not an e-mail address.",
		"Give at least 2 characters.", "Give at most 100 characters.",
		"A name has letters or digits, no control or invisible characters and no angle brackets.",
		"Give a phone number like +27821234567 or 082 123 4567.",
		"Give at most 20 characters.", "Control characters are not allowed.",
	}

	refusal, ok := errors.AsType[*domain.Error](err)
	if !ok || len(refusal.Fields) != 1 || !slices.Contains(sentences, refusal.Fields[0].Message) {
		t.Errorf("refused %q with %v", value, err)
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{
		"", "Bo", "Ṱhilidzi Ṋemavhola", "!Kheis", "ǀUi ǁGaroëb", "Siobhan O'Reilly", "Thandi  Nkosi", "<b>", "a\x00b",
		"\xff\xff", "   ",
		"a\u202eb", "\u200b\u200b", "T\u032dh",
	} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, name string) {
		var faults domain.Faults
		faults.Name("full_name", name, domain.MinName)
		if faults.Err() != nil {
			demandSilence(t, faults.Err(), name)
			return
		}

		if n := utf8.RuneCountInString(name); !printable(name) || n < domain.MinName || n > domain.MaxName ||
			strings.ContainsAny(name, "<>") {
			t.Errorf("accepted %q", name)
		}

		tidy := domain.TidyName(name)
		var again domain.Faults
		if again.Name("full_name", tidy, domain.MinName); again.Err() != nil {
			t.Errorf("accepted %q, but not its tidy form: %v", name, again.Err())
		}

		canonical := domain.CanonicalName(name)
		if domain.TidyName(tidy) != tidy || domain.CanonicalName(canonical) != canonical {
			t.Errorf("%q has no stable tidy or canonical form", name)
		}
	})
}

func FuzzPhone(f *testing.F) {
	for _, s := range []string{
		"", "+27821234567", "082 123 4567", "+0821234567", "+٢٧٨٢", "+27821234567\n", "+\xff",
		"+27821234567 ",
	} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, phone string) {
		var faults domain.Faults
		faults.Phone("phone", phone)
		if faults.Err() != nil {
			demandSilence(t, faults.Err(), phone)
			return
		}

		digits, ok := strings.CutPrefix(phone, "+")
		if phone != "" && (!ok || len(digits) < 7 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" ||
			digits[0] == '0') {
			t.Errorf("accepted %q", phone)
		}
	})
}

func FuzzText(f *testing.F) {
	for _, s := range []string{
		"", "Te veel pos.\r\n\tDankie", "a\x00b", "\xff", strings.Repeat("Ṱ", 20),
		"\xe1\xb9\r\xb0",
	} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, text string) {
		var faults domain.Faults
		faults.Text("reason", text, 20)
		if faults.Err() != nil {
			demandSilence(t, faults.Err(), text)
			return
		}

		if !utf8.ValidString(text) || utf8.RuneCountInString(text) > 20 ||
			strings.ContainsAny(text, "\x00\x1b\u0085\u2028") {
			t.Errorf("accepted %q", text)
		}
	})
}

func FuzzCanonicalEmail(f *testing.F) {
	for _, s := range []string{
		"", " Thandi@Example.CO.ZA\n", "İ@example.za", "\xff", "ΑΣ@example.gr",
		"\u2003K@example.za\u3000", "ǅ@x.za",
	} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, email string) {
		once := domain.CanonicalEmail(email)
		if twice := domain.CanonicalEmail(once); twice != once {
			t.Errorf("%q becomes %q, and then %q", email, once, twice)
		}
		if once != strings.TrimSpace(once) {
			t.Errorf("%q keeps blanks: %q", email, once)
		}
	})
}
