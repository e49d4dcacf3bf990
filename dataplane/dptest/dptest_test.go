package dptest

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// TestJudge: the judge agrees with the verdicts of every case.
func TestJudge(t *testing.T) {
	Run(t, "judge", func(_ *testing.T, c *Case) Answer {
		judge := judgeOf(c.Objects, c.Options)
		return func(f Flow) (Verdict, error) { return judge(f), nil }
	})
}

// TestCompare: a wrong verdict and a wrong decider are found.
func TestCompare(t *testing.T) {
	allow := &SideVerdict{Action: dataplane.Allow, By: "Profile kns.a rule 0"}
	deny := &SideVerdict{Action: dataplane.Deny, By: "end of tier default"}
	got := Verdict{Action: dataplane.Deny, Egress: allow, Ingress: deny}
	for _, c := range []struct {
		want string
		ok   bool
	}{
		{"Deny", true},
		{"Allow", false},
		{"Deny by end of tier default", true},
		{"Deny by ingress end of tier default", true},
		{"Deny by egress end of tier default", false},
		{"Deny by Profile kns.a rule 0", false},
		{"Deny by egress Profile kns.a rule 0, ingress end of tier default", true},
		{"Deny by NetworkPolicy a/p rule 0", false},
	} {
		w, err := parseWant(c.want)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.compare(got, false); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.want, err)
		}
	}
}

// TestParseCaseErrors: a case that would prove less than it seems to is refused.
func TestParseCaseErrors(t *testing.T) {
	const cluster = "title\nreason\n-- cluster --\npod a/x\npod a/four ip:10.0.0.1\n"
	for _, c := range []struct{ data, want string }{
		{"title\n-- flows --\n", "needs a title"},
		{cluster, "there is none"},
		{cluster + "-- flow --\n", "unknown file"},
		{cluster + "-- flows --\npod/a/x -> pod/a/y TCP 80 : Allow\n", `no "pod/a/y"`},
		{cluster + "-- flows --\npod/a/x -> pod/a/four TCP 80 ip6 : Allow\n", "no address of one family"},
		{cluster + "-- flows --\npod/a/x -> pod/a/four TCP : Allow\n", "needs a port"},
		{cluster + "-- flows --\npod/a/x -> pod/a/four TCP 80 : Reject\n", "must be Allow or Deny"},
		{cluster + "-- flows --\npod/a/x -> pod/a/four TCP 80 : Deny by magic\n", "decider"},
		{cluster + "-- flows --\npod/a/x -> pod/a/four TCP 80 to 90 : Deny\n", "can't read"},
		{cluster + "-- options --\nhost: x\n-- flows --\n", "unknown field"},
		{cluster + "-- options --\nskip: {hns: x}\n-- flows --\n", "unknown runner"},
		{cluster + "-- resources.yaml --\napiVersion: v1\nkind: Pod\nspek: {}\n-- flows --\n", "unknown field"},
		{"t\nr\n-- cluster --\npod x\n", "want NAMESPACE/NAME"},
		{"t\nr\n-- cluster --\npod a/x host\n", "can't read"},
	} {
		_, err := ParseCase("x", []byte(c.data), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.data, err, c.want)
		}
	}
}

func FuzzParseCase(f *testing.F) {
	f.Add([]byte("t\nr\n-- cluster --\nnode n1\nnamespace a k=v\npod a/x l=v port:h=80/TCP\n-- flows --\npod/a/x as 10.0.0.9 -> 192.0.2.1 TCP 80,81-82 from 7 ip4 : Deny by egress spoofed source\n"))
	f.Add([]byte(hostCluster + "-- options --\nfailsafeInbound: [TCP 22 10.0.0.0/8]\n-- flows --\n172.19.0.9 -> node/n1 TCP 30080 dnat pod/a/far:80 : Allow unanswered by forward no forward policy\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseCase("x", data, func(string) ([]byte, error) { return nil, errors.New("no examples here") })
		if err != nil {
			return
		}
		for _, f := range c.Flows {
			if v := Judge(c.Objects, c.Options, f); v.Action != dataplane.Allow && v.Action != dataplane.Deny {
				t.Errorf("%s: no verdict", f.Text)
			}
			c.Hops(f)
			c.Replies(f)
		}
	})
}

// TestEvaluate: the State that is programmed says the same as the resources, where every endpoint is local and where each node has a
// State of its own.
func TestEvaluate(t *testing.T) {
	t.Run("one state", func(t *testing.T) {
		Run(t, "evaluate", func(_ *testing.T, c *Case) Answer {
			states := States(c)
			return func(f Flow) (Verdict, error) {
				return c.evaluate(f, func(dataplane.NodeName) *dataplane.State { return states[""] })
			}
		})
	})
	t.Run("one per node", func(t *testing.T) {
		Run(t, "evaluate", func(_ *testing.T, c *Case) Answer {
			states := States(c)
			return func(f Flow) (Verdict, error) {
				return c.evaluate(f, func(node dataplane.NodeName) *dataplane.State { return states[node] })
			}
		})
	})
}

// TestExplain: what policy.Explain finds out for itself, which endpoints and nodes a flow comes by, is what the case says. It knows nothing of
// interfaces, so host endpoints that are found by theirs, and what goes by a node's other interfaces, are left out.
func TestExplain(t *testing.T) {
	cases := Cases(t)
	for seed := range *madeUp {
		cases = append(cases, Random(seed), RandomHosts(seed), RandomHosts(*madeUp+seed))
	}
	for _, c := range cases {
		if slices.ContainsFunc(c.Objects, byInterface) {
			continue
		}
		c.Flows = slices.DeleteFunc(c.Flows, c.besideUplink)
		t.Run(c.Name, func(t *testing.T) {
			s := States(c)[""]
			c.run(t, "explain", func(f Flow) (Verdict, error) { return explained(s, f), nil })
		})
	}
}

func byInterface(o v3.Object) bool {
	h, ok := o.(*v3.HostEndpoint)
	return ok && (h.Spec.InterfaceName != "*" || len(h.Spec.ExpectedIPs) > 0)
}

// besideUplink tells whether a flow goes by another interface of a node.
func (c *Case) besideUplink(f Flow) bool {
	return slices.ContainsFunc(f.hops, func(h Hop) bool {
		others := slices.Collect(maps.Values(c.devices[string(h.Node)]))
		return slices.Contains(others, h.In) || slices.Contains(others, h.Out)
	})
}

func explained(s *dataplane.State, f Flow) Verdict {
	e := policy.NewExplainer(s)
	end := func(name string, a netip.Addr) dataplane.EndpointID {
		if id := dataplane.EndpointID(name); s.Endpoints[id] != nil {
			return id
		}
		return e.EndpointAt(a)
	}
	a := e.Between(end(f.From, f.Src), end(f.To, f.Dst), policy.Flow{
		Src: f.Src, Dst: f.Dst, Protocol: f.Protocol, SrcPort: f.SrcPort, DstPort: f.DstPort, ICMPType: f.ICMPType, ICMPCode: f.ICMPCode, SentTo: f.SentTo,
	})
	v := Verdict{Action: dataplane.Allow}
	for _, side := range a.Sides() {
		as := sideForward
		switch side {
		case a.Egress:
			as = sideEgress
		case a.Ingress:
			as = sideIngress
		}
		v.add(as, SideVerdict{Endpoint: side.Endpoint, Action: side.Action, By: decider(side.By)})
	}
	return v
}
