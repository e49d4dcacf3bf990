package dptest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Ruleset is the tables of one family and the sets that they use, as parsed.
type Ruleset struct {
	family uint8
	tables map[string]*table
	sets   map[string]*ipSet
}

type table struct {
	name   string
	chains map[string]*chain
}

type chain struct {
	name   string
	policy string // "" for chains that are not the kernel's
	rules  []*ipRule
}

type ipRule struct {
	chain, text string
	matchers    []matcher
	target      ipTarget
}

// matcher tells whether a packet on its way matches.
type matcher func(*run) bool

// kernelChains are the hooks of each table.
var kernelChains = map[string][]string{
	"raw":    {"PREROUTING", "OUTPUT"},
	"mangle": {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
	"nat":    {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"},
	"filter": {"INPUT", "FORWARD", "OUTPUT"},
}

// maxChainName is the kernel's: 28 characters.
const maxChainName = 28

// ParseIPTables reads iptables-restore text (any number of tables, one after another) and ipset-restore text. A table that comes
// twice is added to, as with --noflush.
func ParseIPTables(tables, sets string, family uint8) (*Ruleset, error) {
	rs := &Ruleset{family: family, tables: map[string]*table{}}
	var err error
	if rs.sets, err = parseIPSets(sets); err != nil {
		return nil, err
	}
	var t *table
	for i, line := range strings.Split(tables, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if t, err = rs.line(t, line); err != nil {
			return nil, fmt.Errorf("iptables line %d: %q: %w", i+1, line, err)
		}
	}
	if t != nil {
		return nil, fmt.Errorf("iptables: table %s has no COMMIT", t.name)
	}
	return rs, nil
}

// line reads one line; t is the table that is open, nil between tables.
func (rs *Ruleset) line(t *table, line string) (*table, error) {
	if t == nil {
		name, ok := strings.CutPrefix(line, "*")
		if !ok {
			return nil, fmt.Errorf("outside of a table")
		}
		return rs.open(name)
	}
	if line == "COMMIT" {
		return nil, t.check()
	}
	if line[0] == ':' {
		return t, t.declare(strings.Fields(line[1:]))
	}
	words, err := split(line)
	if err != nil {
		return t, err
	}
	return t, rs.command(t, words, line)
}

func (rs *Ruleset) open(name string) (*table, error) {
	hooks, ok := kernelChains[name]
	if !ok {
		return nil, fmt.Errorf("unknown table %q", name)
	}
	if rs.tables[name] == nil {
		t := &table{name: name, chains: map[string]*chain{}}
		for _, h := range hooks {
			t.chains[h] = &chain{name: h, policy: "ACCEPT"}
		}
		rs.tables[name] = t
	}
	return rs.tables[name], nil
}

// declare reads ":CHAIN POLICY [0:0]". A chain of ours that is there already is emptied, as iptables-restore does.
func (t *table) declare(words []string) error {
	if len(words) < 2 || len(words) > 3 {
		return fmt.Errorf("want :CHAIN POLICY [0:0]")
	}
	name, policy := words[0], words[1]
	if slices.Contains(kernelChains[t.name], name) {
		if policy != "ACCEPT" && policy != "DROP" && policy != "-" {
			return fmt.Errorf("policy %q", policy)
		}
		if policy != "-" {
			t.chains[name].policy = policy
		}
		return nil
	}
	if policy != "-" {
		return fmt.Errorf("chain %s can't have a policy", name)
	}
	return t.newChain(name)
}

func (t *table) newChain(name string) error {
	if len(name) > maxChainName || name == "" || strings.ContainsAny(name[:1], "-!") {
		return fmt.Errorf("chain name %q", name)
	}
	t.chains[name] = &chain{name: name}
	return nil
}

// command reads a line of -A, -I, -N or -F.
func (rs *Ruleset) command(t *table, words []string, line string) error {
	if len(words) < 2 {
		return fmt.Errorf("a command needs a chain")
	}
	name := words[1]
	if words[0] == "-N" {
		return t.newChain(name)
	}
	c := t.chains[name]
	if c == nil {
		return fmt.Errorf("no chain %q", name)
	}
	at, words := len(c.rules), words[:]
	rest := words[2:]
	switch words[0] {
	case "-F":
		c.rules = nil
		return nil
	case "-A":
	case "-I":
		at = 0
		if len(rest) > 0 {
			if n, err := strconv.Atoi(rest[0]); err == nil {
				at, rest = n-1, rest[1:]
			}
		}
		if at < 0 || at > len(c.rules) {
			return fmt.Errorf("index of insertion too big")
		}
	default:
		return fmt.Errorf("unknown command %s", words[0])
	}
	rule, err := rs.rule(t, c, rest)
	if err != nil {
		return err
	}
	rule.text = strings.TrimSpace(line[strings.Index(line, name)+len(name):])
	c.rules = slices.Insert(c.rules, at, rule)
	return nil
}

// check sees that every jump has a chain.
func (t *table) check() error {
	for _, c := range t.chains {
		for _, r := range c.rules {
			if to := r.target.chain; to != "" && t.chains[to] == nil {
				return fmt.Errorf("chain %s jumps to %q, which is not there", c.name, to)
			}
		}
	}
	return nil
}

// split cuts a line into words; double quotes hold words together, a backslash in them takes the next character as it is.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	quoted, begun := false, false
	for i := 0; i < len(line); i++ {
		ch := line[i]
		switch {
		case quoted && ch == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case ch == '"':
			quoted, begun = !quoted, true
		case !quoted && (ch == ' ' || ch == '\t'):
			if begun {
				words = append(words, word.String())
				word.Reset()
				begun = false
			}
		default:
			word.WriteByte(ch)
			begun = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}
