package probe

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// around is a prefix with the end, and not the other one.
func (a *attempt) around(e *end) string {
	return netip.PrefixFrom(e.v4, 28).Masked().String()
}

// stranger is an address of the network that nobody has.
func (a *attempt) stranger() string { return a.site.subnet + ".99" }

func tryHost(a *attempt) {
	if a.HostAddresses == nil {
		a.skip("the host's addresses are not known")
		return
	}
	fromHost := func(pass bool) check { return check{End{}, a.b.at(4), tcp, portP, pass} }
	control := &attempt{session: a.session, trial: a.trial}
	control.both(opened, opened)
	control.expect(fromHost(true))
	if len(control.wrong) > 0 || control.err != nil {
		a.skip("the host does not reach the probe's network")
		return
	}
	host := []string{a.site.subnet + ".1"}
	for _, h := range a.HostAddresses() {
		if h.Is4() && h.String() != host[0] {
			host = append(host, h.String())
		}
	}
	in := allow(hns.In, 1000)
	in.RemoteAddresses = strings.Join(host, ",")
	a.inAtB(in, block(hns.In, 2000))
	a.expect(fromHost(true))
	a.inAtB(block(hns.In, 2000))
	a.expect(fromHost(false))
}

// sample is a list with every field.
func (a *attempt) sample() []hns.ACL {
	return slices.Concat(pair, []hns.ACL{
		{Action: hns.Allow, Direction: hns.In, Protocols: protoTCP, LocalAddresses: a.around(a.b), RemoteAddresses: a.around(a.a) + "," + a.around(a.b), LocalPorts: "80,443,8000-8080", RemotePorts: "1024-65535", Priority: 1000},
		{Action: hns.Block, Direction: hns.In, Priority: 1001}, {Action: hns.Block, Direction: hns.Out, Priority: 1001},
	})
}

// readBack writes a list over another, and reads it.
func (a *attempt) readBack() (written, read []hns.ACL) {
	a.put(a.b, opened...)
	a.put(a.b, a.sample()...)
	a.wait()
	if a.err != nil {
		return nil, nil
	}
	e, err := a.HNS.Endpoint(a.b.id)
	a.err = err
	return a.named(a.sample()), e.ACLs
}

func tryUpdate(a *attempt) {
	if written, read := a.readBack(); len(read) != len(written) {
		a.fault("of %d ACLs that replaced others, %d are read: %s", len(written), len(read), text(read))
	}
}

func tryReadBack(a *attempt) {
	written, read := a.readBack()
	for _, w := range written {
		if i := slices.IndexFunc(read, func(r hns.ACL) bool { return r.ID == w.ID }); i < 0 {
			a.fault("no ACL read back has the Id %q", w.ID)
		} else if read[i] != w {
			a.fault("%+v is given back as %+v", w, read[i])
		}
	}
}

func tryBystander(a *attempt) {
	if !slices.Contains(a.b.others, bystander.Type) {
		a.skip("HNS takes no policy of type %s on the probe's network", bystander.Type)
	}
	a.put(a.b, opened...)
	a.put(a.b, shut...)
	a.wait()
	if a.err != nil {
		return
	}
	e, err := a.HNS.Endpoint(a.b.id)
	if a.err = err; err == nil && !slices.Equal(e.Others, a.b.others) {
		a.fault("policies besides ACLs were %v, and are %v after an update of ACLs", a.b.others, e.Others)
	}
}

// tryRefused asks for what HNS is known to refuse: a word for an address.
func tryRefused(a *attempt) {
	a.outAtA(block(hns.Out, 2000))
	a.expect(a.ab(tcp, portP, false))
	if a.err != nil {
		return
	}
	bad := allow(hns.Out, 1000)
	bad.RemoteAddresses = "Any"
	switch err := a.write(a.a, append(slices.Clone(opened), bad)); {
	case err == nil:
		a.skip("HNS took a list that it should have refused")
	case hns.Unavailable(err):
		a.err = err
	}
	a.expect(a.ab(tcp, portP, false))
}
