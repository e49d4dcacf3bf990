package selector

import (
	"fmt"
	"strings"
)

// MaxNesting limits "(" and "!" inside one another, so that no input can exhaust the stack.
const MaxNesting = 100

const (
	validTerm     = `a term is KEY == "VALUE", KEY in {"VALUE"}, has(KEY), all(), !TERM or (EXPRESSION)`
	validOperator = "after a key comes ==, !=, in, not in, contains, starts with or ends with; has(KEY) asks whether the label is there"
	validValue    = "a value stands in quotes"
	validJoint    = "terms are joined by && or ||"
)

// Parse reads a selector. The empty text is all(). An error is an *Error.
func Parse(text string) (*Selector, error) {
	p := parser{lexer: lexer{input: text}}
	p.advance()
	if p.err == nil && p.token.kind == tokenEnd {
		return All(), nil
	}
	root := p.or(0)
	if p.err == nil && p.token.kind != tokenEnd {
		p.failAfterTerm()
	}
	if p.err != nil {
		return nil, p.err
	}
	return selectorOf(root), nil
}

// parser is a recursive descent with one token of look-ahead. After the first error it stands at the end of the input, so that
// every loop ends; results are then of no meaning.
type parser struct {
	lexer lexer
	token token // the next one, not consumed yet
	err   error
}

func (p *parser) advance() {
	if p.err != nil {
		return
	}
	next, err := p.lexer.next()
	if err != nil {
		p.stop(err)
		return
	}
	p.token = next
}

func (p *parser) stop(err error) {
	if p.err == nil {
		p.err = err
	}
	p.token = token{kind: tokenEnd, pos: len(p.lexer.input)}
}

// fail reports the token at hand.
func (p *parser) fail(valid string) {
	if p.err == nil {
		p.stop(p.lexer.fault(p.token.pos, "unexpected "+p.token.describe(), valid))
	}
}

func (p *parser) failAfterTerm() {
	switch {
	case p.token.is(")"):
		p.fail(`there is no "(" for it`)
	case p.token.kind == tokenWord && strings.EqualFold(p.token.text, "and"):
		p.fail("use &&")
	case p.token.kind == tokenWord && strings.EqualFold(p.token.text, "or"):
		p.fail("use ||")
	default:
		p.fail(validJoint)
	}
}

// accept consumes the sign if it is the next token.
func (p *parser) accept(sign string) bool {
	if !p.token.is(sign) {
		return false
	}
	p.advance()
	return true
}

func (p *parser) expect(sign, valid string) {
	if !p.accept(sign) {
		p.fail(valid)
	}
}

func (p *parser) or(depth int) *node {
	return p.group("||", opOr, func() *node { return p.group("&&", opAnd, func() *node { return p.term(depth) }) })
}

// group reads one operand or several, joined by sign.
func (p *parser) group(sign string, o op, operand func() *node) *node {
	kids := []*node{operand()}
	for p.accept(sign) {
		kids = append(kids, operand())
	}
	if p.err != nil {
		return nodeAll
	}
	return newGroup(o, kids)
}

func (p *parser) term(depth int) *node {
	if depth > MaxNesting {
		p.stop(p.lexer.fault(p.token.pos, "too deep", fmt.Sprintf(`"(" and "!" may stand %d deep inside one another`, MaxNesting)))
		return nodeAll
	}
	start := p.token
	switch {
	case p.accept("!"):
		return newNot(p.term(depth + 1))
	case p.accept("("):
		inside := p.or(depth + 1)
		if p.token.kind != tokenEnd && !p.token.is(")") {
			p.failAfterTerm()
		}
		p.expect(")", `")" is missing`)
		return inside
	case start.kind != tokenWord:
		p.fail(validTerm)
		return nodeAll
	}
	p.advance()
	if p.accept("(") {
		return p.call(start)
	}
	return p.comparison(start)
}

// call reads what follows "NAME(".
func (p *parser) call(name token) *node {
	result := nodeAll
	switch name.text {
	case "all":
	case "global":
		result = nodeGlobal
	case "has":
		key := p.token
		if key.kind != tokenWord {
			p.fail("has(KEY) takes a label key, without quotes")
			return nodeAll
		}
		p.advance()
		result = &node{op: opHas, key: intern(key.text)}
	default:
		p.stop(p.lexer.fault(name.pos, fmt.Sprintf("unknown function %q", name.text), "there are has(KEY), all() and global()"))
		return nodeAll
	}
	p.expect(")", `")" must follow`)
	return result
}

// comparison reads what follows a key.
func (p *parser) comparison(key token) *node {
	operator := p.token
	switch {
	case p.accept("=="):
		return p.withValue(opEquals, key)
	case p.accept("!="):
		return p.withValue(opNotEquals, key)
	case operator.kind != tokenWord:
		p.fail(validOperator)
		return nodeAll
	}
	p.advance()
	switch operator.text {
	case "in":
		return p.withSet(opIn, key)
	case "notin":
		return p.withSet(opNotIn, key)
	case "not":
		p.expectWord("in", `"in" must follow`)
		return p.withSet(opNotIn, key)
	case "contains":
		return p.withValue(opContains, key)
	case "starts":
		p.expectWord("with", `"with" must follow`)
		return p.withValue(opStartsWith, key)
	case "ends":
		p.expectWord("with", `"with" must follow`)
		return p.withValue(opEndsWith, key)
	}
	p.stop(p.lexer.fault(operator.pos, "unexpected "+operator.describe(), validOperator))
	return nodeAll
}

func (p *parser) expectWord(word, valid string) {
	if !p.token.isWord(word) {
		p.fail(valid)
		return
	}
	p.advance()
}

func (p *parser) withValue(o op, key token) *node {
	return newComparison(o, key.text, p.value())
}

func (p *parser) value() string {
	value := p.token
	switch value.kind {
	case tokenString:
		p.advance()
	case tokenWord:
		p.fail(fmt.Sprintf("%s: \"%s\"", validValue, value.text))
	default:
		p.fail(validValue)
	}
	return value.text
}

func (p *parser) withSet(o op, key token) *node {
	p.expect("{", `a set is {"VALUE", …}`)
	var values []string
	for p.err == nil && !p.token.is("}") {
		values = append(values, p.value())
		if !p.accept(",") {
			break
		}
	}
	p.expect("}", `"," or "}" must follow`)
	return newSet(o, key.text, values)
}
