package linux

import (
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_linux/netlink"
)

// CutConnections reads the host's tracked connections once, and deletes those that are denied: their next packet is a new connection's, and
// judged by the rules in force. A connection that a helper has related to another (of FTP, for one) is let in by that one, and stays with it.
func (d *Dataplane) CutConnections(denied func(dataplane.Connection) bool) (cut int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.net.CutConnections(func(c netlink.Connection) bool { return denied(dataplane.Connection(c)) })
}
