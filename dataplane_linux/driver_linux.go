package linux

import (
	"errors"
	"io/fs"
	"os"

	"github.com/felid-net/felid/dataplane_linux/ipset"
	"github.com/felid-net/felid/dataplane_linux/netlink"
)

// New opens the driver in the calling thread's network namespace. Apply and CheckDrift must be called from threads in that namespace, because
// the iptables programs and /proc/sys/net go by the caller's.
func New(cfg Config) (*Dataplane, error) {
	sets, err := ipset.Dial()
	if err != nil {
		return nil, err
	}
	network, err := netlink.Dial()
	if err != nil {
		return nil, errors.Join(err, sets.Close())
	}
	_, noIPv6 := os.Stat("/proc/thread-self/net/if_inet6")
	d, err := assemble(cfg, parts{sets: sets, network: network, watch: netlink.Watch, owners: netlink.Owners, noIPv6: errors.Is(noIPv6, fs.ErrNotExist)})
	if err != nil {
		return nil, errors.Join(err, sets.Close(), network.Close())
	}
	return d, nil
}
