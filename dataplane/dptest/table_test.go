package dptest

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// TestEveryDecisionHasACase holds docs/semantics-cases.md: each number of semantics.md has proof there, what is named as proof exists, and
// every shared case proves something.
func TestEveryDecisionHasACase(t *testing.T) {
	table := readText(t, "docs/semantics-cases.md")
	got, want := numbers(table, `(?m)^## (\d+)\. `), numbers(readText(t, "docs/semantics.md"), `(?m)^(\d+)\. \*\*`)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the table has numbers %v, semantics.md %v", got, want)
	}
	tests := testNames(t)
	patterns, used := []string{}, map[string]bool{}
	for _, line := range strings.Split(table, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || strings.TrimSpace(cells[1]) == "statement" || strings.HasPrefix(cells[1], "-") {
			continue
		}
		names := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[2], -1)
		if len(names) == 0 {
			t.Errorf("%q has no proof", cells[1])
		}
		for _, name := range names {
			if strings.HasPrefix(name[1], "Test") {
				if !tests[name[1]] {
					t.Errorf("%q is proven by %s, which does not exist", cells[1], name[1])
				}
				continue
			}
			patterns = append(patterns, name[1])
		}
	}
	for _, c := range Cases(t) {
		named := false
		for _, p := range patterns {
			if ok, _ := path.Match(p, c.Name); ok {
				named, used[p] = true, true
			}
		}
		if !named {
			t.Errorf("case %s proves nothing that the table knows", c.Name)
		}
	}
	for _, p := range patterns {
		if !used[p] {
			t.Errorf("the table names %s, which is no case", p)
		}
	}
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func numbers(text, pattern string) []string {
	var out []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// testNames are the names of all tests of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(file)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestCasesAreOfBothFamilies: nearly every case has flows of IPv4 and of IPv6; the others are about one of them.
func TestCasesAreOfBothFamilies(t *testing.T) {
	for _, c := range Cases(t) {
		seen := map[uint8]bool{}
		for _, f := range c.Flows {
			seen[f.Family()] = true
		}
		if !seen[4] || !seen[6] {
			if ofOneFamily[c.Name] == "" {
				t.Errorf("%s is not tried in both families", c.Name)
			}
		} else if ofOneFamily[c.Name] != "" {
			t.Errorf("%s is of both families by now", c.Name)
		}
	}
}

// ofOneFamily are the cases of one family, with the reason.
var ofOneFamily = map[string]string{
	"address-claimed-twice-block-decides": "the block is of IPv4; address-claimed-twice is of both",
	"cnp-absent":                          "its networks are of IPv4; cnp-ipv6 is about the other family",
	"cnp-domain-names":                    "its networks are of IPv4; cnp-ipv6 is about the other family",
	"cnp-priority":                        "its networks are of IPv4; cnp-ipv6 is about the other family",
	"cnp-subject":                         "its networks are of IPv4; cnp-ipv6 is about the other family",
	"cnp-unreadable-values":               "its networks are of IPv4; cnp-ipv6 is about the other family",
	"host-neighbour-discovery":            "IPv4 finds its neighbours without IP packets",
	"k8s-ip-block-except":                 "its blocks are of IPv4; k8s-ip-block-ipv6 is about the other family",
}
