package iptables

import (
	"strconv"
	"strings"
)

// Refusal is what iptables-restore said against a text. Nothing of the text has been written.
type Refusal struct {
	Program string
	Lines   []int // lines of the text that it named, from 1; may be empty, or the line of COMMIT
	Text    string
}

// Error is what the program said, on one line.
func (r *Refusal) Error() string {
	if strings.HasPrefix(r.Text, r.Program) {
		return r.Text
	}
	return r.Program + ": " + r.Text
}

// missing is the IP set or chain that the program did not find; "" where it complains of something else. One call is enough, then, for all
// chains that use it.
func (r *Refusal) missing() string {
	for _, form := range [][2]string{
		{"Set ", " doesn't exist"},      // both variants
		{"Chain '", "' does not exist"}, // nft, which names no line
	} {
		if _, rest, found := strings.Cut(r.Text, form[0]); found {
			if name, _, found := strings.Cut(rest, form[1]); found && !strings.ContainsAny(name, " \n") {
				return name
			}
		}
	}
	return ""
}

// oneLine makes a program's complaints one line of at most 512 bytes, without its advice to read the manual.
func oneLine(stderr []byte) string {
	var parts []string
	for line := range strings.Lines(string(stderr)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "Try `") {
			parts = append(parts, line)
		}
	}
	s := strings.Join(parts, "; ")
	return s[:min(len(s), 512)]
}

// errorLines finds the line numbers in "Error occurred at line: 4", "line 4: RULE_APPEND failed …" and "iptables-restore: line 4 failed".
func errorLines(stderr []byte) []int {
	var out []int
	for line := range strings.Lines(string(stderr)) {
		line = strings.TrimSpace(line)
		rest, found := strings.CutPrefix(line, "Error occurred at line:")
		if !found {
			rest, found = strings.CutPrefix(line, "line ")
		}
		if !found {
			_, rest, found = strings.Cut(line, "-restore: line ")
		}
		if n := leadingNumber(rest); found && n > 0 {
			out = append(out, n)
		}
	}
	return out
}

func leadingNumber(s string) int {
	s = strings.TrimLeft(s, " ")
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(s[:end])
	if err != nil {
		return 0
	}
	return n
}
