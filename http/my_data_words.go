package http

import (
	_ "embed"
	"strings"

	"github.com/salga-trust/engine/domain"
)

//go:embed my_data_words.txt
var wordList string

// vocabulary holds the words that people read in place of codes: by language, then by the
// code or the name of a text. The isiZulu and Afrikaans words are those of the notices
// (cmd/trust/data/purposes.csv).
var vocabulary = readWords(wordList) //nolint:gochecknoglobals // read once, never written

// readWords reads lines of a name and its texts in English, isiZulu and Afrikaans,
// separated by " | ".
func readWords(list string) map[domain.Language]map[string]string {
	words := map[domain.Language]map[string]string{domain.English: {}, domain.Zulu: {}, domain.Afrikaans: {}}
	for line := range strings.Lines(list) {
		columns := strings.Split(strings.TrimSpace(line), " | ")
		if len(columns) != 1+len(words) {
			continue // a blank line
		}

		for i, language := range []domain.Language{domain.English, domain.Zulu, domain.Afrikaans} {
			words[language][columns[0]] = columns[1+i]
		}
	}
	return words
}

// words holds the words of one language.
type words map[string]string

// of returns the word for a code. A code without a word is at least written like one.
func (w words) of(code string) string {
	if word, known := w[code]; known {
		return word
	}
	plain := strings.NewReplacer("_", " ", ".", " ").Replace(strings.TrimSuffix(code, ".v1"))
	return strings.ToUpper(plain[:min(1, len(plain))]) + plain[min(1, len(plain)):]
}
