package netlink

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"sync"

	"github.com/felid-net/felid/dataplane/delta"
)

// Kernel is the network of one namespace. Dial opens the real one; Twin is in memory.
type Kernel interface {
	// Link tells whether an interface is there, and up.
	Link(name string) (there, up bool, err error)
	// Routes are those of the main table: with our protocol number, and with any other.
	Routes() (ours, others []Route, err error)
	// SetRoute adds a route, or changes ours to the same destination. ErrForeign: somebody else has one there.
	SetRoute(r Route, change bool) error
	DeleteRoute(r Route) error // gone already is no error
	// Set makes a value below /proc/sys/net hold; changed is false where it did.
	Set(path, value string) (changed bool, err error)
	// ForgetConnections deletes the tracked connections from or to any of the addresses.
	ForgetConnections(addrs map[netip.Addr]struct{}) error
	// CutConnections deletes the tracked connections that are denied; those that a helper has related to another stay with it.
	CutConnections(denied func(Connection) bool) (cut int, err error)
	Close() error
}

// Errors that a Result may hold.
var (
	ErrNoDevice = errors.New("the interface does not exist")
	ErrDown     = errors.New("the interface is down")
	ErrForeign  = errors.New("a route that is not felid's is in the way")
)

// Network is what routes and settings should be, and what they are known to be. Its methods may be called from any goroutine.
type Network struct {
	kernel Kernel

	mu         sync.Mutex
	foreign    map[netip.Prefix]struct{} // routes of others that lead where ours would
	routes     *delta.Map[netip.Prefix, Route]
	devices    map[string]Device
	unset      map[string]struct{} // devices whose settings are not known to be right
	forwarding Forwarding
	forwards   bool // forwarding is known to be right
	known      bool // actual routes are known, as far as nobody else writes
	read       bool // they were once
	repairs    int

	changed chan struct{}
}

// Result of an Apply: what does not hold.
type Result struct {
	Routes  map[netip.Prefix]error
	Devices map[string]error
	Host    error // forwarding
	Writes  int
	Repairs int // routes that others had removed or changed
}

// New is a Network that desires nothing: the first Apply would remove all routes of ours.
func New(k Kernel) *Network {
	return &Network{kernel: k, routes: delta.New[netip.Prefix, Route](), devices: map[string]Device{}, unset: map[string]struct{}{},
		foreign: map[netip.Prefix]struct{}{}, changed: make(chan struct{}, 1)}
}

// Changed receives when an interface of ours has come, gone, or changed, or a route of ours was taken away: Apply is wanted.
func (n *Network) Changed() <-chan struct{} { return n.changed }

// SetRoute says that the route should be there, and no other of ours to its destination.
func (n *Network) SetRoute(r Route) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.routes.SetDesired(r.Dst, r)
}

// RemoveRoute says that no route of ours should lead there.
func (n *Network) RemoveRoute(dst netip.Prefix) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.routes.RemoveDesired(dst)
}

// SetDevice says how an interface should be treated.
func (n *Network) SetDevice(name string, d Device) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, ok := n.devices[name]; !ok || old != d {
		n.devices[name] = d
		n.unset[name] = struct{}{}
	}
}

// RemoveDevice forgets an interface; what was set stays.
func (n *Network) RemoveDevice(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.devices, name)
	delete(n.unset, name)
}

// SetForwarding says what the host forwards.
func (n *Network) SetForwarding(f Forwarding) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.forwarding != f {
		n.forwarding, n.forwards = f, false
	}
}

// Forget makes the next Apply read and compare everything.
func (n *Network) Forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget()
}

func (n *Network) forget() {
	n.known, n.forwards = false, false
	for name := range n.devices {
		n.unset[name] = struct{}{}
	}
}

// Apply makes the difference. What fails is tried again by the next Apply. An error says that nothing is known of the kernel's routes.
func (n *Network) Apply(ctx context.Context) (Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	res := Result{Routes: map[netip.Prefix]error{}, Devices: map[string]error{}}
	if !n.forwards {
		res.Host = n.set(&res, n.forwarding.settings())
		n.forwards = res.Host == nil
	}
	if !n.known {
		if err := n.readRoutes(); err != nil {
			return res, err
		}
	}
	kept := map[netip.Prefix]error{}
	for _, r := range maps.Collect(n.routes.Removals()) {
		if err := n.kernel.DeleteRoute(r); err != nil {
			kept[r.Dst] = fmt.Errorf("delete route %s: %w", r, err)
			continue
		}
		if _, foreign := n.foreign[r.Dst]; !foreign {
			res.Writes++
		}
		n.routes.RemoveActual(r.Dst)
	}
	for name := range n.unset {
		if err := n.device(name, &res); err != nil {
			res.Devices[name] = err
		}
	}
	if n.updates(&res) { // somebody else has made routes meanwhile: perhaps the same
		if err := n.readRoutes(); err != nil {
			return res, err
		}
		n.updates(&res)
	}
	maps.Copy(res.Routes, kept)
	res.Repairs, n.repairs = n.repairs, 0
	return res, ctx.Err()
}

