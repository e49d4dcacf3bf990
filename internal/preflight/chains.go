package preflight

import "strings"

// Chains are the names of the chains in a text of iptables-save, of all its tables, in order, each once.
func Chains(text string) []string {
	var out []string
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, ":") // ":NAME POLICY [packets:bytes]"
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimRight(rest, "\r\n"), " ")
		if name != "" && !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}
