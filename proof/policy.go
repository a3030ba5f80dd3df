package proof

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Policy says which checkpoints are believed: signed by a key of a log that it lists, and
// cosigned by enough of its witnesses (C2SP tlog-policy). We read it ourselves because
// the library's reader forgets the logs and demands a URL for every witness.
type Policy struct {
	Logs      []PolicyLog
	Witnesses []PolicyWitness

	groups []group
	quorum string // the name of a witness or a group, or noQuorum
}

// PolicyLog is a log that is believed.
type PolicyLog struct {
	Key Key    // its name is the origin
	URL string // empty: not said
}

// PolicyWitness is a witness that the quorum may count.
type PolicyWitness struct {
	Name string // within the policy
	Key  Key    // its name is how the witness signs
	URL  string // empty: not said
}

// group counts as a witness once enough of its members do.
type group struct {
	name    string
	needed  int
	members []string
}

// noQuorum is the name of the quorum of nobody.
const noQuorum = "none"

// MaxPolicy bounds the text of a policy: 100 witnesses with ML-DSA-44 are 190 KB.
const MaxPolicy = 256 << 10

// ParsePolicy reads a policy strictly. What it returns as an error names the line.
func ParsePolicy(text []byte) (*Policy, error) {
	if len(text) > MaxPolicy {
		return nil, fmt.Errorf("a policy of more than %d KB is not read", MaxPolicy>>10)
	}
	if i := bytes.IndexFunc(text, isControl); i >= 0 {
		return nil, fmt.Errorf("policy, line %d: only tabs and newlines may stand between letters",
			1+bytes.Count(text[:i], []byte("\n")))
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		return nil, errors.New("the policy ends within a line: it was cut")
	}

	b := policyReader{policy: &Policy{}, defined: map[string]bool{noQuorum: true}, member: map[string]bool{}}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if err := b.line(strings.FieldsFunc(line, isSpace)); err != nil {
			return nil, fmt.Errorf("policy, line %d: %w", number, err)
		}
	}
	if b.policy.quorum == "" {
		return nil, errors.New("the policy has no line \"quorum\": it does not say which witnesses are enough")
	}
	return b.policy, nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' && r != '\n' || r == 0x7f }
func isSpace(r rune) bool   { return r == ' ' || r == '\t' || r == '\n' }

// policyReader knows what the lines so far have defined.
type policyReader struct {
	policy  *Policy
	defined map[string]bool // names of witnesses and groups
	member  map[string]bool // names that stand in a group
}

func (b *policyReader) line(words []string) error {
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}

	switch kind, args := words[0], words[1:]; kind {
	case "log":
		return b.log(args)
	case "witness":
		return b.witness(args)
	case "group":
		return b.group(args)
	case "quorum":
		return b.quorum(args)
	default:
		return fmt.Errorf("%q is none of log, witness, group and quorum", kind)
	}
}

func (b *policyReader) log(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("a log is: log KEY [URL]")
	}
	key, err := ParseKey(args[0])
	if err != nil {
		return err
	}

	for _, other := range b.policy.Logs {
		if bytes.Equal(other.Key.public, key.public) {
			return fmt.Errorf("two logs have the same key, that of %q", other.Key.Name())
		}
	}
	if b.isWitness(key) {
		return errOwnWitness
	}

	b.policy.Logs = append(b.policy.Logs, PolicyLog{Key: key, URL: optional(args[1:])})
	return nil
}

// errOwnWitness is stricter than the specification, which does not say.
var errOwnWitness = errors.New("a log cannot be its own witness: both have the same key")

func (b *policyReader) isWitness(key Key) bool {
	return slices.ContainsFunc(b.policy.Witnesses, func(w PolicyWitness) bool {
		return bytes.Equal(w.Key.public, key.public)
	})
}

func (b *policyReader) witness(args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return errors.New("a witness is: witness NAME KEY [URL]")
	}
	key, err := ParseKey(args[1])
	if err != nil {
		return err
	}

	if key.Kind() != Ed25519At && key.Kind() != MLDSA44At {
		return fmt.Errorf("the key of witness %q is not one that cosigns: its type must be %#02x or %#02x",
			args[0], byte(Ed25519At), byte(MLDSA44At))
	}
	if b.isWitness(key) {
		return fmt.Errorf("two witnesses have the same key, that of %q", key.Name())
	}
	for _, log := range b.policy.Logs {
		if bytes.Equal(log.Key.public, key.public) {
			return errOwnWitness
		}
	}

	b.policy.Witnesses = append(b.policy.Witnesses, PolicyWitness{Name: args[0], Key: key, URL: optional(args[2:])})
	return b.define(args[0])
}

func (b *policyReader) define(name string) error {
	if b.defined[name] {
		return fmt.Errorf("the name %q is taken", name)
	}
	b.defined[name] = true
	return nil
}

func (b *policyReader) group(args []string) error {
	if len(args) < 3 {
		return errors.New("a group is: group NAME all|any|NUMBER MEMBER …")
	}

	g := group{name: args[0], members: args[2:]}
	switch args[1] {
	case "any":
		g.needed = 1
	case "all":
		g.needed = len(g.members)
	default:
		needed, err := strconv.Atoi(args[1])
		if err != nil || strconv.Itoa(needed) != args[1] || needed < 1 || needed > len(g.members) {
			return fmt.Errorf("of the group %q not %q members can be needed, but all, any, or 1 to %d",
				g.name, args[1], len(g.members))
		}
		g.needed = needed
	}

	for _, name := range g.members {
		switch {
		case name == noQuorum || !b.defined[name]:
			return fmt.Errorf("no line above defines %q", name)
		case b.member[name]:
			return fmt.Errorf("%q is in a group already: each counts once", name)
		}
		b.member[name] = true
	}

	b.policy.groups = append(b.policy.groups, g)
	return b.define(g.name)
}

