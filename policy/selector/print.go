package selector

import "strings"

// opText is how a comparison is written between key and value.
var opText = map[op]string{
	opEquals:     " == ",
	opNotEquals:  " != ",
	opIn:         " in ",
	opNotIn:      " not in ",
	opContains:   " contains ",
	opStartsWith: " starts with ",
	opEndsWith:   " ends with ",
	opAnd:        " && ",
	opOr:         " || ",
}

func (n *node) print(b *strings.Builder) {
	switch n.op {
	case opAll:
		b.WriteString("all()")
	case opGlobal:
		b.WriteString("global()")
	case opHas:
		b.WriteString("has(" + n.key + ")")
	case opNot:
		b.WriteByte('!')
		n.kids[0].printInside(b, n.kids[0].op == opAnd || n.kids[0].op == opOr)
	case opAnd, opOr:
		for i, k := range n.kids {
			if i > 0 {
				b.WriteString(opText[n.op])
			}
			k.printInside(b, k.op == opOr)
		}
	case opIn, opNotIn:
		b.WriteString(n.key + opText[n.op])
		printSet(b, n.values)
	default:
		b.WriteString(n.key + opText[n.op])
		printString(b, n.value)
	}
}

func (n *node) printInside(b *strings.Builder, parentheses bool) {
	if parentheses {
		b.WriteByte('(')
	}
	n.print(b)
	if parentheses {
		b.WriteByte(')')
	}
}

func printSet(b *strings.Builder, values []string) {
	b.WriteByte('{')
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		printString(b, v)
	}
	b.WriteByte('}')
}

// printString relies on every value lacking one kind of quote at least (see literal).
func printString(b *strings.Builder, s string) {
	quote := byte('"')
	if strings.IndexByte(s, '"') >= 0 {
		quote = '\''
	}
	b.WriteByte(quote)
	b.WriteString(s)
	b.WriteByte(quote)
}

// literal tells whether s can be written at all: the language has no escape sequences.
func literal(s string) bool {
	return strings.IndexByte(s, '"') < 0 || strings.IndexByte(s, '\'') < 0
}
