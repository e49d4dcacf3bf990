package linux

import (
	"context"
	"encoding/binary"
	"flag"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/policy"
	nflog "github.com/florianl/go-nflog/v2"
)

var explained = flag.Uint64("explained", 10, "how many made-up cases are asked about by explain and by the kernel, for each variant")

// TestExplainNamesWhatDecided: of every new connection that the kernel allowed or denied, NFLOG reports the very rule, end of tier or lack of a
// profile that policy.Explain names, at both ends; and all that Explain names is reported. The policies and connections are made up.
func TestExplainNamesWhatDecided(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			for seed := range *explained {
				c := dptest.Random(1_000_000 + seed)
				if c.Options.Skip[dptest.RunnerPackets] != "" {
					continue
				}
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

// verdictGroup is the NFLOG group of this test.
const verdictGroup = 11

// side is one end's judgement of one packet.
type side struct {
	dptest.Tuple
	dir dataplane.Direction
}

// report is what NFLOG said of a packet.
type report struct {
	dptest.Tuple
	prefix string
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
	for i, o := range net.Probe(c.Flows) {
		if o.Err != nil {
			t.Errorf("%s: %v", c.Flows[i].Text, o.Err)
		}
	}
	answers := map[dptest.Tuple]policy.Answer{}
	for _, f := range c.Flows {
		answers[f.Tuple] = policy.ExplainBetween(states[""], dataplane.EndpointID(f.From), dataplane.EndpointID(f.To), flowOf(f.Tuple))
	}
	compareReports(t, NamesOf(maps.Keys(states[""].Policies)), answers, reports)
}

func flowOf(t dptest.Tuple) policy.Flow {
	return policy.Flow{
		Src: t.Src, Dst: t.Dst, Protocol: t.Protocol, SrcPort: t.SrcPort, DstPort: t.DstPort, ICMPType: t.ICMPType, ICMPCode: t.ICMPCode,
	}
}

// compareReports reads reports until every side that policy decided has one.
func compareReports(t *testing.T, names LogNames, answers map[dptest.Tuple]policy.Answer, reports <-chan report) {
	t.Helper()
	missing := map[side]string{}
	for tuple, a := range answers {
		for dir, v := range sidesReached(a) {
			if prefix := decidedBy(dir, v); prefix != "" {
				missing[side{tuple, dir}] = prefix
			}
		}
	}
	deadline := time.After(patience)
	for len(missing) > 0 {
		select {
		case r := <-reports:
			compareReport(t, names, answers, r, missing)
		case <-deadline:
			for s, prefix := range missing {
				t.Errorf("%s, %s: explain names %q, and the kernel reported nothing", s.Tuple, s.dir, prefix)
			}
			return
		}
	}
	for {
		select {
		case r := <-reports:
			compareReport(t, names, answers, r, missing)
		default:
			return
		}
	}
}

// sidesReached are the ends that get to judge: what does not leave its sender is not judged by its receiver.
func sidesReached(a policy.Answer) map[dataplane.Direction]*policy.Verdict {
	sides := map[dataplane.Direction]*policy.Verdict{}
	if a.Egress != nil {
		sides[dataplane.Egress] = a.Egress
	}
	if a.Ingress != nil && (a.Egress == nil || a.Egress.Action == dataplane.Allow) {
		sides[dataplane.Ingress] = a.Ingress
	}
	return sides
}

// decidedBy is the prefix that stands for what Explain names; "" where that is not policy.
func decidedBy(dir dataplane.Direction, v *policy.Verdict) string {
	l := Logged{Action: v.Action, Direction: dir, Rule: -1}
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

// compareReport holds one report against the answer about that packet. A packet that is sent again is reported again.
func compareReport(t *testing.T, names LogNames, answers map[dptest.Tuple]policy.Answer, r report, missing map[side]string) {
	t.Helper()
	l, err := names.Read(r.prefix)
	if err != nil {
		t.Errorf("%s: %v", r.Tuple, err)
		return
	}
	a, known := answers[r.Tuple]
	if !known {
		t.Errorf("%s: the kernel reported %q of a packet that nobody sent", r.Tuple, r.prefix)
		return
	}
	v := sidesReached(a)[l.Direction]
	switch {
	case v == nil:
		t.Errorf("%s, %s: the kernel reported %q, and explain sees nothing there", r.Tuple, l.Direction, r.prefix)
	case v.By.Reason != policy.ReasonToHost && (l.Action == dataplane.Allow || l.Action == dataplane.Deny):
		if want := decidedBy(l.Direction, v); want != r.prefix {
			t.Errorf("%s, %s: the kernel reported %q, explain names %q", r.Tuple, l.Direction, r.prefix, want)
		}
		delete(missing, side{r.Tuple, l.Direction})
	case l.Rule >= 0 && !slices.ContainsFunc(v.Trace, func(s policy.Step) bool {
		return s.Matched && s.Rule == l.Rule && s.Action == l.Action.String() && dataplane.PolicyID{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name} == l.Policy
	}):
		t.Errorf("%s, %s: the kernel reported %q, and explain's trace does not have it: %v", r.Tuple, l.Direction, r.prefix, v.Trace)
	}
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
