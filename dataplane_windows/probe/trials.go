package probe

import (
	"errors"
	"slices"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// portP is one that rules name, portQ one that they don't.
const (
	portP = 18080
	portQ = 18443

	textP = "18080"
)

// basics are what most trials can't tell anything without.
var basics = []Assumption{23, 3, 6, 18}

// trials are in an order in which each leans on earlier ones alone.
func trials() []trial {
	ordered := slices.Concat(basics, []Assumption{1})
	sided := slices.Concat(ordered, []Assumption{7})
	return slices.Concat([]trial{
		{of: 5, run: tryDefault, once: true},
		{of: 24, run: tryBystander},
		{of: 23, run: tryUpdate},
		{of: 28, needs: []Assumption{23}, run: tryReadBack},
		{of: 3, needs: []Assumption{23}, run: tryNoAddresses},
		{of: 6, needs: []Assumption{23, 3}, run: tryHostLayer},
		{of: lag, needs: []Assumption{23, 3, 6}, run: tryAtOnce},
		{of: 18, needs: []Assumption{23, 3, 6}, run: tryBothEnds},
		{of: 27, needs: basics, run: tryRefused},
		{of: 1, needs: basics, run: tryOrder},
		{of: 2, needs: ordered, run: tryNeighbours},
		{of: 7, needs: ordered, run: trySides},
		{of: 9, needs: sided, run: tryAddressForms},
		{of: 8, needs: append(sided, 9), run: tryAddressLists},
		{of: 10, needs: ordered, run: tryPorts},
		{of: 11, needs: ordered, run: tryProtocols},
		{of: 4, needs: sided, run: tryNoProtocol, scope: "tried with TCP and UDP"},
		{of: 12, needs: append(sided, 9), run: tryIPv6},
		{of: 13, needs: ordered, run: tryAnswers},
		{of: 14, needs: append(ordered, 13), run: tryModify},
		{of: 15, needs: append(ordered, 13), run: tryOtherWay},
		{of: 19, needs: append(sided, 9, 8), run: tryHost},
	}, setTrials(ordered))
}

// tryDefault is the control, too: without it nothing else says anything.
func tryDefault(a *attempt) {
	a.expect(a.each(portP, true)...)
	if a.err != nil || len(a.wrong) == 0 {
		return
	}
	control := &attempt{session: a.session, trial: a.trial}
	control.both(opened, opened)
	control.expect(a.ab(tcp, portP, true), a.ab(udp, portP, true))
	if control.err == nil && len(control.wrong) > 0 {
		control.err = errors.New("packets do not arrive though everything is allowed: " + control.wrong[0])
	}
	if a.err = control.err; a.err != nil || !a.site.dual {
		return
	}
	six := &attempt{session: a.session, trial: a.trial}
	six.expect(a.ab6(tcp, portP, true))
	a.site.dual = six.err == nil && len(six.wrong) == 0
}

func tryNoAddresses(a *attempt) {
	a.both([]hns.ACL{block(hns.Out, 1000)}, []hns.ACL{block(hns.In, 1000)})
	a.expect(a.each(portP, false)...)
	if a.err == nil && len(a.wrong) > 0 {
		tryAnyEffect(a)
	}
	a.both(opened, opened)
	a.expect(a.each(portP, true)...)
}

// tryAnyEffect breaks the probe off where not even a list that blocks all addresses of IPv4 by their prefix does anything: then nothing can be told
// on such a network, and there is nothing that a node could be closed with.
func tryAnyEffect(a *attempt) {
	everywhere := func(d hns.Direction) []hns.ACL {
		acl := block(d, 1000)
		acl.RemoteAddresses = "0.0.0.0/0"
		return []hns.ACL{acl}
	}
	control := &attempt{session: a.session, trial: a.trial}
	control.both(everywhere(hns.Out), everywhere(hns.In))
	control.expect(a.ab(tcp, portP, false), a.ab(udp, portP, false))
	if a.err = control.err; a.err == nil && len(control.wrong) > 0 && a.slow {
		a.err = errors.New("no ACL has any effect on the probe's network: " + control.wrong[0])
	}
}

func tryHostLayer(a *attempt) {
	a.both(shut, shut)
	a.expect(a.each(portP, false)...)
	a.both(opened, opened)
	a.expect(a.each(portP, true)...)
}

func tryAtOnce(a *attempt) {
	for range 2 {
		a.both(shut, shut)
		a.expect(a.ab(tcp, portP, false))
		a.both(opened, opened)
		a.expect(a.ab(tcp, portP, true))
	}
}

func tryBothEnds(a *attempt) {
	a.outAtA(block(hns.Out, 2000))
	a.expect(a.ab(tcp, portP, false), a.ab(udp, portP, false))
	a.inAtB(block(hns.In, 2000))
	a.expect(a.ab(tcp, portP, false), a.ab(udp, portP, false))
}

// tryOrder has each of two rules come first, in the order of their numbers and of the list.
func tryOrder(a *attempt) { tryPair(a, 1000, 2000) }

func tryNeighbours(a *attempt) {
	for _, low := range []uint16{100, 999, 64999, 65499} {
		tryPair(a, low, low+1)
	}
}

func tryPair(a *attempt, low, high uint16) {
	for _, first := range []hns.ACL{block(hns.In, low), allow(hns.In, low)} {
		rest := block(hns.In, high)
		if first.Action == hns.Block {
			rest = allow(hns.In, high)
		}
		first.Protocols, first.LocalPorts = protoTCP, textP
		pass := first.Action == hns.Allow
		for _, list := range [][]hns.ACL{{first, rest}, {rest, first}} {
			a.inAtB(list...)
			a.expect(a.ab(tcp, portP, pass), a.ab(tcp, portQ, !pass), a.ab(udp, portP, !pass))
		}
	}
}

func trySides(a *attempt) {
	in, out := allow(hns.In, 1000), allow(hns.Out, 1000)
	in.Protocols, in.LocalPorts, in.RemoteAddresses = protoTCP, textP, a.around(a.a)
	out.Protocols, out.RemotePorts, out.RemoteAddresses = protoTCP, textP, a.around(a.b)
	checks := []check{a.ab(tcp, portP, true), a.ab(tcp, portQ, false)}
	a.inAtB(in, block(hns.In, 2000))
	a.expect(checks...)
	a.outAtA(out, block(hns.Out, 2000))
	a.expect(checks...)
	in.LocalAddresses, out.LocalAddresses = a.around(a.b), a.around(a.a)
	a.both(slices.Concat(pair, []hns.ACL{out, block(hns.Out, 2000), allow(hns.In, 3000)}), slices.Concat(pair, []hns.ACL{in, block(hns.In, 2000), allow(hns.Out, 3000)}))
	a.expect(checks...)
	in.LocalAddresses, in.RemoteAddresses = in.RemoteAddresses, in.LocalAddresses
	a.inAtB(in, block(hns.In, 2000))
	a.expect(a.ab(tcp, portP, false))
}

// tryRemote has B take what comes from these addresses alone.
func tryRemote(a *attempt, addresses string, pass bool) {
	in := allow(hns.In, 1000)
	in.RemoteAddresses = addresses
	a.inAtB(in, block(hns.In, 2000))
	a.expect(a.ab(tcp, portP, pass), a.ab(udp, portP, pass))
}

func tryAddressForms(a *attempt) {
	tryRemote(a, a.a.v4.String(), true)
	tryRemote(a, a.a.v4.String()+"/32", true)
	tryRemote(a, a.around(a.a), true)
	tryRemote(a, a.stranger(), false)
	tryRemote(a, a.stranger()+"/32", false)
	tryRemote(a, a.around(a.b), false)
}

func tryAddressLists(a *attempt) {
	tryRemote(a, a.stranger()+","+a.a.v4.String(), true)
	tryRemote(a, a.a.v4.String()+","+a.stranger(), true)
	tryRemote(a, a.around(a.b)+","+a.around(a.a), true)
	tryRemote(a, a.around(a.b)+","+a.stranger(), false)
}

// tryPorts has a range and a port beside it, at both ends.
func tryPorts(a *attempt) {
	const first, end, alone, ports = 18100, 18102, 18110, "18100-18102,18110"
	for _, p := range []struct {
		number uint8
		text   string
	}{{tcp, protoTCP}, {udp, protoUDP}} {
		var checks []check
		for _, port := range []uint16{first, first + 1, end, alone} {
			checks = append(checks, a.ab(p.number, port, true))
		}
		for _, port := range []uint16{first - 1, end + 1, alone - 1, alone + 1} {
			checks = append(checks, a.ab(p.number, port, false))
		}
		in, out := allow(hns.In, 1000), allow(hns.Out, 1000)
		in.Protocols, in.LocalPorts = p.text, ports
		out.Protocols, out.RemotePorts = p.text, ports
		a.inAtB(in, block(hns.In, 2000))
		a.expect(checks...)
		a.outAtA(out, block(hns.Out, 2000))
		a.expect(checks...)
	}
}

func tryProtocols(a *attempt) {
	for _, list := range []string{protoTCP + "," + protoUDP, protoUDP + "," + protoTCP} {
		in := allow(hns.In, 1000)
		in.Protocols = list
		a.inAtB(in, block(hns.In, 2000))
		a.expect(a.ab(tcp, portP, true), a.ab(udp, portP, true))
	}
	in := allow(hns.In, 1000)
	in.Protocols = protoUDP
	a.inAtB(in, block(hns.In, 2000))
	a.expect(a.ab(tcp, portP, false), a.ab(udp, portP, true))
}

func tryNoProtocol(a *attempt) {
	in := block(hns.In, 1000)
	in.RemoteAddresses = a.around(a.a)
	a.inAtB(in, allow(hns.In, 2000))
	a.expect(a.ab(tcp, portP, false), a.ab(udp, portP, false))
	in.Action = hns.Allow
	a.inAtB(in, block(hns.In, 2000))
	a.expect(a.ab(tcp, portP, true), a.ab(udp, portP, true))
}

func tryIPv6(a *attempt) {
	if !a.site.dual {
		a.skip("HNS makes no network of both families here, or IPv6 does not arrive on it")
		return
	}
	four, six := a.ab(tcp, portP, true), a.ab6(tcp, portP, true)
	not := func(c check) check { c.pass = false; return c }
	in := allow(hns.In, 1000)
	for _, from := range []string{a.a.v6.String(), subnet6 + "::10/124"} {
		in.RemoteAddresses = from
		a.inAtB(in, block(hns.In, 2000))
		a.expect(six, not(four))
	}
	in.Protocols, in.LocalPorts = protoTCP, textP
	a.inAtB(in, block(hns.In, 2000))
	a.expect(six, a.ab6(tcp, portQ, false), a.ab6(udp, portP, false))
	a.inAtB(hns.ACL{Action: hns.Block, Direction: hns.In, Priority: 1000, RemoteAddresses: a.a.v6.String()}, allow(hns.In, 2000))
	a.expect(not(six), four)
	a.inAtB(hns.ACL{Action: hns.Allow, Direction: hns.In, Priority: 1000, RemoteAddresses: a.around(a.a)}, block(hns.In, 2000))
	a.expect(not(six), four)
	out := allow(hns.Out, 1000)
	out.RemoteAddresses = a.b.v6.String()
	a.outAtA(out, block(hns.Out, 2000))
	a.expect(six, not(four))
}

// oneWay lets connections from A to B through, and nothing the other way.
func (a *attempt) oneWay(more ...hns.ACL) {
	a.both(slices.Concat(pair, []hns.ACL{allow(hns.Out, 1000), block(hns.In, 2000)}),
		slices.Concat(pair, []hns.ACL{allow(hns.In, 1000), block(hns.Out, 2000)}, more))
}

func tryAnswers(a *attempt) {
	a.oneWay()
	a.expect(a.ab(tcp, portP, true), a.ab(udp, portP, true))
}

func tryModify(a *attempt) {
	a.oneWay()
	conn := a.open(a.ab(tcp, portP, true))
	defer conn.Close()
	a.push(conn, "before its ends' lists were modified")
	more := allow(hns.In, 1500)
	more.RemoteAddresses = a.around(a.b)
	a.oneWay(more)
	a.push(conn, "once its ends' lists were modified")
}

func tryOtherWay(a *attempt) {
	a.both(slices.Concat(pair, []hns.ACL{allow(hns.Out, 1000), block(hns.In, 2000)}), opened)
	tryBeside(a)
	a.both(opened, slices.Concat(pair, []hns.ACL{allow(hns.In, 1000), block(hns.Out, 2000)}))
	tryBeside(a)
}

// tryBeside opens connections the other way beside one that stands.
func tryBeside(a *attempt) {
	conn := a.open(a.ab(tcp, portP, true))
	defer conn.Close()
	a.expect(a.ba(tcp, portP, false), a.ba(udp, portP, false), a.ba(tcp, portQ, false))
}
