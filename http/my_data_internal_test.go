package http

import (
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
)

func TestEveryWordIsInEveryLanguage(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(wordList) {
		if columns := strings.Split(strings.TrimSpace(line), " | "); len(columns) != 4 {
			t.Errorf("%q has %d columns, want 4", line, len(columns))
		}
	}
	for _, event := range domain.EventTypes() {
		if vocabulary[domain.Zulu][event] == "" {
			t.Errorf("my_data_words.txt has no words for %s", event)
		}
	}
}

func TestThePagesLanguageIsTheOneAskedForThenThePersonsThenTheBrowsers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		asked PageLanguage
		mine  domain.Language
		want  domain.Language
	}{
		{PageLanguage{Lang: "af", Language: "en", Accepted: "zu"}, domain.Zulu, domain.Afrikaans},
		{PageLanguage{Language: "af"}, domain.Zulu, domain.Afrikaans},
		{PageLanguage{Accepted: "af"}, domain.Zulu, domain.Zulu},
		{PageLanguage{Accepted: "fr, af-ZA;q=0.8, en"}, "", domain.Afrikaans},
		{PageLanguage{Accepted: "fr"}, "", domain.English},
	} {
		if got := c.asked.of(domain.User{PreferredLanguage: c.mine}); got != c.want {
			t.Errorf("%+v of a person with %q: %s, want %s", c.asked, c.mine, got, c.want)
		}
	}
}
