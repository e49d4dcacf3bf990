package selector

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxKeyLength of a label, in characters.
const MaxKeyLength = 512

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // a key or a word of the language: which, the place decides
	tokenString           // text is without quotes
	tokenSign             // text is the sign: == != && || ! ( ) { } ,
)

type token struct {
	kind tokenKind
	text string
	pos  int // byte offset in the input
}

func (t token) is(sign string) bool     { return t.kind == tokenSign && t.text == sign }
func (t token) isWord(word string) bool { return t.kind == tokenWord && t.text == word }

// describe is how an error names the token.
func (t token) describe() string {
	switch t.kind {
	case tokenEnd:
		return "the end of the selector"
	case tokenString:
		return fmt.Sprintf("the string %q", t.text)
	}
	return fmt.Sprintf("%q", t.text)
}

// lexer gives one token after the other.
type lexer struct {
	input string
	pos   int
}

func (l *lexer) next() (token, error) {
	for l.pos < len(l.input) && (l.input[l.pos] == ' ' || l.input[l.pos] == '\t') {
		l.pos++
	}
	start := l.pos
	if start == len(l.input) {
		return token{kind: tokenEnd, pos: start}, nil
	}
	switch c := l.input[start]; {
	case c == '"' || c == '\'':
		return l.quoted(c)
	case isKeyByte(c):
		return l.word()
	}
	return l.sign()
}

func isKeyByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '/' || c == '-'
}

func (l *lexer) word() (token, error) {
	start := l.pos
	for l.pos < len(l.input) && isKeyByte(l.input[l.pos]) {
		l.pos++
	}
	text := l.input[start:l.pos]
	if len(strings.TrimPrefix(strings.TrimPrefix(text, NamespacePrefix), ServiceAccountPrefix)) > MaxKeyLength {
		return token{}, l.fault(start, fmt.Sprintf("a label key of %d characters", len(text)), fmt.Sprintf("keys have at most %d", MaxKeyLength))
	}
	return token{kind: tokenWord, text: text, pos: start}, nil
}

func (l *lexer) quoted(quote byte) (token, error) {
	start := l.pos
	length := strings.IndexByte(l.input[start+1:], quote)
	if length < 0 {
		return token{}, l.fault(start, "a string without an end", fmt.Sprintf("close it with %c", quote))
	}
	l.pos = start + length + 2
	return token{kind: tokenString, text: l.input[start+1 : start+1+length], pos: start}, nil
}

func (l *lexer) sign() (token, error) {
	start := l.pos
	rest := l.input[start:]
	for _, s := range []string{"==", "!=", "&&", "||", "!", "(", ")", "{", "}", ","} {
		if strings.HasPrefix(rest, s) {
			l.pos += len(s)
			return token{kind: tokenSign, text: s, pos: start}, nil
		}
	}
	switch rest[0] {
	case '=', '&', '|':
		return token{}, l.fault(start, fmt.Sprintf("a single %q", rest[:1]), "use "+strings.Repeat(rest[:1], 2))
	case '\n', '\r':
		return token{}, l.fault(start, "a line break", "separate words by blanks and tabs")
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return token{}, l.fault(start, fmt.Sprintf("unexpected %q", r), "keys have A-Z a-z 0-9 _ . / - and values stand in quotes")
}

func (l *lexer) fault(pos int, problem, valid string) *Error {
	return &Error{Selector: l.input, Position: utf8.RuneCountInString(l.input[:pos]) + 1, Problem: problem, Valid: valid}
}

// Error says what is wrong in the text of a selector, and where.
type Error struct {
	Selector string // as given
	Position int    // in characters, from 1
	Problem  string
	Valid    string // what would be valid there
}

// Error is "at character 6: a single "=": use ==".
func (e *Error) Error() string {
	return fmt.Sprintf("at character %d: %s: %s", e.Position, e.Problem, e.Valid)
}
