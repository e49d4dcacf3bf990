package windows

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// host is a Windows host: an emulated HNS with one network.
type host struct {
	*emulator.Server
	t       testing.TB
	calls   hns.Calls
	client  *hns.Client
	network string
	cfg     Config
}

// forms that the driver is tested in.
var forms = map[string]Form{"plain": {IPv6: true}, "sets": {IPv6: true, Sets: true}}

func newHost(t testing.TB, form Form, wrong ...dptest.Assumption) *host {
	t.Helper()
	s := emulator.New(emulator.Options{Build: emulator.Server2022, False: wrong})
	h := hostOver(t, form, s.Calls())
	h.Server = s
	return h
}

// hostOver is a host whose HNS is reached by these calls. It has no Server.
func hostOver(t testing.TB, form Form, calls hns.Calls) *host {
	t.Helper()
	h := &host{t: t, calls: calls, client: hns.NewClient(calls)}
	h.network = h.newNetwork("azure")
	h.cfg = Config{HNS: h.client, Form: form, Coalesce: -1}
	return h
}

func (h *host) newNetwork(name string) string {
	h.t.Helper()
	n, err := h.client.CreateNetwork(hns.NewNetwork{Name: name, Type: "L2Bridge", Subnets: []hns.Subnet{
		{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Gateway: netip.MustParseAddr("10.0.0.1")},
		{Prefix: netip.MustParsePrefix("fd00::/16"), Gateway: netip.MustParseAddr("fd00::1")},
	}})
	must(h.t, err)
	return n.ID
}

// pod makes an endpoint with these addresses, attached to a namespace of its own, and gives its ID.
func (h *host) pod(addresses ...string) string {
	h.t.Helper()
	id := h.endpoint(addresses...)
	ns, err := h.client.CreateNamespace("")
	must(h.t, err)
	must(h.t, h.client.Attach(ns.ID, id))
	return id
}

// endpoint makes one that is not attached.
func (h *host) endpoint(addresses ...string) string {
	h.t.Helper()
	e := hns.NewEndpoint{Name: strings.Join(addresses, "_"), Network: h.network}
	for _, a := range addresses {
		addr := netip.MustParseAddr(a)
		e.Addresses = append(e.Addresses, netip.PrefixFrom(addr, addr.BitLen()))
	}
	made, err := h.client.CreateEndpoint(e)
	must(h.t, err)
	return made.ID
}

// list is what stands at an endpoint: in order of direction and priority, without IDs of ACLs.
func (h *host) list(id string) []string {
	h.t.Helper()
	raw, err := h.calls.Get(hns.KindEndpoint, id)
	must(h.t, err)
	e, err := hns.ParseEndpoint(raw)
	must(h.t, err)
	return texts(e.ACLs)
}

func texts(acls []hns.ACL) []string {
	var out []string
	for _, a := range acls {
		out = append(out, fmt.Sprintf("%s %s %5d %s proto=%q local=%q:%q remote=%q:%q %s",
			a.Direction, a.RuleType, a.Priority, a.Action, a.Protocols, a.LocalAddresses, a.LocalPorts, a.RemoteAddresses, a.RemotePorts, a.ID))
	}
	slices.Sort(out)
	return out
}

// observe is all that is enforced.
func (h *host) observe() string {
	h.t.Helper()
	var b strings.Builder
	c := h.calls
	for _, kind := range []hns.Kind{hns.KindNetwork, hns.KindEndpoint} {
		raw, err := c.List(kind, nil)
		must(h.t, err)
		for _, r := range raw {
			h.observeOne(&b, kind, r)
		}
	}
	lines := strings.Split(b.String(), "\n\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n\n")
}

func (h *host) observeOne(b *strings.Builder, kind hns.Kind, raw json.RawMessage) {
	h.t.Helper()
	if kind == hns.KindNetwork {
		n, err := hns.ParseNetwork(raw)
		must(h.t, err)
		slices.SortFunc(n.Sets, func(a, b hns.Set) int { return strings.Compare(a.ID, b.ID) })
		fmt.Fprintf(b, "network %s %v\n\n", n.Name, n.Sets)
		return
	}
	e, err := hns.ParseEndpoint(raw)
	must(h.t, err)
	fmt.Fprintf(b, "endpoint %v\n%s\n\n", e.Addresses, strings.Join(texts(e.ACLs), "\n"))
}

func (h *host) open() *Driver {
	h.t.Helper()
	d, err := New(h.cfg)
	must(h.t, err)
	h.t.Cleanup(func() { _ = d.Close() })
	return d
}

// withPods is a Dataplane on a host whose network plugin makes an endpoint of HNS for each pod of the State before it is applied, and deletes
// those of pods that are gone after.
type withPods struct {
	*Driver
	host *host
	pods map[dataplane.EndpointID]string
}

func (w *withPods) Apply(ctx context.Context, s *dataplane.State, changes *dataplane.Changes) (dataplane.Result, error) {
	for id, e := range s.Endpoints {
		if w.pods[id] == "" && e.Host == nil {
			w.pods[id] = w.host.pod(addressTextsOf(e)...)
		}
	}
	r, err := w.Driver.Apply(ctx, s, changes)
	for id, pod := range w.pods {
		if s.Endpoints[id] == nil && err == nil {
			must(w.host.t, w.host.client.DeleteEndpoint(pod))
			delete(w.pods, id)
		}
	}
	return r, err
}

func addressTextsOf(e *dataplane.Endpoint) []string {
	var out []string
	for _, a := range e.Addresses {
		out = append(out, a.String())
	}
	return out
}

func TestConformance(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) { conformance(t, func(t *testing.T) *host { return newHost(t, form) }) })
	}
}

func conformance(t *testing.T, newHost func(t *testing.T) *host) {
	dptest.RunDataplane(t, func(t *testing.T) dptest.Host {
		h, pods := newHost(t), map[dataplane.EndpointID]string{}
		return dptest.Host{
			Open:    func(t *testing.T) dataplane.Dataplane { return &withPods{Driver: h.open(), host: h, pods: pods} },
			Observe: func(t *testing.T) string { return h.observe() },
		}
	})
}

func rawOf(acls []hns.ACL) []json.RawMessage {
	var out []json.RawMessage
	for _, a := range acls {
		out = append(out, a.Raw())
	}
	return out
}
