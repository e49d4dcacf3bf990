package dptest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/felid-net/felid/dataplane"
)

// Flow is one packet that opens a connection, and what must become of it.
type Flow struct {
	Line int    // in the file "flows", from 1
	Text string // the line, with the family and port that this flow is of
	// From and To are "pod/NS/NAME", "node/NAME", or an address that belongs to neither.
	From, To string
	Tuple
	// SentTo is where the packet is sent to, where a node port or a service on the way makes of that the destination in Tuple; else it is zero.
	SentTo  netip.AddrPort
	Spoofed bool // Src is not From's own
	Want    Want

	hops []Hop
}

// Tuple is what a packet says of itself. Ports are 0 where the protocol has none; ICMP fields are -1 for other protocols.
type Tuple struct {
	Src, Dst           netip.Addr
	Protocol           uint8
	SrcPort, DstPort   uint16
	ICMPType, ICMPCode int16
}

// Family is 4 or 6.
func (t Tuple) Family() uint8 {
	if t.Dst.Is4() {
		return 4
	}
	return 6
}

// String is "10.65.0.1 -> 10.65.0.2 TCP 80".
func (t Tuple) String() string {
	s := fmt.Sprintf("%s -> %s ", t.Src, t.Dst)
	switch {
	case t.ICMPType >= 0:
		return s + fmt.Sprintf("proto %d %d/%d", t.Protocol, t.ICMPType, t.ICMPCode)
	case hasPorts(t.Protocol):
		return s + fmt.Sprintf("proto %d %d>%d", t.Protocol, t.SrcPort, t.DstPort)
	}
	return s + fmt.Sprintf("proto %d", t.Protocol)
}

// Want is the verdict that a flow must get.
type Want struct {
	Action dataplane.Action // Allow or Deny
	By     []Decider
	// Foreign: felid allows the flow, and a foreign rule drops it (Action is Deny).
	Foreign bool
	// Answer is what becomes of the answer, where the flow is allowed.
	Answer Answered
}

// Answered is what becomes of the answer to a flow.
type Answered uint8

// The fates of an answer.
const (
	AnswerUnknown Answered = iota // nobody can tell, or wants to know
	AnswerComes
	AnswerLost
)

// Decider names what decided a side; Side is "egress", "ingress", "forward", or "" for one whose verdict is the flow's.
type Decider struct {
	Side string
	Name string // "NetworkPolicy b/p rule 0", "end of tier default", "no profile", …
}

// The deciders that are not a rule.
const (
	byEndOfTier  = "end of tier "
	byNoProfile  = "no profile"
	byOwnNode    = "own node"
	bySpoofed    = "spoofed source"
	byToHost     = "to host"
	byNoIPv6     = "no IPv6"
	byProbePort  = "probe port"
	byFailsafe   = "failsafe"
	byFault      = "unreadable"
	byNoForward  = "no forward policy"
	byNeighbours = "neighbour discovery"
	byForeign    = "foreign rule"
)

// defaultSrcPort is what flows come from that do not say.
const defaultSrcPort = 40000

func hasPorts(protocol uint8) bool {
	switch protocol {
	case dataplane.ProtoTCP, dataplane.ProtoUDP, dataplane.ProtoSCTP, dataplane.ProtoUDPLite:
		return true
	}
	return false
}

// parseFlows reads the file "flows".
func (c *Case) parseFlows(text string) ([]Flow, error) {
	var flows []Flow
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		more, err := c.parseFlow(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", i+1, line, err)
		}
		for _, f := range more {
			f.Line = i + 1
			flows = append(flows, f)
		}
	}
	return flows, nil
}

// spec is a flow line before it is multiplied by families and ports.
type spec struct {
	line     string
	from, to string
	dnat     string // END:PORT that the packet is sent on to, or ""
	as       netip.Addr
	family   uint8 // 0 both
	tuples   []Tuple
	want     Want
}

func (c *Case) parseFlow(line string) ([]Flow, error) {
	left, verdict, ok := strings.Cut(line, " : ")
	if !ok {
		return nil, fmt.Errorf(`no " : " before the verdict`)
	}
	s := spec{line: line}
	var err error
	if s.want, err = parseWant(verdict); err != nil {
		return nil, err
	}
	if err := s.parseLeft(strings.Fields(left)); err != nil {
		return nil, err
	}
	return s.expand(c)
}

