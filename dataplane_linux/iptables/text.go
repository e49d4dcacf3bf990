package iptables

import (
	"slices"
	"strconv"
	"strings"
)

// plan is one iptables-restore call before it is text.
type plan struct {
	table   string
	write   []chainText // in order of name
	edits   []chainEdit // in order of name
	hooks   []hookText  // in order of name
	removes []string    // in order of name
}

// chainText is a chain to be emptied and filled. Its body holds rules, each ended by a newline.
type chainText struct {
	name, body string
	sum        Sum // of body
}

// hookText is what changes in one of the kernel's own chains: old rules go, and the body is put first.
type hookText struct {
	chain string
	old   []string // rules as read back, with their marks
	body  string
}

// part says which lines of a text concern an object: from first up to the next part's.
type part struct {
	first int
	name  string // chain; "" for lines that concern no single one
	kind  partKind
}

type partKind uint8

const (
	partNone partKind = iota
	partChain
	partEdit
	partHookOld
	partHookNew
	partRemove
)

const commentOption = "-m comment --comment "

// ruleOverhead is what a rule's line has besides the names and the rule.
const ruleOverhead = len("-A  "+commentOption+Mark+" \n") + hashLength

// text is the input of iptables-restore, and which of its lines are whose. Chains are all declared, which empties them, before any rule
// may jump to them; chains to be removed are emptied with the others, so that none of them holds a reference when they go.
func (p *plan) text() ([]byte, []part) {
	b := make([]byte, 0, p.size())
	parts := make([]part, 0, 2*len(p.write)+len(p.edits)+2*len(p.hooks)+2*len(p.removes)+2)
	line := 1
	mark := func(kind partKind, name string) { parts = append(parts, part{line, name, kind}) }
	b = append(append(append(b, '*'), p.table...), '\n')
	line++
	for _, c := range p.write {
		mark(partChain, c.name)
		b = appendDeclaration(b, c.name)
		line++
	}
	for _, name := range p.removes {
		mark(partRemove, name)
		b = appendDeclaration(b, name)
		line++
	}
	for _, c := range p.write {
		mark(partChain, c.name)
		b = appendRules(b, "-A ", c.name, c.body, 0)
		line += c.sum.Rules
	}
	for i := range p.edits {
		mark(partEdit, p.edits[i].name)
		b = p.edits[i].append(b)
		line += p.edits[i].lines()
	}
	for _, h := range p.hooks {
		mark(partHookOld, h.chain)
		b = appendOld(b, h)
		line += len(h.old)
		mark(partHookNew, h.chain)
		b = appendRules(b, "-I ", h.chain, h.body, 1)
		line += strings.Count(h.body, "\n")
	}
	for _, name := range p.removes {
		mark(partRemove, name)
		b = append(append(append(b, "-X "...), name...), '\n')
		line++
	}
	mark(partNone, "")
	return append(b, "COMMIT\n"...), parts
}

// size is at least the length of the text.
func (p *plan) size() int {
	n := len("*\nCOMMIT\n") + len(p.table)
	for _, c := range p.write {
		n += len(": - [0:0]\n") + len(c.name) + len(c.body) + c.sum.Rules*(ruleOverhead+len(c.name))
	}
	for i := range p.edits {
		n += p.edits[i].size()
	}
	for _, h := range p.hooks {
		for _, rule := range h.old {
			n += len("-D  \n") + len(h.chain) + len(rule)
		}
		n += len(h.body) + strings.Count(h.body, "\n")*(ruleOverhead+len(h.chain)+4)
	}
	for _, name := range p.removes {
		n += len(": - [0:0]\n-X \n") + 2*len(name)
	}
	return n
}

func appendDeclaration(b []byte, name string) []byte {
	b = append(append(b, ':'), name...)
	return append(b, " - [0:0]\n"...)
}

// appendRules writes each rule of body with its mark; position is where the first is inserted, 0 to append. The mark comes after the matches of
// the rule, so that the kernel does not look at it, which costs as much as a match, where one of them fails.
func appendRules(b []byte, command, chain, body string, position int) []byte {
	seed := chainSeed(chain)
	for rule := range strings.Lines(body) {
		h := ruleHash(seed, rule[:len(rule)-1])
		b = append(append(append(b, command...), chain...), ' ')
		if position > 0 {
			b = append(strconv.AppendInt(b, int64(position), 10), ' ')
			position++
		}
		b = append(appendMarked(b, rule[:len(rule)-1], h), '\n')
	}
	return b
}

// appendMarked writes a rule with its mark before the target.
func appendMarked(b []byte, rule string, hash uint64) []byte {
	at := target(rule)
	b = append(b, rule[:at]...)
	if at == len(rule) { // it counts, and does nothing
		if at > 0 {
			b = append(b, ' ')
		}
		return appendMark(b, hash)
	}
	return append(append(appendMark(b, hash), ' '), rule[at:]...)
}

// target is where the matches of a rule end.
func target[T string | []byte](rule T) int {
	for i := 0; i+3 <= len(rule); i++ {
		if rule[i] == '-' && (rule[i+1] == 'j' || rule[i+1] == 'g') && rule[i+2] == ' ' && (i == 0 || rule[i-1] == ' ') {
			return i
		}
	}
	return len(rule)
}

func appendMark(b []byte, hash uint64) []byte {
	return appendHash(append(b, commentOption+Mark...), hash)
}

func appendOld(b []byte, h hookText) []byte {
	for _, rule := range h.old {
		b = append(append(append(b, "-D "...), h.chain...), ' ')
		b = append(append(b, rule...), '\n')
	}
	return b
}

// markedRules is how the rules of a body stand in the kernel's chain, in a form that -D takes.
func markedRules(chain, body string) []string {
	var out []string
	seed := chainSeed(chain)
	for rule := range strings.Lines(body) {
		rule = rule[:len(rule)-1]
		out = append(out, string(appendMarked(nil, rule, ruleHash(seed, rule))))
	}
	return out
}

// at finds the part that a line belongs to.
func at(parts []part, line int) part {
	i, found := slices.BinarySearchFunc(parts, line, func(p part, line int) int { return p.first - line })
	if found {
		// Parts without lines share their first line with the next: the last one has it.
		for i+1 < len(parts) && parts[i+1].first == line {
			i++
		}
		return parts[i]
	}
	if i == 0 {
		return part{}
	}
	return parts[i-1]
}
