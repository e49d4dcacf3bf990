package netlink

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Twin is a Kernel in memory, with the semantics of the real one: one route to a destination, none over an interface that is not
// there. Its zero value has no interfaces.
type Twin struct {
	// Up are the interfaces; false is one that is down.
	Up     map[string]bool
	routes map[netip.Prefix]Route
	// Others are the routes of somebody else.
	Others   map[netip.Prefix]Route
	settings map[string]string
	// Forgotten are the addresses whose tracked connections were deleted.
	Forgotten []netip.Addr
	// Connections are those that are tracked.
	Connections []Connection
	// Refuse, where set, refuses routes.
	Refuse func(Route) error
	// Stuck, where set, is what ForgetConnections returns.
	Stuck error
}

// Link implements Kernel.
func (w *Twin) Link(name string) (there, up bool, err error) {
	up, there = w.Up[name]
	return there, up, nil
}

// Routes implements Kernel.
func (w *Twin) Routes() (ours, others []Route, err error) {
	return slices.Collect(maps.Values(w.routes)), slices.Collect(maps.Values(w.Others)), nil
}

// SetRoute implements Kernel.
func (w *Twin) SetRoute(r Route, change bool) error {
	if w.Refuse != nil {
		if err := w.Refuse(r); err != nil {
			return err
		}
	}
	_, other := w.Others[r.Dst]
	_, there := w.routes[r.Dst]
	switch up, known := w.Up[r.Device]; {
	case r.Device != "" && !known:
		return ErrNoDevice
	case r.Device != "" && !up:
		return ErrDown
	case other || there && !change:
		return ErrForeign
	}
	if w.routes == nil {
		w.routes = map[netip.Prefix]Route{}
	}
	w.routes[r.Dst] = r
	return nil
}

// DeleteRoute implements Kernel.
func (w *Twin) DeleteRoute(r Route) error {
	delete(w.routes, r.Dst)
	return nil
}

// Set implements Kernel.
func (w *Twin) Set(path, value string) (bool, error) {
	if w.settings == nil {
		w.settings = map[string]string{}
	}
	if w.settings[path] == value {
		return false, nil
	}
	w.settings[path] = value
	return true, nil
}

// ForgetConnections implements Kernel.
func (w *Twin) ForgetConnections(addrs map[netip.Addr]struct{}) error {
	if w.Stuck != nil {
		return w.Stuck
	}
	w.Forgotten = append(w.Forgotten, slices.SortedFunc(maps.Keys(addrs), netip.Addr.Compare)...)
	return nil
}

// CutConnections implements Kernel.
func (w *Twin) CutConnections(denied func(Connection) bool) (cut int, err error) {
	before := len(w.Connections)
	w.Connections = slices.DeleteFunc(w.Connections, denied)
	return before - len(w.Connections), nil
}

// Close implements Kernel.
func (w *Twin) Close() error { return nil }

// String is the routes and settings, sorted, for tests.
func (w *Twin) String() string {
	var lines []string
	for _, r := range w.routes {
		lines = append(lines, r.String())
	}
	for path, value := range w.settings {
		lines = append(lines, path+" = "+value)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
