package domain

import (
	"fmt"
	"time"
)

// Letter is an e-mail that carries a one-time code.
type Letter struct {
	Kind         CodeKind
	To           string // in canonical form
	Language     Language
	Municipality string // its name
	Code         CodeText
	ExpiresAt    time.Time
}

// letterWords is what a letter says in one language. Line breaks in it are those of the
// letter: short lines, because mail programs wrap plain text badly.
type letterWords struct {
	subject string // %s: the municipality
	purpose string // what the code is for
	rest    string // %s: how long; %s: the municipality
}

// lettersOf returns the words for a kind of code. No letter has a link: programs that
// scan mail follow links, and would use the code up.
func lettersOf(kind CodeKind) map[Language]letterWords {
	if kind == EmailVerificationCode {
		return map[Language]letterWords{
			English: {
				subject: "Your code to confirm your e-mail address – %s",
				purpose: "Use this code to confirm that this e-mail address is yours:",
				rest: "It works once, within %d minutes. Nobody from the municipality will ever\nask you for it.\n\n" +
					"If you did not ask for it, you need not do anything.\n\n%s\n",
			},
			Zulu: {
				subject: "Ikhodi yakho yokuqinisekisa ikheli lakho le-imeyili – %s",
				purpose: "Sebenzisa le khodi ukuqinisekisa ukuthi leli kheli le-imeyili ngelakho:",
				rest: "Isebenza kanye, emizuzwini engu-%d. Akekho ovela kumasipala\noyoke akucele yona.\n\n" +
					"Uma ungayicelanga, akudingeki wenze lutho.\n\n%s\n",
			},
			Afrikaans: {
				subject: "U kode om u e-posadres te bevestig – %s",
				purpose: "Gebruik hierdie kode om te bevestig dat hierdie e-posadres u eie is:",
				rest: "Dit werk een keer, binne %d minute. Niemand van die munisipaliteit sal u\nooit daarvoor vra nie.\n\n" +
					"As u nie daarvoor gevra het nie, hoef u niks te doen nie.\n\n%s\n",
			},
		}
	}

	return map[Language]letterWords{
		English: {
			subject: "Your code for a new password – %s",
			purpose: "Use this code to set a new password:",
			rest: "It works once, within %d minutes. Nobody from the municipality will ever\nask you for it.\n\n" +
				"If you did not ask for it, you need not do anything: your password stays as\nit is.\n\n%s\n",
		},
		Zulu: {
			subject: "Ikhodi yakho yephasiwedi entsha – %s",
			purpose: "Sebenzisa le khodi ukusetha iphasiwedi entsha:",
			rest: "Isebenza kanye, emizuzwini engu-%d. Akekho ovela kumasipala\noyoke akucele yona.\n\n" +
				"Uma ungayicelanga, akudingeki wenze lutho: iphasiwedi yakho\nihlala injalo.\n\n%s\n",
		},
		Afrikaans: {
			subject: "U kode vir 'n nuwe wagwoord – %s",
			purpose: "Gebruik hierdie kode om 'n nuwe wagwoord te stel:",
			rest: "Dit werk een keer, binne %d minute. Niemand van die munisipaliteit sal u\nooit daarvoor vra nie.\n\n" +
				"As u nie daarvoor gevra het nie, hoef u niks te doen nie: u wagwoord bly\nsoos dit is.\n\n%s\n",
		},
	}
}

func (l Letter) words() letterWords {
	words, known := lettersOf(l.Kind)[l.Language]
	if !known {
		words = lettersOf(l.Kind)[English]
	}
	return words
}

// Subject returns the subject line.
func (l Letter) Subject() string { return fmt.Sprintf(l.words().subject, l.Municipality) }

// Text returns the letter in plain text, with lines ended by \n.
func (l Letter) Text() string {
	words := l.words()
	return words.purpose + "\n\n    " + l.Code.String() + "\n\n" +
		fmt.Sprintf(words.rest, int(CodeLasts/time.Minute), l.Municipality)
}
