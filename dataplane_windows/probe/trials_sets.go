package probe

import (
	"net/netip"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// The probe's sets.
const (
	setA     = mark + "-set-a" // the address of A, and that of B
	setB     = mark + "-set-b"
	setOther = mark + "-set-other" // an address that nobody has
	setMoves = mark + "-set-moves" // has other members each time
	setSix   = mark + "-set-six"
)

func setTrials(ordered []Assumption) []trial {
	standing := append(ordered[:len(ordered):len(ordered)], 41)
	named := append(standing[:len(standing):len(standing)], 34)
	return []trial{
		{of: 41, run: tryVersion},
		{of: 34, needs: standing, run: trySetName},
		{of: 35, needs: named, run: trySetSides},
		{of: 36, needs: named, run: trySetMembers},
		{of: 37, needs: named, run: tryEmptySet},
		{of: 39, needs: named, run: tryMissingSet, once: true},
		{of: 40, needs: named, run: trySetPrefixes},
	}
}

func set(id string, members ...netip.Prefix) hns.Set {
	return hns.Set{ID: id, Name: id, Members: members}
}

func whole(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// tryVersion puts sets on the network, where the version says that there are any. The other trials of sets use these.
func tryVersion(a *attempt) {
	if !a.result.Version.AtLeast(13, 0) {
		a.skip("HNS %d.%d has no sets", a.result.Version.Major, a.result.Version.Minor)
		return
	}
	other := whole(netip.MustParseAddr(a.stranger()))
	sets := []hns.Set{set(setA, whole(a.a.v4)), set(setB, whole(a.b.v4)), set(setOther, other), set(setMoves, other)}
	if a.site.dual {
		sets = append(sets, set(setSix, whole(a.a.v6)))
	}
	a.putSets(sets, nil)
}

// outToSet has A send to a set alone.
func (a *attempt) outToSet(id string) {
	out := allow(hns.Out, 1000)
	out.RemoteAddresses = id
	a.outAtA(out, block(hns.Out, 2000))
}

func trySetName(a *attempt) {
	a.outToSet(setB)
	a.expect(a.ab(tcp, portP, true), a.ab(udp, portP, true))
	a.outToSet(setOther)
	a.expect(a.ab(tcp, portP, false), a.ab(udp, portP, false))
}

func trySetSides(a *attempt) {
	in, out := allow(hns.In, 1000), allow(hns.Out, 1000)
	in.Protocols, in.LocalPorts = protoTCP, textP
	out.Protocols, out.RemotePorts = protoTCP, textP
	for _, c := range []struct {
		local, remote string
		pass          bool
	}{{setA, "", true}, {"", setB, true}, {setA, setB, true}, {setB, "", false}, {"", setA, false}} {
		in.LocalAddresses, in.RemoteAddresses = c.local, c.remote
		a.inAtB(in, block(hns.In, 2000))
		a.expect(a.ab(tcp, portP, c.pass), a.ab(tcp, portQ, false))
		out.LocalAddresses, out.RemoteAddresses = c.local, c.remote
		a.outAtA(out, block(hns.Out, 2000))
		a.expect(a.ab(tcp, portP, c.pass), a.ab(tcp, portQ, false))
	}
}

func trySetMembers(a *attempt) {
	other := whole(netip.MustParseAddr(a.stranger()))
	a.putSets(nil, []hns.Set{set(setMoves, other)})
	a.outToSet(setMoves)
	a.expect(a.ab(tcp, portP, false))
	a.putSets(nil, []hns.Set{set(setMoves, other, whole(a.b.v4))})
	a.expect(a.ab(tcp, portP, true))
	a.putSets(nil, []hns.Set{set(setMoves, other)})
	a.expect(a.ab(tcp, portP, false))
}

func tryEmptySet(a *attempt) {
	a.putSets(nil, []hns.Set{set(setMoves)})
	a.outToSet(setMoves)
	a.expect(a.ab(tcp, portP, false), a.ab(udp, portP, false))
}

// tryMissingSet names a set that is not there, and removes one that is named.
func tryMissingSet(a *attempt) {
	out := allow(hns.Out, 1000)
	out.RemoteAddresses = mark + "-set-none"
	switch err := a.write(a.a, append(opened[:len(opened):len(opened)], out)); {
	case err == nil:
		a.fault("an ACL that names a set that is not there is taken")
	case hns.Unavailable(err):
		a.err = err
	}
	a.outToSet(setOther)
	if a.err != nil {
		return
	}
	switch err := a.HNS.RemoveSets(a.site.network, []hns.Set{set(setOther, whole(netip.MustParseAddr(a.stranger())))}); {
	case err == nil:
		a.fault("a set that an ACL names can be removed")
	case hns.Unavailable(err):
		a.err = err
	}
}

func trySetPrefixes(a *attempt) {
	other := whole(netip.MustParseAddr(a.stranger()))
	a.putSets(nil, []hns.Set{set(setMoves, other, netip.PrefixFrom(a.b.v4, 26).Masked())})
	a.outToSet(setMoves)
	a.expect(a.ab(tcp, portP, true))
	if !a.site.dual {
		a.trial.scope = "tried with IPv4"
		return
	}
	a.putSets(nil, []hns.Set{set(setSix, netip.PrefixFrom(a.b.v6, 122).Masked())})
	a.outToSet(setSix)
	a.expect(a.ab6(tcp, portP, true), a.ab(tcp, portP, false))
}