func (s *spec) parseLeft(words []string) error {
	if len(words) < 4 {
		return fmt.Errorf("want FROM -> TO PROTOCOL …")
	}
	s.from, words = words[0], words[1:]
	if words[0] == "as" {
		a, err := netip.ParseAddr(words[1])
		if err != nil {
			return err
		}
		s.as, words = a, words[2:]
	}
	if len(words) < 3 || words[0] != "->" {
		return fmt.Errorf(`no "->" between the ends`)
	}
	s.to, words = words[1], words[2:]
	words, err := s.parseProtocol(words)
	if err != nil {
		return err
	}
	return s.parseRest(words)
}

// parseRest reads "from PORT", "dnat END:PORT", "ip4" and "ip6".
func (s *spec) parseRest(words []string) error {
	for len(words) > 0 {
		switch {
		case words[0] == "ip4" || words[0] == "ip6":
			s.family = words[0][2] - '0'
			words = words[1:]
		case words[0] == "from" && len(words) > 1:
			n, err := strconv.ParseUint(words[1], 10, 16)
			if err != nil {
				return fmt.Errorf("source port %q: %w", words[1], err)
			}
			for i := range s.tuples {
				s.tuples[i].SrcPort = uint16(n)
			}
			words = words[2:]
		case words[0] == "dnat" && len(words) > 1:
			s.dnat, words = words[1], words[2:]
		default:
			return fmt.Errorf("can't read %q; valid are ip4, ip6, from PORT, dnat END:PORT", strings.Join(words, " "))
		}
	}
	return nil
}

var portProtocols = map[string]uint8{
	"TCP": dataplane.ProtoTCP, "UDP": dataplane.ProtoUDP, "SCTP": dataplane.ProtoSCTP, "UDPLite": dataplane.ProtoUDPLite,
}

func (s *spec) parseProtocol(words []string) ([]string, error) {
	if proto, ok := portProtocols[words[0]]; ok {
		if len(words) < 2 {
			return nil, fmt.Errorf("%s needs a port", words[0])
		}
		ports, err := parsePorts(words[1])
		for _, p := range ports {
			s.tuples = append(s.tuples, Tuple{Protocol: proto, SrcPort: defaultSrcPort, DstPort: p, ICMPType: -1, ICMPCode: -1})
		}
		return words[2:], err
	}
	switch {
	case words[0] == "ping":
		s.tuples = []Tuple{{Protocol: dataplane.ProtoICMP, ICMPType: 8}, {Protocol: dataplane.ProtoICMPv6, ICMPType: 128}}
		return words[1:], nil
	case (words[0] == "ICMP" || words[0] == "ICMPv6") && len(words) > 1:
		return words[2:], s.parseICMP(words[0], words[1])
	case words[0] == "proto" && len(words) > 1:
		n, err := strconv.ParseUint(words[1], 10, 8)
		s.tuples = []Tuple{{Protocol: uint8(n), ICMPType: -1, ICMPCode: -1}}
		return words[2:], err
	}
	return nil, fmt.Errorf("can't read the protocol %q", strings.Join(words, " "))
}

func (s *spec) parseICMP(proto, typeCode string) error {
	typ, code, ok := strings.Cut(typeCode, "/")
	t, err := strconv.ParseUint(typ, 10, 8)
	if err != nil || !ok {
		return fmt.Errorf("want TYPE/CODE after %s, not %q", proto, typeCode)
	}
	c, err := strconv.ParseUint(code, 10, 8)
	if err != nil {
		return fmt.Errorf("want TYPE/CODE after %s, not %q", proto, typeCode)
	}
	tuple := Tuple{Protocol: dataplane.ProtoICMP, ICMPType: int16(t), ICMPCode: int16(c)}
	s.family = 4
	if proto == "ICMPv6" {
		tuple.Protocol, s.family = dataplane.ProtoICMPv6, 6
	}
	s.tuples = []Tuple{tuple}
	return nil
}

func parsePorts(text string) ([]uint16, error) {
	var ports []uint16
	for _, item := range strings.Split(text, ",") {
		for _, end := range strings.SplitN(item, "-", 2) {
			n, err := strconv.ParseUint(end, 10, 16)
			if err != nil {
				return nil, fmt.Errorf("port %q: %w", item, err)
			}
			ports = append(ports, uint16(n))
		}
	}
	return ports, nil
}

