package linux

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/policy"
	nflog "github.com/florianl/go-nflog/v2"
)

var explained = flag.Uint64("explained", 10, "how many made-up cases are asked about by explain and by the kernel, for each variant")

// TestExplainNamesWhatDecided: of every new connection that the kernel allowed or denied, NFLOG reports the very rule, end of tier or lack of a
// profile that policy.Explain names, at both ends and at the host endpoints between; and all that Explain names is reported. The policies and
// connections are made up.
func TestExplainNamesWhatDecided(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			for c := range explainedCases() {
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					explain(t, backend, c)
					if t.Failed() {
						t.Logf("the case:\n%s", c.YAML())
					}
				})
			}
		})
	}
}

// explainedCases are made up: two of pods alone for each of hosts too.
func explainedCases() iter.Seq[*dptest.Case] {
	return func(yield func(*dptest.Case) bool) {
		for seed, hosts := uint64(1_000_000), uint64(0); seed < 1_000_000+*explained; seed++ {
			if c := dptest.Random(seed); c.Options.Skip[dptest.RunnerPackets] == "" && !yield(c) {
				return
			}
			for ; hosts < 1_000*(seed-999_999) && seed%2 == 0; hosts++ {
				if c := dptest.RandomHosts(hosts); ofAllInterfaces(c) {
					hosts = 1_000 * (seed - 999_999)
					if !yield(c) {
						return
					}
				}
			}
		}
	}
}

// ofAllInterfaces tells whether each host endpoint is all that its node has: Explain does not know by which of several interfaces a packet goes.
func ofAllInterfaces(c *dptest.Case) bool {
	for _, o := range c.Objects {
		if h, ok := o.(*v3.HostEndpoint); ok && (h.Spec.InterfaceName != "*" || len(h.Spec.ExpectedIPs) > 0) {
			return false
		}
	}
	return true
}

// verdictGroup is the NFLOG group of this test.
const verdictGroup = 11

// report is what NFLOG said of a packet.
type report struct {
	dptest.Tuple
	prefix string
}

// expected is what Explain names of a flow, and is not reported yet.
type expected struct {
	sides   []*policy.Verdict // in the order of the way, up to the one that denies
	missing map[string]bool   // prefixes
}

func explain(t *testing.T, backend string, c *dptest.Case) {
	t.Helper()
	net, states := dptest.NewNet(t, c), dptest.States(c)
	reports := make(chan report, 4096)
	for _, node := range c.Nodes() {
		listenVerdicts(t, net.Node(node), reports)
		must(t, net.Node(node).Do(func() error {
			d, err := New(Config{Backend: backend, LogGroup: verdictGroup, LogVerdicts: true, LockFile: t.TempDir() + "/lock"})
			if err != nil {
				return err
			}
			t.Cleanup(func() { d.Close() })
			_, err = d.Apply(context.Background(), states[node], nil)
			return err
		}))
	}
	flows := slices.DeleteFunc(slices.Clone(c.Flows), func(f dptest.Flow) bool {
		dropped := c.Options.NoIPv6 && f.Family() == 6 // by the host of a pod, before a host endpoint forwards it
		return dropped || beyondUplink(f.Src) || beyondUplink(f.Dst)
	})
	for i, o := range net.Probe(flows) {
		if o.Err != nil {
			t.Errorf("%s: %v", flows[i].Text, o.Err)
		}
	}
	want := map[dptest.Tuple]*expected{}
	for _, f := range flows {
		w := explainFlow(states[""], f)
		want[f.Tuple] = w
		if f.SentTo.IsValid() { // as it is before its destination is translated
			t := f.Tuple
			t.Dst, t.DstPort = f.SentTo.Addr(), f.SentTo.Port()
			want[t] = w
		}
	}
	compareReports(t, NamesOf(maps.Keys(states[""].Policies)), want, reports)
}

