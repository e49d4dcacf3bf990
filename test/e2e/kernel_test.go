//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/routing"
	linux "github.com/felid-net/felid/dataplane_linux"
	"github.com/felid-net/felid/internal/agent"
	"github.com/felid-net/felid/internal/lab"
	"github.com/felid-net/felid/policy"
)

// kernelEqualsState renders what the resources mean for a node, puts that into a fresh namespace with the plain tools, and compares
// what the tools then list there with what they list on the node.
func kernelEqualsState(t *testing.T, c *cluster, node, backend string) error {
	t.Helper()
	fresh := c.Name + "-fresh"
	if err := lab.NewSpace(fresh); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := lab.RemoveSpace(fresh); err != nil {
			t.Error(err)
		}
	}()
	rendered := linux.Render(stateOf(t, c, node), linux.RenderConfig{})
	run(t, fresh, rendered.IPSetText(), "ipset", "restore")
	for i, command := range []string{"iptables", "ip6tables"} {
		for _, table := range []string{"nat", "filter"} {
			run(t, fresh, rendered.RestoreText(linux.Families[i], table), command+"-"+backend+"-restore", "--noflush")
		}
	}
	want, got := listing(t, fresh, backend), listing(t, c.NodeSpace(node), backend)
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("the kernel differs from the state (-state +kernel):\n%s", diff)
	}
	return nil
}

// stateOf resolves the store for a node.
func stateOf(t *testing.T, c *cluster, node string) *dataplane.State {
	t.Helper()
	host := dataplane.Host{Node: dataplane.NodeName(node), Owner: true, InterfacePrefix: "fld", IPv6: true, WorkloadToHost: dataplane.Pass}
	resolver, router := policy.NewResolver(policy.Options{Node: host.Node, Host: host}), routing.NewResolver(host.Node)
	for _, kind := range agent.Kinds {
		list, err := c.store.List(t.Context(), kind, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Objects {
			resolver.Update(v3.KeyOf(o), o)
			router.Update(v3.KeyOf(o), o)
		}
	}
	state, changes := resolver.Flush()
	router.Flush(state, changes)
	return state
}

// listing is what iptables-save and ipset save print, in an order of its own, without counters and comments.
func listing(t *testing.T, space, backend string) []string {
	t.Helper()
	var lines []string
	for _, command := range []string{"iptables", "ip6tables"} {
		for _, table := range []string{"nat", "filter"} {
			at := command + " " + table + " "
			chain := map[string]int{} // the order of rules counts, per chain
			for line := range strings.Lines(run(t, space, "", command+"-"+backend+"-save", "-t", table)) {
				line = strings.TrimSpace(noise.ReplaceAllString(line, ""))
				if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "-A" {
					chain[fields[1]]++
					line = fmt.Sprintf("%s #%04d %s", fields[1], chain[fields[1]], strings.Join(fields[2:], " "))
				}
				if strings.Contains(line, "felid") {
					lines = append(lines, at+line)
				}
			}
		}
	}
	for line := range strings.Lines(run(t, space, "", "ipset", "save")) {
		if strings.HasPrefix(line, "add ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}

var noise = regexp.MustCompile(`\[\d+:\d+\]|-m comment --comment "?felid:[^ "]*"? ?`)

func run(t *testing.T, space, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	if err := lab.Within(space, cmd.Run); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, errOut.String())
	}
	return out.String()
}
