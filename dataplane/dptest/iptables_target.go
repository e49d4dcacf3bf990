package dptest

import (
	"fmt"
	"strconv"
)

// ipTarget is what a rule does: go to a chain, or act.
type ipTarget struct {
	chain  string // "" where act is
	isGoto bool
	act    func(*run) verdict
}

// readTarget reads -j or -g and what belongs to it; the target's own options come after it.
func (p *ruleParser) readTarget(name string, isGoto bool) error {
	if p.rule.target.act != nil || p.rule.target.chain != "" {
		return fmt.Errorf("two targets")
	}
	read, ok := targets4[name]
	if !ok || isGoto {
		p.rule.target = ipTarget{chain: name, isGoto: isGoto}
		return nil
	}
	act, err := read(p)
	if err != nil {
		return fmt.Errorf("target %s: %w", name, err)
	}
	p.rule.target.act = act
	return nil
}

// targets4 are the targets that are not chains.
var targets4 = map[string]func(*ruleParser) (func(*run) verdict, error){
	"ACCEPT":     plainTarget(verdictAccept),
	"RETURN":     plainTarget(verdictReturn),
	"DROP":       (*ruleParser).drop,
	"REJECT":     (*ruleParser).reject,
	"MARK":       (*ruleParser).setMark,
	"NFLOG":      (*ruleParser).nflog,
	"MASQUERADE": (*ruleParser).masquerade,
	"CT":         (*ruleParser).ct,
}

func plainTarget(v verdict) func(*ruleParser) (func(*run) verdict, error) {
	return func(*ruleParser) (func(*run) verdict, error) {
		return func(*run) verdict { return v }, nil
	}
}

func (p *ruleParser) only(table string) error {
	if p.table.name != table {
		return fmt.Errorf("only in table %s", table)
	}
	return nil
}

func (p *ruleParser) drop() (func(*run) verdict, error) {
	if p.table.name == "nat" {
		return nil, fmt.Errorf("not in table nat")
	}
	return func(*run) verdict { return verdictDrop }, nil
}

func (p *ruleParser) reject() (func(*run) verdict, error) {
	if len(p.words) > 1 && p.words[0] == "--reject-with" {
		p.words = p.words[2:]
	}
	return func(*run) verdict { return verdictDrop }, p.only("filter")
}

// setMark reads one of the ways to write a mark.
func (p *ruleParser) setMark() (func(*run) verdict, error) {
	how, err := p.next()
	if err != nil {
		return nil, err
	}
	arg, err := p.next()
	if err != nil {
		return nil, err
	}
	value, mask, err := valueMask(arg)
	if err != nil {
		return nil, err
	}
	var change func(mark uint32) uint32
	switch how {
	case "--set-xmark":
		change = func(mark uint32) uint32 { return mark&^mask ^ value }
	case "--set-mark":
		change = func(mark uint32) uint32 { return mark&^(mask|value) | value }
	case "--or-mark":
		change = func(mark uint32) uint32 { return mark | value }
	case "--and-mark":
		change = func(mark uint32) uint32 { return mark & value }
	default:
		return nil, fmt.Errorf("unknown option %s", how)
	}
	return func(r *run) verdict {
		r.p.Mark = change(r.p.Mark)
		return verdictNone
	}, nil
}

func (p *ruleParser) nflog() (func(*run) verdict, error) {
	prefix := ""
	for len(p.words) > 1 {
		value := p.words[1]
		switch p.words[0] {
		case "--nflog-prefix":
			if prefix = value; len(prefix) > 63 {
				return nil, fmt.Errorf("the prefix has %d characters, 63 fit", len(prefix))
			}
		case "--nflog-group":
			if _, err := strconv.ParseUint(value, 10, 16); err != nil {
				return nil, err
			}
		case "--nflog-size", "--nflog-threshold":
			if _, err := strconv.ParseUint(value, 10, 32); err != nil {
				return nil, err
			}
		default:
			return p.logPrefix(prefix), nil
		}
		p.words = p.words[2:]
	}
	return p.logPrefix(prefix), nil
}

func (p *ruleParser) logPrefix(prefix string) func(*run) verdict {
	return func(r *run) verdict {
		r.trace.NFLOG = append(r.trace.NFLOG, prefix)
		return verdictNone
	}
}

func (p *ruleParser) masquerade() (func(*run) verdict, error) {
	for len(p.words) > 0 {
		switch p.words[0] {
		case "--random", "--random-fully":
			p.words = p.words[1:]
			continue
		}
		break
	}
	return func(r *run) verdict {
		r.trace.Masqueraded = true
		return verdictAccept
	}, p.only("nat")
}

// ct reads --notrack, the only option of ours.
func (p *ruleParser) ct() (func(*run) verdict, error) {
	word, err := p.next()
	if err != nil || word != "--notrack" {
		return nil, fmt.Errorf("only --notrack is known")
	}
	return func(r *run) verdict {
		r.p.State = "UNTRACKED"
		return verdictNone
	}, p.only("raw")
}
