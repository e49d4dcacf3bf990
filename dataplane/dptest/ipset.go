package dptest

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ipSet is a kernel set as ipset-restore text makes it.
type ipSet struct {
	typ    string
	family uint8
	nets   map[netip.Prefix]bool
	ports  map[addrPort]bool
}

type addrPort struct {
	addr     netip.Addr
	protocol uint8
	port     uint16
}

// parseIPSets reads ipset-restore text: create, add, del, flush, swap, destroy.
func parseIPSets(text string) (map[string]*ipSet, error) {
	sets := map[string]*ipSet{}
	for i, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' || words[0] == "COMMIT" {
			continue
		}
		if err := ipSetLine(sets, words); err != nil {
			return nil, fmt.Errorf("ipset line %d: %q: %w", i+1, line, err)
		}
	}
	return sets, nil
}

func ipSetLine(sets map[string]*ipSet, words []string) error {
	exist := words[len(words)-1] == "-exist"
	if exist {
		words = words[:len(words)-1]
	}
	if len(words) < 2 {
		return fmt.Errorf("want a command and a name")
	}
	name := words[1]
	if words[0] == "create" {
		return createSet(sets, name, words[2:], exist)
	}
	set := sets[name]
	if set == nil {
		return fmt.Errorf("there is no set %q", name)
	}
	switch {
	case words[0] == "add" && len(words) == 3:
		return set.change(words[2], true, exist)
	case words[0] == "del" && len(words) == 3:
		return set.change(words[2], false, exist)
	case words[0] == "flush" && len(words) == 2:
		clear(set.nets)
		clear(set.ports)
	case words[0] == "destroy" && len(words) == 2:
		delete(sets, name)
	case words[0] == "swap" && len(words) == 3 && sets[words[2]] != nil:
		sets[name], sets[words[2]] = sets[words[2]], set
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

// createSet reads TYPE and its options; names have at most 31 characters.
func createSet(sets map[string]*ipSet, name string, words []string, exist bool) error {
	if sets[name] != nil && !exist {
		return fmt.Errorf("set %s is there already", name)
	}
	if len(name) > 31 {
		return fmt.Errorf("the name %q has %d characters, 31 fit", name, len(name))
	}
	if len(words) == 0 || words[0] != "hash:net" && words[0] != "hash:ip" && words[0] != "hash:ip,port" {
		return fmt.Errorf("unknown type of set")
	}
	set := &ipSet{typ: words[0], family: 4, nets: map[netip.Prefix]bool{}, ports: map[addrPort]bool{}}
	for words = words[1:]; len(words) > 0; words = words[2:] {
		if len(words) < 2 {
			return fmt.Errorf("option %s needs a value", words[0])
		}
		switch {
		case words[0] == "family" && words[1] == "inet":
		case words[0] == "family" && words[1] == "inet6":
			set.family = 6
		case words[0] == "maxelem" || words[0] == "hashsize" || words[0] == "bucketsize":
			if _, err := strconv.ParseUint(words[1], 10, 32); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unknown option %s %s", words[0], words[1])
		}
	}
	if old := sets[name]; old != nil {
		if old.typ != set.typ || old.family != set.family {
			return fmt.Errorf("set %s is there with another type", name)
		}
		return nil
	}
	sets[name] = set
	return nil
}

func (s *ipSet) dimensions() int {
	return strings.Count(s.typ, ",") + 1
}

// change adds or removes a member. Without -exist, adding what is there and removing what is not are errors.
func (s *ipSet) change(text string, add, exist bool) error {
	if s.typ == "hash:ip,port" {
		return s.changePort(text, add, exist)
	}
	nets, bad := parseNets([]string{text})
	if bad > 0 || (nets[0].Addr().Is4() != (s.family == 4)) {
		return fmt.Errorf("member %q is not of family %d", text, s.family)
	}
	if nets[0].Bits() == 0 {
		return fmt.Errorf("member %q: the kernel takes no prefix of length 0", text)
	}
	if s.typ == "hash:ip" && !nets[0].IsSingleIP() {
		return fmt.Errorf("member %q is more than an address", text)
	}
	return changeMember(s.nets, nets[0], text, add, exist)
}

func changeMember[K comparable](members map[K]bool, k K, text string, add, exist bool) error {
	if members[k] == add && !exist {
		return fmt.Errorf("member %q is there already, or is not there", text)
	}
	if add {
		members[k] = true
	} else {
		delete(members, k)
	}
	return nil
}

// changePort reads ADDRESS,PROTOCOL:PORT.
func (s *ipSet) changePort(text string, add, exist bool) error {
	addr, rest, _ := strings.Cut(text, ",")
	proto, port, ok := strings.Cut(rest, ":")
	a, err := netip.ParseAddr(addr)
	if err != nil || !ok || a.Is4() != (s.family == 4) {
		return fmt.Errorf("member %q is not ADDRESS,PROTOCOL:PORT of family %d", text, s.family)
	}
	n, ok := protocolNames[proto]
	if !ok {
		v, err := strconv.ParseUint(proto, 10, 8)
		if err != nil {
			return fmt.Errorf("member %q: unknown protocol", text)
		}
		n = int(v)
	}
	if !hasPorts(uint8(n)) {
		return fmt.Errorf("member %q: the protocol has no ports", text)
	}
	v, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("member %q: %w", text, err)
	}
	return changeMember(s.ports, addrPort{a, uint8(n), uint16(v)}, text, add, exist)
}

// contains looks a packet up; dirs has "src" or "dst" for each dimension.
func (s *ipSet) contains(t Tuple, dirs []string) bool {
	addr := t.Dst
	if dirs[0] == "src" {
		addr = t.Src
	}
	if len(dirs) == 1 {
		for bits := addr.BitLen(); bits > 0; bits-- {
			if p, _ := addr.Prefix(bits); s.nets[p] {
				return true
			}
		}
		return false
	}
	port := t.DstPort
	if dirs[1] == "src" {
		port = t.SrcPort
	}
	return hasPorts(t.Protocol) && s.ports[addrPort{addr, t.Protocol, port}]
}
