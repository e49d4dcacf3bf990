package linux

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/vishvananda/netlink"
)

// TestSharedCasesWithPackets sends the flows of every shared case as real packets, through rules that the driver applied.
func TestSharedCasesWithPackets(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			foreignRulesIn(t, backend)
			dptest.RunPackets(t, func(t *testing.T, node *dptest.Namespace, s *dataplane.State) {
				must(t, node.Do(func() error {
					d, err := New(Config{Backend: backend, LockFile: t.TempDir() + "/lock"})
					if err != nil {
						return err
					}
					t.Cleanup(func() { d.Close() })
					res, err := d.Apply(context.Background(), s, nil)
					for id, rec := range d.record.endpoints { // a host endpoint whose interface is another's, or nowhere, is no failure of the case
						if s.Endpoints[id].Host != nil && rec.fault != nil {
							delete(res.Endpoints, id)
						}
					}
					if err == nil && res.Failed() {
						err = fmt.Errorf("not in force: %v %v %v", res.Endpoints, res.Policies, res.Others)
					}
					return err
				}))
			})
		})
	}
}

// foreignRulesIn makes the plain iptables-restore, by which the suite adds the rules of others, that of a variant: what one accepts, the
// other may still drop.
func foreignRulesIn(t *testing.T, backend string) {
	t.Helper()
	program, err := exec.LookPath("iptables-" + backend + "-restore")
	must(t, err)
	dir := t.TempDir()
	must(t, os.Symlink(program, filepath.Join(dir, "iptables-restore")))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// TestConformance is the suite that every dataplane passes.
func TestConformance(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			dptest.RunDataplane(t, func(t *testing.T) dptest.Host { return conformingHost(t, backend) })
		})
	}
}

// inside is a Dataplane in a namespace of its own, for callers that are elsewhere.
type inside struct {
	*Dataplane
	ns *dptest.Namespace
}

func (d inside) Apply(ctx context.Context, s *dataplane.State, c *dataplane.Changes) (res dataplane.Result, err error) {
	err = d.ns.Do(func() error {
		res, err = d.Dataplane.Apply(ctx, s, c)
		return err
	})
	return res, err
}

func conformingHost(t *testing.T, backend string) dptest.Host {
	ns, lock := dptest.NewNamespace(t), t.TempDir()+"/lock"
	for _, pod := range []string{"x", "y", "z"} {
		name := dptest.InterfaceName("a", pod)
		must(t, ns.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, Flags: net.FlagUp}, PeerName: "peer" + pod}))
	}
	return dptest.Host{
		Open: func(t *testing.T) dataplane.Dataplane {
			d := inside{ns: ns}
			must(t, ns.Do(func() (err error) {
				d.Dataplane, err = New(Config{Backend: backend, LockFile: lock})
				return err
			}))
			return d
		},
		Observe: func(t *testing.T) string { return observe(t, ns, backend) },
	}
}

// observe lists rules, sets and routes, without counters and in an order of its own.
func observe(t *testing.T, ns *dptest.Namespace, backend string) string {
	t.Helper()
	var lines []string
	for _, command := range []string{"iptables-" + backend + "-save", "ip6tables-" + backend + "-save", "ipset save", "ip route show proto 85", "ip -6 route show proto 85"} {
		words := strings.Fields(command)
		must(t, ns.Do(func() error {
			out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
			for line := range strings.Lines(string(out)) {
				line, _, _ = strings.Cut(line, " [") // counters of kernel chains
				line, _, _ = strings.Cut(line, " hashsize ")
				if line = strings.TrimSpace(line); !idle(line) {
					lines = append(lines, words[0]+": "+line)
				}
			}
			return err
		}))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// idle tells whether a line says nothing that is enforced: the kernel's tables and chains stay, empty, when the rules in them are gone.
func idle(line string) bool {
	switch {
	case line == "", line == "COMMIT", line[0] == '#', line[0] == '*':
		return true
	}
	return line[0] == ':' && strings.HasSuffix(line, " ACCEPT")
}
