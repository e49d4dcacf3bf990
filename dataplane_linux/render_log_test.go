package linux

import (
	"slices"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/google/go-cmp/cmp"
)

var oddNames = []dataplane.PolicyID{
	policyID("allow-db"),
	{Kind: "GlobalNetworkPolicy", Name: `quote"and\more`},
	{Kind: "GlobalNetworkPolicy", Name: "a#" + strings.Repeat("b", 16)},
	{Kind: "GlobalNetworkPolicy", Name: strings.Repeat("long-", 50)},
	{Kind: "GlobalNetworkPolicy", Name: strings.Repeat("long-", 50) + "er"},
}

func TestLogPrefixes(t *testing.T) {
	for want, l := range map[string]Logged{
		"LE12|NetworkPolicy web-ns/allow-db": {dataplane.Log, dataplane.Egress, oddNames[0], 12},
		"AI0|NetworkPolicy web-ns/allow-db":  {dataplane.Allow, dataplane.Ingress, oddNames[0], 0},
		"PEe|NetworkPolicy web-ns/allow-db":  {dataplane.Pass, dataplane.Egress, oddNames[0], -1},
		"DIn|":                               {dataplane.Deny, dataplane.Ingress, dataplane.PolicyID{}, -1},
		"LE12|GlobalNetworkPolicy quote#" + hashed(`GlobalNetworkPolicy quote"and\more`, 16): {dataplane.Log, dataplane.Egress, oddNames[1], 12},
	} {
		if got := l.Prefix(); got != want {
			t.Errorf("%+v: %q, want %q", l, got, want)
		}
	}
}

// TestPrefixesAreReadBack: whatever a packet is logged for is known again by its prefix.
func TestPrefixesAreReadBack(t *testing.T) {
	names := NamesOf(slices.Values(oddNames))
	for _, id := range oddNames {
		for _, d := range directions {
			for _, action := range loggedActions {
				for _, rule := range []int{-1, 0, 7, 4095} {
					l := Logged{action, d, id, rule}
					if got, err := names.Read(l.Prefix()); err != nil || got != l || len(l.Prefix()) > maxLogPrefix {
						t.Errorf("%+v: prefix %q, read back as %+v, %v", l, l.Prefix(), got, err)
					}
				}
			}
		}
	}
}

func FuzzReadPrefix(f *testing.F) {
	f.Add("DI2|NetworkPolicy web-ns/allow-db")
	f.Add("DIn|")
	f.Add("AEe|" + withName("", oddNames[3].String()))
	names := NamesOf(slices.Values(oddNames))
	f.Fuzz(func(t *testing.T, prefix string) {
		l, err := names.Read(prefix)
		if err != nil {
			return
		}
		again, err := names.Read(l.Prefix())
		if diff := cmp.Diff(l, again); diff != "" || err != nil {
			t.Errorf("%q: %+v is not read back: %v %s", prefix, l, err, diff)
		}
	})
}

// TestVerdictRulesOnly: with LogVerdicts each rule that decides is preceded by one with the same matches that logs, and nothing else changes.
func TestVerdictRulesOnly(t *testing.T) {
	s := pairState()
	plainChains, logged := Render(s, RenderConfig{}), Render(s, RenderConfig{LogVerdicts: true})
	for key, table := range logged.tables {
		for i, chain := range table.chains {
			var without []string
			for j, rule := range chain.Rules {
				matches, _, isLog := strings.Cut(rule, "-j NFLOG ")
				if !isLog {
					without = append(without, rule)
					continue
				}
				if !strings.HasPrefix(chain.Rules[j+1], matches) {
					t.Errorf("%s: %q is followed by %q", chain.Name, rule, chain.Rules[j+1])
				}
			}
			if diff := cmp.Diff(plainChains.tables[key].chains[i].Rules, without, cmp.Transformer("", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("%s %s: -without +with:\n%s", key.table, chain.Name, diff)
			}
		}
	}
}

func TestLogLimits(t *testing.T) {
	for _, c := range []struct {
		rate  string
		burst int
		want  string // "": refused
	}{
		{"10/second", 0, "-m limit --limit 10/sec "},
		{"10/second", 5, "-m limit --limit 10/sec "},
		{"90/minute", 20, "-m limit --limit 90/min --limit-burst 20 "},
		{"1/hour", 100, "-m limit --limit 1/hour --limit-burst 100 "},
		{"1/hour", 200, ""}, {"10", 5, ""}, {"10/sec", 5, ""}, {"0/second", 5, ""}, {"10001/second", 5, ""}, {"-1/second", 5, ""}, {"1/second", -1, ""}, {"/second", 5, ""},
	} {
		got, err := logLimit(c.rate, c.burst)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s, %d: %q, %v; want %q", c.rate, c.burst, got, err, c.want)
		}
	}
}
