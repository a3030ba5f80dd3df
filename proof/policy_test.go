package proof_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/salga-trust/engine/proof"
)

func keyOf(t testing.TB, name string, n byte) string {
	t.Helper()
	return signer(t, name, n).WitnessKeys()[0].Vkey()
}

// policyText has the groups of the specification's example: two of the three Xs, and any
// of the Ys.
func policyText(t testing.TB) string {
	t.Helper()
	text := "# who is believed\n\n log " + signer(t, origin,
		1).LogKeys()[0].Vkey() + "\thttps://trust.example.org/log \n"
	for i, name := range []string{"X1", "X2", "X3", "Y1", "Y2"} {
		text += fmt.Sprintf("witness %s %s\n", name, keyOf(t, name+".example.org", byte(10+i)))
	}
	return text + "group X 2 X1 X2 X3\ngroup Y any Y1 Y2\n\tgroup X-and-Y all X Y\nquorum X-and-Y\n"
}

func policy(t testing.TB, text string) *proof.Policy {
	t.Helper()
	p, err := proof.ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAQuorumIsMetByEnoughOfEachGroup(t *testing.T) {
	t.Parallel()
	p := policy(t, policyText(t))
	log := signer(t, origin, 1)
	witnesses := map[string]*proof.Signer{}
	for i, name := range []string{"X1", "X2", "X3", "Y1", "Y2"} {
		witnesses[name] = signer(t, name+".example.org", byte(10+i))
	}

	for _, c := range []struct {
		by   string
		want bool
	}{
		{"", false},
		{"X1 X2 X3", false},
		{"Y1 Y2", false},
		{"X1 Y1", false},
		{"X1 X2 Y1", true},
		{"X2 X3 Y2", true},
		{"X1 X2 X3 Y1 Y2", true},
		{"X1 Y1 Y2", false},
	} {
		signed := sign(t, log, checkpoint())
		for _, name := range strings.Fields(c.by) {
			signed = append(signed, cosign(t, witnesses[name], checkpoint())...)
		}
		got, err := p.Open(signed)
		if (err == nil) != c.want {
			t.Errorf("cosigned by %q: %v", c.by, err)
		}
		if err == nil && (strings.Join(got.Witnesses, " ") != c.by || len(got.LogKeys) != 1) {
			t.Errorf("cosigned by %q: counted %+v", c.by, got)
		}
	}
}

func TestAPolicyBelievesOnlyItsLogs(t *testing.T) {
	t.Parallel()
	log := signer(t, origin, 1)
	p := proof.LogPolicy(log.LogKeys()...)
	if p.NeedsWitnesses() {
		t.Error("a quorum of nobody needs witnesses")
	}
	if got, err := p.Open(sign(t, log, checkpoint())); err != nil || len(got.LogKeys) != 2 {
		t.Errorf("%+v (%v)", got, err)
	}

	other := checkpoint()
	other.Origin = "another.example.org"
	changed := bytes.Replace(sign(t, log, checkpoint()), []byte("\n1204\n"), []byte("\n1205\n"), 1)
	for name, c := range map[string]struct {
		signed []byte
		says   string
	}{
		"another origin":  {sign(t, signer(t, other.Origin, 1), other), "does not list the log"},
		"a stranger":      {sign(t, signer(t, origin, 2), checkpoint()), "none of the keys"},
		"another size":    {changed, "wrong"},
		"no checkpoint":   {[]byte("text"), "no signed checkpoint"},
		"a witness alone": {witnessedOnly(t), "none of the keys"},
	} {
		if _, err := p.Open(c.signed); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// A witness that signs in place of the log is not the log.
	text := p.Text()
	text = strings.Replace(text, "quorum none\n", "witness w "+keyOf(t, "w", 3)+"\nquorum w\n", 1)
	if _, err := policy(t, text).Open(witnessedOnly(t)); err == nil || !strings.Contains(err.Error(),
		"no key that the policy lists") {
		t.Errorf("believed on the word of a witness: %v", err)
	}
}

func witnessedOnly(t *testing.T) []byte {
	t.Helper()
	c := checkpoint()
	return append([]byte(c.Text()+"\n"), cosign(t, signer(t, "w", 3), c)...)
}

func TestAPolicyIsPrintedAsItIsRead(t *testing.T) {
	t.Parallel()
	p := policy(t, policyText(t))
	again := policy(t, p.Text())
	if p.Text() != again.Text() || len(again.Witnesses) != 5 || again.Logs[0].URL != "https://trust.example.org/log" {
		t.Errorf("printed as\n%s", p.Text())
	}
	if !p.NeedsWitnesses() {
		t.Error("the quorum is nobody")
	}

	log := signer(t, origin, 1)
	if !p.Trusts(origin, log.LogKeys()[0]) || p.Trusts(origin, log.LogKeys()[1]) || p.Trusts("x", log.LogKeys()[0]) {
		t.Error("the keys of the log are confused")
	}
}

func TestAPolicyIsReadStrictly(t *testing.T) {
	t.Parallel()
	log := signer(t, origin, 1)
	plain, w1, w2 := log.LogKeys()[0].Vkey(), keyOf(t, "a", 2), keyOf(t, "b", 3)
	two := "witness a " + w1 + "\nwitness b " + w2 + "\n"

	for name, c := range map[string]struct{ text, says string }{
		"nothing":                   {"", "no line \"quorum\""},
		"no quorum":                 {two, "no line \"quorum\""},
		"two quorums":               {"quorum none\nquorum none\n", "second"},
		"a quorum of two":           {two + "quorum a b\n", "line 3"},
		"an unknown quorum":         {"quorum a\n", "no line above defines"},
		"a quorum before":           {"quorum a\n" + two, "line 1"},
		"an unknown word":           {"watcher a\nquorum none\n", "watcher"},
		"words in capitals":         {"Quorum none\n", "Quorum"},
		"cut":                       {two + "quorum a", "cut"},
		"line ends of DOS":          {"quorum none\r\n", "line 1"},
		"a null byte":               {"# \x00\nquorum none\n", "line 1"},
		"a comment after":           {"quorum none # nobody\n", "a quorum is"},
		"a log without key":         {"log\nquorum none\n", "a log is"},
		"a log with too much":       {"log " + plain + " a b\nquorum none\n", "a log is"},
		"a log twice":               {"log " + plain + "\nlog " + plain + "\nquorum none\n", "same key"},
		"a log key that is none":    {"log abc\nquorum none\n", "verifier key"},
		"a witness without name":    {"witness " + w1 + "\nquorum none\n", "a witness is"},
		"a witness key that is no":  {"witness a abc\nquorum none\n", "verifier key"},
		"a log's key for a witness": {"witness a " + plain + "\nquorum a\n", "not one that cosigns"},
		"a witness twice":           {"witness a " + w1 + "\nwitness b " + w1 + "\nquorum none\n", "same key"},
		"a name twice":              {"witness a " + w1 + "\nwitness a " + w2 + "\nquorum none\n", "taken"},
		"a witness called none":     {"witness none " + w1 + "\nquorum none\n", "taken"},
		"a group called like one":   {two + "group a all b\nquorum a\n", "taken"},
		"a group of nobody":         {"group g all\nquorum g\n", "a group is"},
		"a group of itself":         {"group g all g\nquorum g\n", "no line above defines"},
		"a group of none":           {"group g all none\nquorum g\n", "no line above defines"},
		"a group of strangers":      {two + "group g all a c\nquorum g\n", "no line above defines"},
		"a member twice":            {two + "group g 2 a a\nquorum g\n", "counts once"},
		"a member of two groups":    {two + "group g all a\ngroup h all a b\nquorum h\n", "counts once"},
		"0 needed":                  {two + "group g 0 a b\nquorum g\n", "1 to 2"},
		"3 of 2 needed":             {two + "group g 3 a b\nquorum g\n", "1 to 2"},
		"01 needed":                 {two + "group g 01 a b\nquorum g\n", "1 to 2"},
		"+1 needed":                 {two + "group g +1 a b\nquorum g\n", "1 to 2"},
		"-1 needed":                 {two + "group g -1 a b\nquorum g\n", "1 to 2"},
		"its own witness": {
			"log " + plain + "\nwitness w " + keyOf(t, origin, 1) + "\nquorum w\n",
			"own witness",
		},
		"its own witness, first": {
			"witness w " + keyOf(t, origin, 1) + "\nlog " + plain + "\nquorum w\n",
			"own witness",
		},
		"large": {strings.Repeat("#\n", proof.MaxPolicy/2+1), "256 KB"},
	} {
		if _, err := proof.ParsePolicy([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}

	for name, text := range map[string]string{
		"no log":          "quorum none\n",
		"a witness alone": two + "quorum b\n",
		"bytes as names":  "witness \xe2\x84\xaa " + w1 + "\nwitness K " + w2 + "\ngroup \xff any K\nquorum \xff\n",
	} {
		if _, err := proof.ParsePolicy([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(policyText(f)))
	f.Add([]byte("quorum none\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := proof.ParsePolicy(data)
		if err != nil {
			return
		}
		again, err := proof.ParsePolicy([]byte(p.Text()))
		if err != nil || again.Text() != p.Text() {
			t.Errorf("%q is printed as %q (%v)", data, p.Text(), err)
		}
	})
}
