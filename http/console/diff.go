package console

import "strings"

// change is a piece of a text as it stands beside an older one: kept, taken out ("del")
// or put in ("ins").
type change struct{ Kind, Text string }

// maxCompared bounds the work of comparing two texts: the product of their words.
const maxCompared = 1 << 20

// wordsChanged compares two texts word by word. Texts too long to compare are shown
// whole, the old one taken out and the new one put in.
func wordsChanged(before, after string) []change {
	a, b := strings.Fields(before), strings.Fields(after)
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}

	var changes changed
	changes.add("", a[:head]...)
	changes.between(a[head:len(a)-tail], b[head:len(b)-tail])
	changes.add("", a[len(a)-tail:]...)
	return changes
}

// changed collects changes; neighbours of one kind are one.
type changed []change

func (c *changed) add(kind string, words ...string) {
	for _, word := range words {
		if last := len(*c) - 1; last >= 0 && (*c)[last].Kind == kind {
			(*c)[last].Text += " " + word
			continue
		}
		*c = append(*c, change{kind, word})
	}
}

// between adds what differs, by way of the longest common subsequence.
func (c *changed) between(a, b []string) {
	if len(a)*len(b) > maxCompared {
		c.add("del", a...)
		c.add("ins", b...)
		return
	}

	longest := common(a, b)
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			c.add("", a[i])
			i, j = i+1, j+1
		case longest[i+1][j] >= longest[i][j+1]:
			c.add("del", a[i])
			i++
		default:
			c.add("ins", b[j])
			j++
		}
	}
	c.add("del", a[i:]...)
	c.add("ins", b[j:]...)
}

// common returns the lengths of the longest common subsequences of every two endings.
func common(a, b []string) [][]int32 {
	longest := make([][]int32, len(a)+1)
	for i := range longest {
		longest[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			if a[i] == b[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			}
		}
	}
	return longest
}