func parseWant(text string) (Want, error) {
	verdict, by, _ := strings.Cut(strings.TrimSpace(text), " by ")
	var w Want
	switch verdict {
	case "Allow":
		w.Action, w.Answer = dataplane.Allow, AnswerComes
	case "Allow unanswered":
		w.Action, w.Answer = dataplane.Allow, AnswerLost
	case "Deny":
		w.Action = dataplane.Deny
	default:
		return w, fmt.Errorf("the verdict is %q, must be Allow or Deny, or \"Allow unanswered\"", verdict)
	}
	if by == byForeign {
		w.Foreign, by = true, ""
	}
	if by == "" {
		return w, nil
	}
	for _, name := range strings.Split(by, ",") {
		d := Decider{Name: strings.TrimSpace(name)}
		for _, side := range []string{"egress", "ingress", "forward"} {
			if rest, ok := strings.CutPrefix(d.Name, side+" "); ok {
				d = Decider{Side: side, Name: rest}
			}
		}
		if err := checkDecider(d.Name); err != nil {
			return w, err
		}
		w.By = append(w.By, d)
	}
	return w, nil
}

func checkDecider(name string) error {
	words := strings.Fields(name)
	reasons := []string{byNoProfile, byOwnNode, bySpoofed, byToHost, byNoIPv6, byProbePort, byFailsafe, byFault, byNoForward, byNeighbours}
	switch {
	case slices.Contains(reasons, name):
		return nil
	case strings.HasPrefix(name, byEndOfTier) && len(words) == 4:
		return nil
	case len(words) == 4 && words[2] == "rule":
		return nil
	}
	return fmt.Errorf("can't read the decider %q", name)
}

// expand multiplies the line by its families and ports.
func (s *spec) expand(c *Case) ([]Flow, error) {
	from, err := c.end(s.from)
	if err != nil {
		return nil, err
	}
	sent, err := c.end(s.to)
	if err != nil {
		return nil, err
	}
	to, port := sent, uint16(0)
	if s.dnat != "" {
		if to, port, err = c.target(s.dnat); err != nil {
			return nil, err
		}
	}
	if s.as.IsValid() {
		from.addrs = []netip.Addr{s.as}
	}
	var flows []Flow
	for _, family := range []uint8{4, 6} {
		src, dst, sentTo := ofFamily(from.addrs, family), ofFamily(to.addrs, family), ofFamily(sent.addrs, family)
		if !src.IsValid() || !dst.IsValid() || !sentTo.IsValid() || s.family != 0 && s.family != family {
			continue
		}
		for _, t := range s.tuples {
			if t.Protocol == dataplane.ProtoICMP && family == 6 || t.Protocol == dataplane.ProtoICMPv6 && family == 4 {
				continue
			}
			t.Src, t.Dst = src, dst
			f := Flow{From: from.name, To: to.name, Tuple: t, Spoofed: s.as.IsValid(), Want: s.want}
			if s.dnat != "" {
				f.SentTo, f.DstPort = netip.AddrPortFrom(sentTo, t.DstPort), port
			}
			flows = append(flows, s.named(f))
		}
	}
	if len(flows) == 0 {
		return nil, fmt.Errorf("the ends have no address of one family")
	}
	return flows, c.findWays(flows, from, sent)
}

// named gives the flow its text, by which runners know it again.
func (s *spec) named(f Flow) Flow {
	f.Text = fmt.Sprintf("%s (%s)", s.line, f.Tuple)
	if f.SentTo.IsValid() {
		f.Text += fmt.Sprintf(", sent to %s", f.SentTo)
	}
	return f
}

// expectsAnswer tells whether an answer comes back to the sender: not to a false address, and of ICMP only to an echo request.
func expectsAnswer(f Flow) bool {
	echo := f.ICMPType == 8 && f.Protocol == dataplane.ProtoICMP || f.ICMPType == 128 && f.Protocol == dataplane.ProtoICMPv6
	return !f.Spoofed && (hasPorts(f.Protocol) || echo && f.ICMPCode == 0)
}

// ofFamily is the first address of the family, or the zero Addr.
func ofFamily(addrs []netip.Addr, family uint8) netip.Addr {
	for _, a := range addrs {
		if a.Is4() == (family == 4) {
			return a
		}
	}
	return netip.Addr{}
}