// beyondUplink are addresses on a node's other interfaces, and behind them.
func beyondUplink(a netip.Addr) bool {
	return netip.MustParsePrefix("172.19.0.0/16").Contains(a) || netip.MustParsePrefix("fd00:19::/32").Contains(a)
}

func explainFlow(s *dataplane.State, f dptest.Flow) *expected {
	e := policy.NewExplainer(s)
	end := func(name string, a netip.Addr) dataplane.EndpointID {
		if id := dataplane.EndpointID(name); s.Endpoints[id] != nil {
			return id
		}
		return e.EndpointAt(a)
	}
	flow := flowOf(f.Tuple)
	flow.SentTo = f.SentTo
	answer := e.Between(end(f.From, f.Src), end(f.To, f.Dst), flow)
	w := &expected{missing: map[string]bool{}}
	for _, v := range answer.Sides() {
		w.sides = append(w.sides, v)
		if prefix := decidedBy(v); prefix != "" {
			w.missing[prefix] = true
		}
		if v.Action != dataplane.Allow {
			break
		}
	}
	return w
}

func flowOf(t dptest.Tuple) policy.Flow {
	return policy.Flow{
		Src: t.Src, Dst: t.Dst, Protocol: t.Protocol, SrcPort: t.SrcPort, DstPort: t.DstPort, ICMPType: t.ICMPType, ICMPCode: t.ICMPCode,
	}
}

// decidedBy is the prefix that stands for what Explain names; "" where that is not policy.
func decidedBy(v *policy.Verdict) string {
	l := Logged{Action: v.Action, Direction: v.Direction, Rule: -1}
	switch v.By.Reason {
	case policy.ReasonRule:
		l.Rule = v.By.Rule
		fallthrough
	case policy.ReasonEndOfTier:
		l.Policy = dataplane.PolicyID{Kind: v.By.Kind, Namespace: v.By.Namespace, Name: v.By.Name}
	case policy.ReasonNoProfile:
	default:
		return ""
	}
	return l.Prefix()
}