// updates makes and changes routes, and tells whether others' were in the way.
func (n *Network) updates(res *Result) (foreign bool) {
	clear(res.Routes)
	for dst, r := range maps.Collect(n.routes.Updates()) {
		if err := n.route(r, res); err != nil {
			res.Routes[dst] = err
			foreign = foreign || errors.Is(err, ErrForeign)
		}
	}
	return foreign
}

// readRoutes takes in what is there. A route of somebody else that leads where ours would is as good.
func (n *Network) readRoutes() error {
	ours, others, err := n.kernel.Routes()
	if err != nil {
		return fmt.Errorf("read routes: %w", err)
	}
	actual := make(map[netip.Prefix]Route, len(ours))
	clear(n.foreign)
	for _, r := range others {
		if want, ok := n.routes.Desired(r.Dst); ok && want == r {
			actual[r.Dst] = r
			n.foreign[r.Dst] = struct{}{}
		}
	}
	for _, r := range ours {
		actual[r.Dst] = r
		delete(n.foreign, r.Dst)
	}
	if n.read {
		for dst, was := range n.routes.AllActual() {
			if actual[dst] != was {
				n.repairs++
			}
		}
	}
	n.routes.ReplaceActual(maps.All(actual))
	n.known, n.read = true, true
	return nil
}

func (n *Network) device(name string, res *Result) error {
	there, _, err := n.kernel.Link(name)
	if err == nil && !there {
		err = ErrNoDevice
	}
	if err == nil {
		err = n.set(res, n.devices[name].settings(name))
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	delete(n.unset, name)
	return nil
}

func (n *Network) set(res *Result, list []setting) error {
	for _, s := range list {
		changed, err := n.kernel.Set(s.path, s.value)
		if err != nil {
			return fmt.Errorf("set /proc/sys/net/%s to %s: %w", s.path, s.value, err)
		}
		if changed {
			res.Writes++
		}
	}
	return nil
}

func (n *Network) route(r Route, res *Result) error {
	if r.Device != "" {
		switch there, up, err := n.kernel.Link(r.Device); {
		case err != nil:
			return fmt.Errorf("route %s: %w", r, err)
		case !there:
			return fmt.Errorf("route %s: %w", r, ErrNoDevice)
		case !up:
			return fmt.Errorf("route %s: %w", r, ErrDown)
		}
	}
	_, change := n.routes.Actual(r.Dst)
	if _, foreign := n.foreign[r.Dst]; foreign {
		change = false
	}
	if err := n.kernel.SetRoute(r, change); err != nil {
		return fmt.Errorf("route %s: %w", r, err)
	}
	res.Writes++
	n.routes.SetActual(r.Dst, r)
	return nil
}

// ForgetConnections deletes the tracked connections from or to any of the addresses.
func (n *Network) ForgetConnections(addrs iter.Seq[netip.Addr]) error {
	set := map[netip.Addr]struct{}{}
	for a := range addrs {
		set[a] = struct{}{}
	}
	if len(set) == 0 {
		return nil
	}
	if err := n.kernel.ForgetConnections(set); err != nil {
		return fmt.Errorf("delete tracked connections of %d addresses: %w", len(set), err)
	}
	return nil
}

// CutConnections deletes the tracked connections that are denied, and tells how many there were.
func (n *Network) CutConnections(denied func(Connection) bool) (cut int, err error) {
	return n.kernel.CutConnections(denied)
}

// Drifted reads and compares everything, and tells whether an Apply is wanted.
func (n *Network) Drifted() (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.read {
		return true, nil
	}
	n.forget()
	if err := n.readRoutes(); err != nil {
		n.known = false
		return false, err
	}
	return n.routes.Pending() || n.repairs > 0, nil
}

// Stale tells whether an event has come that no Apply has looked into yet.
func (n *Network) Stale() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.known
}

// Event is what the kernel tells of: an interface that came, went or changed, or a route of ours that was taken away. The zero Event: some
// were lost.
type Event struct {
	Device string
	Gone   netip.Prefix
}

// Note takes in an event; events of no concern are left at that.
func (n *Network) Note(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch _, ours := n.devices[e.Device]; {
	case e.Device != "" && !ours:
		return
	case e.Device != "":
		n.unset[e.Device] = struct{}{} // it may be a new one of the same name
		n.known = false                // the kernel drops routes with the interface, and does not tell
	case e.Gone.IsValid():
		if _, wanted := n.routes.Desired(e.Gone); !wanted {
			return
		}
		n.known = false
	default:
		n.forget()
	}
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// Close closes the kernel's sockets; routes stay.
func (n *Network) Close() error { return n.kernel.Close() }
