package dptest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/felid-net/felid/dataplane"
)

// ruleParser reads the words of one rule.
type ruleParser struct {
	rs       *Ruleset
	table    *table
	chain    *chain
	words    []string
	rule     *ipRule
	protocol int             // of -p without !, else -1
	modules  map[string]bool // loaded by -m
}

// rule reads matches and target of a rule for chain c.
func (rs *Ruleset) rule(t *table, c *chain, words []string) (*ipRule, error) {
	p := &ruleParser{rs: rs, table: t, chain: c, words: words, rule: &ipRule{chain: c.name}, protocol: -1, modules: map[string]bool{}}
	for len(p.words) > 0 {
		if err := p.option(); err != nil {
			return nil, err
		}
	}
	if p.rule.target.act == nil && p.rule.target.chain == "" {
		p.rule.target.act = func(*run) verdict { return verdictNone }
	}
	return p.rule, nil
}

// next takes a word.
func (p *ruleParser) next() (string, error) {
	if len(p.words) == 0 {
		return "", fmt.Errorf("the rule ends too early")
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w, nil
}

// options are the matches that take one argument, and the module that each needs ("" none, "port" that of the protocol).
var options = map[string]struct {
	module string
	read   func(p *ruleParser, arg string) (matcher, error)
}{
	"-i": {"", (*ruleParser).inInterface}, "-o": {"", (*ruleParser).outInterface},
	"-s": {"", (*ruleParser).source}, "-d": {"", (*ruleParser).destination}, "-p": {"", (*ruleParser).proto},
	"--sport": {"port", (*ruleParser).sport}, "--dport": {"port", (*ruleParser).dport},
	"--sports": {"multiport", (*ruleParser).sports}, "--dports": {"multiport", (*ruleParser).dports}, "--ports": {"multiport", (*ruleParser).eitherPorts},
	"--match-set": {"set", (*ruleParser).matchSet},
	"--icmp-type": {"icmp", (*ruleParser).icmpType}, "--icmpv6-type": {"icmp6", (*ruleParser).icmpType},
	"--ctstate": {"conntrack", (*ruleParser).ctstate}, "--mark": {"mark", (*ruleParser).mark},
	"--src-type": {"addrtype", (*ruleParser).srcType}, "--dst-type": {"addrtype", (*ruleParser).dstType},
}

// modules that -m may load.
var modules = []string{"tcp", "udp", "sctp", "icmp", "icmp6", "multiport", "set", "conntrack", "mark", "comment", "addrtype"}

func (p *ruleParser) option() error {
	word, _ := p.next()
	not := word == "!"
	if not {
		var err error
		if word, err = p.next(); err != nil {
			return err
		}
	}
	switch word {
	case "-j", "-g", "-m", "--comment":
		if not {
			return fmt.Errorf("%s can't be negated", word)
		}
		return p.plain(word)
	}
	o, ok := options[word]
	if !ok {
		return fmt.Errorf("unknown option %q", word)
	}
	if err := p.needs(word, o.module); err != nil {
		return err
	}
	arg, err := p.next()
	if err != nil {
		return err
	}
	if word == "-p" && not {
		p.protocol = -2
	}
	m, err := o.read(p, arg)
	if err != nil {
		return fmt.Errorf("%s %s: %w", word, arg, err)
	}
	p.add(m, not)
	return nil
}

func (p *ruleParser) plain(word string) error {
	arg, err := p.next()
	if err != nil {
		return err
	}
	switch word {
	case "-m":
		if !slices.Contains(modules, arg) {
			return fmt.Errorf("unknown match %q", arg)
		}
		p.modules[arg] = true
		return nil
	case "--comment":
		if !p.modules["comment"] || len(arg) > 255 {
			return fmt.Errorf("--comment needs -m comment, and at most 255 characters")
		}
		return nil
	}
	return p.readTarget(arg, word == "-g")
}

func (p *ruleParser) add(m matcher, not bool) {
	if not {
		yes := m
		m = func(r *run) bool { return !yes(r) }
	}
	p.rule.matchers = append(p.rule.matchers, m)
}

// needs checks what has to come before an option.
func (p *ruleParser) needs(option, module string) error {
	port := p.protocol == int(dataplane.ProtoTCP) || p.protocol == int(dataplane.ProtoUDP) || p.protocol == int(dataplane.ProtoSCTP)
	ok := true
	switch module {
	case "":
	case "port":
		ok = port
	case "multiport":
		ok = p.modules[module] && (port || p.protocol == int(dataplane.ProtoUDPLite))
	case "icmp":
		ok = p.protocol == int(dataplane.ProtoICMP) && p.rs.family == 4
	case "icmp6":
		ok = p.protocol == int(dataplane.ProtoICMPv6) && p.rs.family == 6
	default:
		ok = p.modules[module]
	}
	if !ok {
		return fmt.Errorf("%s without the -p or -m that it needs", option)
	}
	return nil
}

func (p *ruleParser) inInterface(arg string) (matcher, error) {
	if p.chain.name == "OUTPUT" || p.chain.name == "POSTROUTING" {
		return nil, fmt.Errorf("can't be used in %s", p.chain.name)
	}
	m, err := interfaceMatch(arg)
	return func(r *run) bool { return m(r.p.In) }, err
}

func (p *ruleParser) outInterface(arg string) (matcher, error) {
	if p.chain.name == "INPUT" || p.chain.name == "PREROUTING" {
		return nil, fmt.Errorf("can't be used in %s", p.chain.name)
	}
	m, err := interfaceMatch(arg)
	return func(r *run) bool { return m(r.p.Out) }, err
}

// interfaceMatch reads a name, or a beginning followed by "+". Interface names have at most 15 characters.
func interfaceMatch(arg string) (func(string) bool, error) {
	if arg == "" || len(arg) > 15 {
		return func(string) bool { return false }, fmt.Errorf("interface name must have 1 to 15 characters")
	}
	if begin, ok := strings.CutSuffix(arg, "+"); ok {
		return func(name string) bool { return strings.HasPrefix(name, begin) }, nil
	}
	return func(name string) bool { return name == arg }, nil
}

func (p *ruleParser) source(arg string) (matcher, error) {
	n, err := p.net(arg)
	return func(r *run) bool { return n.Contains(r.p.Src) }, err
}

func (p *ruleParser) destination(arg string) (matcher, error) {
	n, err := p.net(arg)
	return func(r *run) bool { return n.Contains(r.p.Dst) }, err
}

func (p *ruleParser) net(arg string) (netip.Prefix, error) {
	nets, bad := parseNets([]string{arg})
	if bad > 0 || nets[0].Addr().Is4() != (p.rs.family == 4) {
		return netip.Prefix{}, fmt.Errorf("not a network of family %d", p.rs.family)
	}
	return nets[0], nil
}

var protocolNames = map[string]int{
	"tcp": 6, "udp": 17, "icmp": 1, "ipv6-icmp": 58, "icmpv6": 58, "sctp": 132, "udplite": 136, "all": 0,
}

func (p *ruleParser) proto(arg string) (matcher, error) {
	n, ok := protocolNames[arg]
	if !ok {
		v, err := strconv.ParseUint(arg, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("unknown protocol")
		}
		n = int(v)
	}
	if p.protocol == -1 {
		p.protocol = n
	}
	return func(r *run) bool { return n == 0 || int(r.p.Protocol) == n }, nil
}

func (p *ruleParser) sport(arg string) (matcher, error) {
	ranges, err := portRanges([]string{arg})
	return func(r *run) bool { return inRanges(r.p.SrcPort, ranges) }, err
}

func (p *ruleParser) dport(arg string) (matcher, error) {
	ranges, err := portRanges([]string{arg})
	return func(r *run) bool { return inRanges(r.p.DstPort, ranges) }, err
}

func (p *ruleParser) sports(arg string) (matcher, error) {
	ranges, err := multiport(arg)
	return func(r *run) bool { return inRanges(r.p.SrcPort, ranges) }, err
}

func (p *ruleParser) dports(arg string) (matcher, error) {
	ranges, err := multiport(arg)
	return func(r *run) bool { return inRanges(r.p.DstPort, ranges) }, err
}

func (p *ruleParser) eitherPorts(arg string) (matcher, error) {
	ranges, err := multiport(arg)
	return func(r *run) bool { return inRanges(r.p.SrcPort, ranges) || inRanges(r.p.DstPort, ranges) }, err
}

// multiport reads a list; the kernel has room for 15, a range takes two.
func multiport(arg string) ([]dataplane.PortRange, error) {
	ranges, err := portRanges(strings.Split(arg, ","))
	if n := strings.Count(arg, ",") + strings.Count(arg, ":") + 1; n > 15 && err == nil {
		err = fmt.Errorf("%d ports, multiport takes 15", n)
	}
	return ranges, err
}

// portRanges reads "80" and "80:90".
func portRanges(items []string) ([]dataplane.PortRange, error) {
	var ranges []dataplane.PortRange
	for _, item := range items {
		low, high, ok := strings.Cut(item, ":")
		if !ok {
			high = low
		}
		a, err := strconv.ParseUint(low, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("port %q: %w", item, err)
		}
		b, err := strconv.ParseUint(high, 10, 16)
		if err != nil || a > b {
			return nil, fmt.Errorf("port %q is not a range", item)
		}
		ranges = append(ranges, dataplane.PortRange{Min: uint16(a), Max: uint16(b)})
	}
	return ranges, nil
}

// icmpType reads "8", "8/0" and "any".
func (p *ruleParser) icmpType(arg string) (matcher, error) {
	if arg == "any" {
		return func(*run) bool { return true }, nil
	}
	typ, code, hasCode := strings.Cut(arg, "/")
	t, err := strconv.ParseUint(typ, 10, 8)
	if err != nil {
		return nil, err
	}
	c := uint64(0)
	if hasCode {
		if c, err = strconv.ParseUint(code, 10, 8); err != nil {
			return nil, err
		}
	}
	return func(r *run) bool { return int(r.p.ICMPType) == int(t) && (!hasCode || int(r.p.ICMPCode) == int(c)) }, nil
}

func (p *ruleParser) ctstate(arg string) (matcher, error) {
	states := strings.Split(arg, ",")
	for _, s := range states {
		if !slices.Contains([]string{"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "DNAT"}, s) {
			return nil, fmt.Errorf("unknown state %q", s)
		}
	}
	return func(r *run) bool {
		return slices.Contains(states, r.p.State) || r.p.Translated && slices.Contains(states, "DNAT")
	}, nil
}

func (p *ruleParser) mark(arg string) (matcher, error) {
	value, mask, err := valueMask(arg)
	return func(r *run) bool { return r.p.Mark&mask == value }, err
}

// valueMask reads "0x1/0xff"; without a mask it is all ones.
func valueMask(arg string) (value, mask uint32, err error) {
	v, m, ok := strings.Cut(arg, "/")
	a, err := strconv.ParseUint(v, 0, 32)
	if err != nil || !ok {
		return uint32(a), 0xffffffff, err
	}
	b, err := strconv.ParseUint(m, 0, 32)
	return uint32(a), uint32(b), err
}

func (p *ruleParser) srcType(arg string) (matcher, error) {
	m, err := addressType(arg)
	return func(r *run) bool { return m(r, r.p.Src) }, err
}

func (p *ruleParser) dstType(arg string) (matcher, error) {
	m, err := addressType(arg)
	return func(r *run) bool { return m(r, r.p.Dst) }, err
}

func addressType(arg string) (func(*run, netip.Addr) bool, error) {
	switch arg {
	case "LOCAL":
		return func(r *run, a netip.Addr) bool { return slices.Contains(r.p.Local, a) }, nil
	case "MULTICAST":
		return func(_ *run, a netip.Addr) bool { return a.IsMulticast() }, nil
	}
	return nil, fmt.Errorf("unknown type of address")
}

// matchSet reads NAME and the list of directions.
func (p *ruleParser) matchSet(name string) (matcher, error) {
	flags, err := p.next()
	if err != nil {
		return nil, err
	}
	set := p.rs.sets[name]
	if set == nil {
		return nil, fmt.Errorf("there is no such set")
	}
	if set.family != p.rs.family {
		return nil, fmt.Errorf("the set is of family %d", set.family)
	}
	dirs := strings.Split(flags, ",")
	if len(dirs) != set.dimensions() {
		return nil, fmt.Errorf("%s does not suit a set of type %s", flags, set.typ)
	}
	for _, d := range dirs {
		if d != "src" && d != "dst" {
			return nil, fmt.Errorf("direction %q", d)
		}
	}
	return func(r *run) bool { return set.contains(r.p.Tuple, dirs) }, nil
}
