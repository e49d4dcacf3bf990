package netlink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	mdl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// fewAddresses is up to how many the kernel is asked to find the connections itself, which takes it four passes over its table for each, and
// us nothing. For more, one pass that hands every connection to us is cheaper.
const fewAddresses = 8

// ForgetConnections leaves IPv4 to the kernel's own filter. For IPv6 that filter can't be had: it compares addresses the wrong way round (seen
// with 6.18), and would delete everybody else's connections.
func (k *kernel) ForgetConnections(addrs map[netip.Addr]struct{}) error {
	toRead := connections{}
	for a := range addrs {
		if a.Is6() || len(addrs) > fewAddresses {
			toRead[a] = struct{}{}
			continue
		}
		err := k.forgetByFilter(a)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) { // kernels before 6.8 delete only by whole tuples
			toRead[a] = struct{}{}
			continue
		}
		if err != nil {
			return err
		}
	}
	return k.forgetByReading(toRead)
}

// Attributes of IPCTNL_MSG_CT_DELETE; linux/netfilter/nfnetlink_conntrack.h.
const (
	ctGet            = 1
	ctDelete         = 2
	ctaFilter        = 25
	ctaFilterOrig    = 1 // CTA_FILTER_ORIG_FLAGS; reply: 2
	ctaFilterFlagSrc = 1 // of the flags; destination: 2
)

// forgetByFilter deletes the connections that have the IPv4 address at one of the four ends of their two tuples. Each request holds a tuple: a
// kernel that does not know the filter refuses an incomplete tuple, and does not delete everything.
func (k *kernel) forgetByFilter(a netip.Addr) error {
	for tuple := uint16(ctaTupleOrig); tuple <= ctaTupleReply; tuple++ {
		for end := range uint16(2) {
			attrs := mdl.NewAttributeEncoder()
			attrs.Nested(tuple, func(t *mdl.AttributeEncoder) error {
				t.Nested(ctaTupleIP, func(ip *mdl.AttributeEncoder) error {
					ip.Bytes(ctaIPv4Src+end, a.AsSlice())
					return nil
				})
				return nil
			})
			attrs.Nested(ctaFilter, func(f *mdl.AttributeEncoder) error {
				f.Uint32(ctaFilterOrig+tuple-ctaTupleOrig, ctaFilterFlagSrc<<end)
				return nil
			})
			if err := k.deleteConnections(attrs); err != nil {
				return fmt.Errorf("of %s: %w", a, err)
			}
		}
	}
	return nil
}

func (k *kernel) deleteConnections(attrs *mdl.AttributeEncoder) error {
	data, err := attrs.Encode()
	if err != nil {
		return err
	}
	err = k.deleteConnection(unix.AF_INET, data)
	if errors.Is(err, unix.ENOENT) {
		return nil // there was none
	}
	return err
}

func (k *kernel) deleteConnection(family byte, attrs []byte) error {
	_, err := k.conntrack.Execute(mdl.Message{
		Header: mdl.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | ctDelete, Flags: mdl.Request | mdl.Acknowledge},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attrs...),
	})
	return err
}

// CutConnections reads the whole table once for each family.
func (k *kernel) CutConnections(denied func(Connection) bool) (cut int, err error) {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		replies, err := k.conntrack.Execute(mdl.Message{
			Header: mdl.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | ctGet, Flags: mdl.Request | mdl.Dump},
			Data:   []byte{family, unix.NFNETLINK_V0, 0, 0},
		})
		if err != nil {
			return cut, fmt.Errorf("read tracked connections: %w", err)
		}
		n, err := k.cutAmong(family, replies, denied)
		if cut += n; err != nil {
			return cut, err
		}
	}
	return cut, nil
}

func (k *kernel) cutAmong(family byte, replies []mdl.Message, denied func(Connection) bool) (cut int, err error) {
	for _, m := range replies {
		if len(m.Data) < 4 {
			continue
		}
		t, err := readTracked(m.Data[4:])
		if err != nil {
			return cut, fmt.Errorf("read tracked connections: %w", err)
		}
		if t.related || !denied(t.connection) {
			continue
		}
		switch err := k.deleteConnection(family, t.handle); {
		case err == nil:
			cut++
		case !errors.Is(err, unix.ENOENT): // it may have ended by itself meanwhile
			return cut, fmt.Errorf("delete tracked connection %v to %v: %w", t.connection.Src, t.connection.Dst, err)
		}
	}
	return cut, nil
}

// connections matches those from or to any of some addresses, in either direction of NAT.
type connections map[netip.Addr]struct{}

// MatchConntrackFlow is called by the library for each tracked connection.
func (c connections) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	for _, ip := range []net.IP{flow.Forward.SrcIP, flow.Forward.DstIP, flow.Reverse.SrcIP, flow.Reverse.DstIP} {
		if a, ok := netip.AddrFromSlice(ip); ok {
			if _, ours := c[a.Unmap()]; ours {
				return true
			}
		}
	}
	return false
}

// forgetByReading reads all connections and deletes those that match, one by one.
func (k *kernel) forgetByReading(addrs connections) error {
	families := map[netlink.InetFamily]bool{}
	for a := range addrs {
		family := netlink.InetFamily(unix.AF_INET)
		if a.Is6() {
			family = unix.AF_INET6
		}
		families[family] = true
	}
	for family := range families {
		_, err := k.h.ConntrackDeleteFilters(netlink.ConntrackTable, family, addrs)
		if err != nil && !errors.Is(err, unix.ENOENT) { // one that ended by itself meanwhile
			return err
		}
	}
	return nil
}
