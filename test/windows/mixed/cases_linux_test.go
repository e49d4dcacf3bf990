package mixed

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/policy"
)

const testdata = "../../../dataplane/dptest"

// sharedCases are the shared cases with their pods spread over the nodes, and flows between all pairs of pods besides those written. skipped says
// why others are not among them.
func sharedCases(t *testing.T, nodes []string) (cases []*dptest.Case, skipped map[string][]string) {
	t.Helper()
	files, err := filepath.Glob(testdata + "/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	skipped = map[string][]string{}
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		c := parse(t, name, data)
		if why := unfit(c, nodes); why != "" {
			skipped[why] = append(skipped[why], name)
			continue
		}
		for _, pairs := range []bool{false, true} {
			// Not all pairs of pods have a family in common: such a case has the flows that are written.
			if s, err := dptest.ParseCase(name, spread(data, nodes, i, pairs), readExample); err == nil {
				c = s
			} else if !pairs {
				t.Fatalf("%s, spread over nodes: %v", name, err)
			}
		}
		cases = append(cases, prepared(t, c))
	}
	return cases, skipped
}

// missing are lines for the nodes that a cluster does not name, with addresses that it does not use: where it names none, the first gets the first.
func missing(lines, nodes []string) (add []string) {
	some := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "node ") })
	for i, n := range nodes {
		switch {
		case !some:
			add = append(add, "node "+n)
		case !slices.ContainsFunc(lines, func(l string) bool { return l == "node "+n || strings.HasPrefix(l, "node "+n+" ") }):
			add = append(add, fmt.Sprintf("node %s 172.18.77.%d fd00:18:77::%d", n, i+1, i+1))
		}
	}
	return add
}

func parse(t *testing.T, name string, data []byte) *dptest.Case {
	t.Helper()
	c, err := dptest.ParseCase(name, data, readExample)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

func readExample(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join("../../examples", filepath.Base(name)))
}

// spread puts the pods of a case that are on no node in particular on the nodes in turn, from a certain one on, and adds flows
// between all pairs of them.
func spread(data []byte, nodes []string, from int, pairs bool) []byte {
	archive := txtar.Parse(data)
	var cluster, flows *txtar.File
	for i := range archive.Files {
		switch f := &archive.Files[i]; f.Name {
		case "cluster":
			cluster = f
		case "flows":
			flows = f
		}
	}
	if cluster == nil || flows == nil {
		return data
	}
	lines := strings.Split(string(cluster.Data), "\n")
	placed := slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, " node:") })
	var pods []string
	for i, line := range lines {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "pod" || slices.Contains(words, "hostNetwork") {
			continue
		}
		if !placed {
			lines[i] = strings.TrimRight(line, " ") + " node:" + nodes[(from+len(pods))%len(nodes)]
		}
		if !slices.ContainsFunc(words, func(w string) bool { return w == "ip:none" || strings.HasPrefix(w, "phase:") }) {
			pods = append(pods, "pod/"+words[1])
		}
	}
	if !placed {
		lines = append(missing(lines, nodes), lines...)
	}
	cluster.Data = []byte(strings.Join(lines, "\n"))
	for _, a := range pods {
		for _, b := range pods {
			if pairs && a != b && len(pods) <= 6 {
				flows.Data = fmt.Appendf(flows.Data, "%s -> %s TCP 4711 : Allow\n%s -> %s UDP 4711 : Allow\n", a, b, a, b)
			}
		}
	}
	return txtar.Format(archive)
}

