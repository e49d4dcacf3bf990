package linux

import (
	"net/netip"
	"strconv"

	"github.com/felid-net/felid/dataplane"
)

// compiler gathers the matches that all lines of a rule have in common.
type compiler struct {
	family    Family
	protocol  uint8 // the one that the rule is limited to, or 0
	portLines bool  // each line is limited to a protocol with ports

	addresses, ports, icmpMatch, sets string
	excluded                          []string
	netSets                           []Set
}

// side adds what holds for one side, but for the ports it must have.
func (c *compiler) side(s *dataplane.Side, e end) {
	direct := c.nets(s.Nets, e)
	c.notNets(s.NotNets, e, direct)
	for _, id := range s.IPSets {
		c.sets += "-m set --match-set " + setName(c.family, string(id)) + e.set
	}
	for _, id := range s.NotIPSets {
		c.sets += "-m set ! --match-set " + setName(c.family, string(id)) + e.set
	}
	for _, id := range s.NotPortSets {
		c.sets += "-m set ! --match-set " + setName(c.family, string(id)) + e.portSet
	}
	c.notPorts(s.NotPorts, e)
}

// nets: one is matched directly, several by a set; direct tells that the address option of the side is used up.
func (c *compiler) nets(all []netip.Prefix, e end) (direct bool) {
	nets := familyNets(c.family, all)
	switch {
	case len(nets) == 0 || nets[0].Bits() == 0: // sorted: one of length 0 comes first
		return false
	case len(nets) == 1:
		c.addresses += e.addr + nets[0].String() + " "
		return true
	}
	c.sets += "-m set --match-set " + c.netsSet(nets) + e.set
	return false
}

// notNets likewise; a line can't have the address option of a side twice.
func (c *compiler) notNets(all []netip.Prefix, e end, direct bool) {
	nets := familyNets(c.family, all)
	switch {
	case len(nets) == 0:
	case len(nets) == 1 && !direct:
		c.addresses += "! " + e.addr + nets[0].String() + " "
	default:
		c.sets += "-m set ! --match-set " + c.netsSet(nets) + e.set
	}
}

func (c *compiler) netsSet(nets []netip.Prefix) string {
	set := netsSet(c.family, nets)
	c.netSets = append(c.netSets, set)
	return set.Name
}

// notPorts: in a line of a protocol with ports each list is negated; where the rule is for any protocol, they are excluded beforehand; any
// other protocol has no ports that could be in the list.
func (c *compiler) notPorts(ranges []dataplane.PortRange, e end) {
	for _, list := range multiport(ranges) {
		switch {
		case c.portLines:
			c.ports += "-m multiport ! " + e.ports + list + " "
		case c.protocol == 0:
			for _, p := range portProtocols {
				c.excluded = append(c.excluded, "-p "+protocolName(p)+" -m multiport "+e.ports+list)
			}
		}
	}
}

// icmp adds the match of type and code, and its negation.
func (c *compiler) icmp(r *dataplane.Rule) {
	if r.ICMP != nil {
		c.icmpMatch = c.icmpWords("", r.ICMP) + " "
	}
	switch own := c.family.icmp(); {
	case r.NotICMP == nil || c.protocol != 0 && c.protocol != own:
	case c.protocol == own && r.ICMP == nil:
		c.icmpMatch = c.icmpWords("! ", r.NotICMP) + " "
	default:
		c.excluded = append(c.excluded, "-p "+protocolName(own)+" "+c.icmpWords("", r.NotICMP))
	}
}

// icmpWords are "-m icmp --icmp-type 8/0" in the words of the family.
func (c *compiler) icmpWords(not string, i *dataplane.ICMP) string {
	words := "-m icmp " + not + "--icmp-type "
	if c.family == IPv6 {
		words = "-m icmp6 " + not + "--icmpv6-type "
	}
	words += strconv.Itoa(int(i.Type))
	if i.Code >= 0 {
		words += "/" + strconv.Itoa(int(i.Code))
	}
	return words
}