// compareReports reads reports until all that is expected has come.
func compareReports(t *testing.T, names LogNames, want map[dptest.Tuple]*expected, reports <-chan report) {
	t.Helper()
	missing := func() (texts []string) {
		for tuple, w := range want {
			for prefix := range w.missing {
				texts = append(texts, fmt.Sprintf("%s: %q of %v", tuple, prefix, w.sides[len(w.sides)-1].Endpoint))
			}
		}
		return texts
	}
	deadline := time.After(patience)
	for {
		select {
		case r := <-reports:
			compareReport(t, names, want, r)
			continue
		case <-deadline:
			t.Errorf("explain names, and the kernel did not report: %s", strings.Join(missing(), "; "))
			return
		default:
		}
		if len(missing()) == 0 {
			return
		}
		select { // nothing is there now
		case r := <-reports:
			compareReport(t, names, want, r)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// compareReport holds one report against what explain says about that packet. A packet that is sent again is reported again.
func compareReport(t *testing.T, names LogNames, want map[dptest.Tuple]*expected, r report) {
	t.Helper()
	l, err := names.Read(r.prefix)
	w := want[r.Tuple]
	switch {
	case err != nil:
		t.Errorf("%s: %v", r.Tuple, err)
	case w == nil && want[answered(r.Tuple)] != nil && want[answered(r.Tuple)].atHosts():
		// Untracked policy judges each packet, the answers too, of which nobody asked explain.
	case w == nil:
		t.Errorf("%s: the kernel reported %q of a packet that nobody sent", r.Tuple, r.prefix)
	case w.missing[r.prefix]:
		delete(w.missing, r.prefix)
	case l.Action == dataplane.Pass && l.Rule < 0: // the end of a tier that lets all go on is no step of explain's
	case !slices.ContainsFunc(w.sides, func(v *policy.Verdict) bool { return v.Direction == l.Direction && explains(v, l, r.prefix) }):
		t.Errorf("%s: the kernel reported %q, which explain does not name: %v", r.Tuple, r.prefix, texts(w.sides))
	}
}

// answered is what a packet would be the answer to.
func answered(t dptest.Tuple) dptest.Tuple {
	t.Src, t.Dst, t.SrcPort, t.DstPort = t.Dst, t.Src, t.DstPort, t.SrcPort
	switch t.ICMPType {
	case 0:
		t.ICMPType = 8
	case 129:
		t.ICMPType = 128
	}
	return t
}

// atHosts tells whether host endpoints have a say.
func (w *expected) atHosts() bool {
	return slices.ContainsFunc(w.sides, func(v *policy.Verdict) bool { return isHost(v) })
}

func isHost(v *policy.Verdict) bool { return strings.HasPrefix(string(v.Endpoint), "hostendpoint/") }

// explains tells whether a verdict accounts for a report: it names it as what decided, or it is a step on the way there. A workload's tiers
// decide once; a host endpoint's stages may each allow, the last one alone decides.
func explains(v *policy.Verdict, l Logged, prefix string) bool {
	if decidedBy(v) == prefix || l.Action == dataplane.Pass && isHost(v) {
		return true
	}
	onTheWay := l.Action == dataplane.Pass || l.Action == dataplane.Log ||
		l.Action == dataplane.Allow && (v.By.Reason == policy.ReasonToHost || isHost(v))
	return onTheWay && slices.ContainsFunc(v.Trace, func(s policy.Step) bool {
		id := dataplane.PolicyID{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name}
		return s.Matched && s.Rule == l.Rule && s.Action == l.Action.String() && id == l.Policy
	})
}

func texts(sides []*policy.Verdict) (out []string) {
	for _, v := range sides {
		out = append(out, fmt.Sprintf("%s %s: %s by %+v", v.Endpoint, v.Direction, v.Action, v.By))
	}
	return out
}

// listenVerdicts passes what NFLOG reports in a namespace.
func listenVerdicts(t *testing.T, ns *dptest.Namespace, reports chan<- report) {
	t.Helper()
	nf, err := nflog.Open(&nflog.Config{Group: verdictGroup, Copymode: nflog.CopyPacket, Bufsize: 128, QThresh: 1, NetNS: ns.Fd()})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); nf.Close() })
	must(t, nf.RegisterWithErrorFunc(ctx, func(a nflog.Attribute) int {
		if a.Prefix != nil && a.Payload != nil {
			tuple, ok := tupleOf(*a.Payload)
			if ok && !tuple.Dst.IsMulticast() { // by which the kernel says on its own which groups it is in
				reports <- report{tuple, *a.Prefix}
			}
		}
		return 0
	}, func(error) int { return 0 }))
}

// tupleOf reads the headers of a packet; false where it has none.
func tupleOf(packet []byte) (dptest.Tuple, bool) {
	t := dptest.Tuple{ICMPType: -1, ICMPCode: -1}
	if len(packet) < 40 {
		packet = append(slices.Clone(packet), make([]byte, 40)...)
	}
	var rest []byte
	switch packet[0] >> 4 {
	case 4:
		t.Src, t.Dst, t.Protocol = netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20])), packet[9]
		rest = packet[4*int(packet[0]&0xf):]
	case 6:
		t.Src, t.Dst, t.Protocol = netip.AddrFrom16([16]byte(packet[8:24])), netip.AddrFrom16([16]byte(packet[24:40])), packet[6]
		rest = packet[40:]
	default:
		return t, false
	}
	if len(rest) < 4 {
		return t, false
	}
	switch t.Protocol {
	case dataplane.ProtoICMP, dataplane.ProtoICMPv6:
		t.ICMPType, t.ICMPCode = int16(rest[0]), int16(rest[1])
	case dataplane.ProtoTCP, dataplane.ProtoUDP, dataplane.ProtoSCTP, dataplane.ProtoUDPLite:
		t.SrcPort, t.DstPort = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
	}
	return t, true
}