// unfit says why a case can't be run here, "" where it can.
func unfit(c *dptest.Case, nodes []string) string {
	o := c.Options
	switch {
	case len(o.Skip) > 0:
		return "not for packets or not for ACLs"
	case o.HostToWorkload != "" || o.WorkloadToHost != "" || o.FailsafeInbound != nil || o.FailsafeOutbound != nil || o.NoIPv6:
		return "agents have the default configuration"
	case c.ForeignRules != "":
		return "rules of others are Linux' own"
	}
	for _, n := range c.Nodes() {
		if !slices.Contains(nodes, string(n)) {
			return "other nodes"
		}
	}
	for _, o := range c.Objects {
		switch v3.KeyOf(o).Kind {
		case v3.KindHostEndpoint:
			return "host endpoints are Linux' own"
		case v3.KindIPAMBlock:
			return "beside another plugin there are no blocks"
		}
	}
	return ""
}

// prepared is a case as a guest's, without what no object of Kubernetes stands for: endpoints that are no pods, services of nothing. Flows have the judge's verdicts.
func prepared(t *testing.T, c *dptest.Case) *dptest.Case {
	t.Helper()
	c.Options.Guest = true
	known, gone := viewKeys(t, c), map[string]bool{}
	c.Objects = slices.DeleteFunc(c.Objects, func(o v3.Object) bool {
		switch key := v3.KeyOf(o); {
		case known[key] || key.Kind != v3.KindWorkloadEndpoint && key.Kind != v3.KindServiceEndpoints:
			return false
		case key.Kind == v3.KindWorkloadEndpoint:
			gone[string(policy.EndpointIDOf(o.(*v3.WorkloadEndpoint)))] = true
		}
		return true
	})
	// Under Wine, agents take this machine's addresses for the node's, and such may reach its pods.
	seen, own := map[dptest.Tuple]bool{}, ownAddresses(t)
	c.Flows = slices.DeleteFunc(c.Flows, func(f dptest.Flow) bool {
		drop := f.SentTo.IsValid() || f.Spoofed || gone[f.From] || gone[f.To] || seen[f.Tuple] || !isPod(f.From) && !isPod(f.To) || own[f.Src]
		seen[f.Tuple] = true
		return drop
	})
	judge(c)
	return c
}

// judge gives the flows of a case the verdicts that its objects, as they are now, make right.
func judge(c *dptest.Case) {
	for i, f := range c.Flows {
		c.Flows[i].Want = dptest.Want{Action: dptest.Judge(c.Objects, c.Options, f).Action}
	}
}

func ownAddresses(t *testing.T) map[netip.Addr]bool {
	t.Helper()
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	own := map[netip.Addr]bool{}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr()] = true
		}
	}
	return own
}

func isPod(end string) bool { return strings.HasPrefix(end, "pod/") }

// endpointsOn are the pods of a node: their names and addresses.
func endpointsOn(c *dptest.Case, node string) map[string][]netip.Prefix {
	out := map[string][]netip.Prefix{}
	for _, o := range c.Objects {
		e, ok := o.(*v3.WorkloadEndpoint)
		if !ok || e.Spec.Node != node {
			continue
		}
		for _, text := range e.Spec.IPNetworks {
			p, err := netip.ParsePrefix(text)
			if a, aErr := netip.ParseAddr(text); err != nil && aErr == nil {
				p, err = netip.PrefixFrom(a, a.BitLen()), nil
			}
			if err == nil {
				out[string(policy.EndpointIDOf(e))] = append(out[string(policy.EndpointIDOf(e))], p)
			}
		}
	}
	return out
}

// nodeOf is where an end of a flow is, "" for outside.
func nodeOf(c *dptest.Case, end string) string {
	if node, ok := strings.CutPrefix(end, "node/"); ok {
		return node
	}
	for _, o := range c.Objects {
		if e, ok := o.(*v3.WorkloadEndpoint); ok && string(policy.EndpointIDOf(e)) == end {
			return e.Spec.Node
		}
	}
	return ""
}

// answers tells whether an allowed flow of a protocol has an answer that the emulator can be asked about.
func hasPorts(f dptest.Flow) bool {
	return f.Protocol == dataplane.ProtoTCP || f.Protocol == dataplane.ProtoUDP
}
