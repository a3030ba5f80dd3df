package console

import (
	"strings"
	"testing"
)

func marked(changes []change) string {
	var text []string
	for _, c := range changes {
		if c.Kind == "" {
			text = append(text, c.Text)
		} else {
			text = append(text, c.Kind+"("+c.Text+")")
		}
	}
	return strings.Join(text, " ")
}

func TestTheDifferenceOfTwoWordingsIsInWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ before, after, want string }{
		{"we may tell you by letter", "we may tell you by SMS", "we may tell you by del(letter) ins(SMS)"},
		{"a b c", "a b c", "a b c"},
		{"", "a b", "ins(a b)"},
		{"a b", "", "del(a b)"},
		{"", "", ""},
		{"a b c d", "b x d e", "del(a) b del(c) ins(x) d ins(e)"},
		{"to  tell\nyou", "to tell you", "to tell you"},
	} {
		if got := marked(wordsChanged(test.before, test.after)); got != test.want {
			t.Errorf("%q to %q: %q, want %q", test.before, test.after, got, test.want)
		}
	}
}

func TestWordingsTooLongToCompareAreShownWhole(t *testing.T) {
	t.Parallel()
	before := "same " + strings.Repeat("a b ", 1000) + "end"
	after := "same " + strings.Repeat("c d ", 1000) + "end"
	changes := wordsChanged(before, after)
	if len(changes) != 4 || changes[1].Kind != "del" || changes[2].Kind != "ins" || changes[3].Text != "end" {
		t.Errorf("%d changes", len(changes))
	}
}
