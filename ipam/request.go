package ipam

import (
	"errors"
	"log/slog"
	"time"
)

// The errors of Assign that a caller may tell apart.
var (
	// ErrNoPool: no pool may be used for the request.
	ErrNoPool = errors.New("no IP pool may be used")
	// ErrExhausted: the pools that may be used have no free address that this node may take.
	ErrExhausted = errors.New("no free address")
)

// Request asks for one address of each family wanted.
type Request struct {
	// Handle names the owner: "felid.NETWORK.CONTAINERID.INTERFACE" (see Handle). The same handle gets the same addresses.
	Handle string
	// Attrs are kept beside the address in the block; see the Attr constants. Node and timestamp are added.
	Attrs map[string]string
	// Namespace of the pod, for pools' namespace selectors; "" without a pod.
	Namespace string
	// IPv4 and IPv6 say which families are wanted.
	IPv4, IPv6 bool
	// Pools limits the choice to these pools, by name or CIDR. Pools asked for by name may be Manual and are not held to their node
	// selector, but must be enabled and admit the namespace. Empty: every automatic pool whose selectors match. A family without a
	// pool among them is an error.
	Pools []string
}

// The secondary attributes of an allocation.
const (
	AttrPod       = "pod"
	AttrNamespace = "namespace"
	AttrNode      = "node"
	AttrType      = "type"
	AttrContainer = "container"
	AttrInterface = "interface"
	AttrNetwork   = "network"
	AttrTimestamp = "timestamp"
)

// Handle is the handle of one interface of a sandbox.
func Handle(network, containerID, iface string) string {
	return "felid." + network + "." + containerID + "." + iface
}

// Options of an Allocator; the zero value is of use.
type Options struct {
	// NodeSelected says whether a pool's node selector matches this node. Nil: only the empty selector and "all()" do.
	NodeSelected func(selector string) bool
	// NamespaceSelected says whether a pool's namespace selector matches a namespace ("" is none). Nil: only the empty selector and
	// "all()" do.
	NamespaceSelected func(selector, namespace string) bool
	// Handover: this node writes nothing but its own blocks. It takes no single addresses of other nodes' blocks, nor releases any there, and asks the
	// controller for a whole empty block where the pools have none left. For datastores that hold a node to that, and that have a controller.
	Handover bool
	// Now is the clock for timestamps; nil: time.Now.
	Now func() time.Time
	// Log gets repairs and lost races; nil: nothing is logged.
	Log *slog.Logger
}
