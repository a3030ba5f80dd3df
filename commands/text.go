package commands

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/unicode/norm"
)

// tidy trims text and puts it in Unicode form C, so that one spelling of Ṱ is one value.
func tidy(text string) string { return norm.NFC.String(strings.TrimSpace(text)) }

// E164 returns a phone number in E.164 form. For text that is no possible number of any country it
// returns "invalid", for the domain to refuse.
func E164(phone string) string {
	phone = strings.TrimSpace(phone)
	if phone == "" {
		return ""
	}

	n, err := phonenumbers.Parse(phone, "ZA")
	if err != nil || !phonenumbers.IsPossibleNumber(n) {
		return "invalid"
	}
	return phonenumbers.Format(n, phonenumbers.E164)
}