func (b *policyReader) quorum(args []string) error {
	switch {
	case len(args) != 1:
		return errors.New("a quorum is: quorum NAME")
	case b.policy.quorum != "":
		return errors.New("a policy has one quorum, and this is the second")
	case !b.defined[args[0]]:
		return fmt.Errorf("no line above defines %q", args[0])
	}
	b.policy.quorum = args[0]
	return nil
}

func optional(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// LogPolicy returns the policy of a log of which no witness is known: it believes what
// the log signs.
func LogPolicy(keys ...Key) *Policy {
	p := &Policy{quorum: noQuorum}
	for _, key := range keys {
		p.Logs = append(p.Logs, PolicyLog{Key: key})
	}
	return p
}

// Of returns the policy that asks for the same witnesses and believes one log alone.
func (p *Policy) Of(keys ...Key) *Policy {
	of := LogPolicy(keys...)
	of.Witnesses, of.groups, of.quorum = p.Witnesses, p.groups, p.quorum
	return of
}

// Text returns the policy as ParsePolicy reads it, without comments.
func (p *Policy) Text() string {
	var text strings.Builder
	line := func(words ...string) { text.WriteString(strings.TrimRight(strings.Join(words, " "), " ") + "\n") }

	for _, l := range p.Logs {
		line("log", l.Key.Vkey(), l.URL)
	}
	for _, w := range p.Witnesses {
		line("witness", w.Name, w.Key.Vkey(), w.URL)
	}
	for _, g := range p.groups {
		line("group", g.name, strconv.Itoa(g.needed), strings.Join(g.members, " "))
	}
	line("quorum", p.quorum)
	return text.String()
}

// Trusts reports whether a key is one of a log of this origin.
func (p *Policy) Trusts(origin string, key Key) bool {
	return slices.ContainsFunc(p.Logs, func(l PolicyLog) bool {
		return l.Key.Name() == origin && l.Key.Vkey() == key.Vkey()
	})
}

// lacks names an algorithm for which the policy lists keys of a log, but none of these;
// empty: there is no such algorithm.
func (p *Policy) lacks(origin string, signed []Key) string {
	for _, l := range p.Logs {
		sameKind := func(key Key) bool { return key.Algorithm() == l.Key.Algorithm() }
		if l.Key.Name() == origin && !slices.ContainsFunc(signed, sameKind) {
			return l.Key.Algorithm()
		}
	}
	return ""
}

// Believed is a checkpoint that a policy accepts.
type Believed struct {
	Signed

	LogKeys   []Signature // of the log, at least one
	Witnesses []string    // names in the policy of those who cosigned; more than the quorum needs, perhaps
}

// Open accepts a signed checkpoint: of a log that is listed, signed by one of its keys,
// cosigned by a quorum. No signature by a key of the policy may be wrong.
func (p *Policy) Open(signed []byte) (Believed, error) {
	c, err := Unsigned(signed)
	if err != nil {
		return Believed{}, err
	}

	var logKeys, keys []Key
	for _, l := range p.Logs {
		if l.Key.Name() == c.Origin {
			logKeys = append(logKeys, l.Key)
		}
	}
	if len(logKeys) == 0 {
		return Believed{}, fmt.Errorf("the policy does not list the log %q", c.Origin)
	}
	keys = append(keys, logKeys...)
	for _, w := range p.Witnesses {
		keys = append(keys, w.Key)
	}

	opened, err := Open(signed, keys...)
	if err != nil {
		return Believed{}, err
	}
	return p.believe(opened, logKeys)
}

func (p *Policy) believe(opened Signed, logKeys []Key) (Believed, error) {
	b := Believed{Signed: opened}
	for _, key := range logKeys {
		if by, signed := opened.SignedBy(key); signed {
			b.LogKeys = append(b.LogKeys, by)
		}
	}
	if len(b.LogKeys) == 0 {
		return Believed{}, fmt.Errorf("no key that the policy lists for the log %q has signed the checkpoint",
			opened.Origin)
	}

	var enough bool
	b.Witnesses, enough = p.Enough(func(w PolicyWitness) bool {
		_, signed := opened.SignedBy(w.Key)
		return signed
	})
	if !enough {
		return Believed{},
			fmt.Errorf("not enough witnesses cosigned the checkpoint for the policy's quorum, %q: %s did",
				p.quorum, list(b.Witnesses))
	}
	return b, nil
}

// Enough names those witnesses who have cosigned, and reports whether they are a quorum.
func (p *Policy) Enough(has func(PolicyWitness) bool) (names []string, enough bool) {
	cosigned := map[string]bool{noQuorum: true}
	for _, w := range p.Witnesses {
		if has(w) {
			cosigned[w.Name] = true
			names = append(names, w.Name)
		}
	}

	for _, g := range p.groups { // members stand above their group
		n := 0
		for _, name := range g.members {
			if cosigned[name] {
				n++
			}
		}
		cosigned[g.name] = n >= g.needed
	}
	return names, cosigned[p.quorum]
}

// NeedsWitnesses reports whether the quorum is more than nobody.
func (p *Policy) NeedsWitnesses() bool { return p.quorum != noQuorum }

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
