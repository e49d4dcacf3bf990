package windows

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// HostAddresses are the addresses of the host itself, as they come and go.
type HostAddresses interface {
	// Addresses are sorted, and not to be changed.
	Addresses() []netip.Addr
	// Changed receives when they have moved.
	Changed() <-chan struct{}
}

// Config of a Driver. HNS must be set; what else is zero has a default.
type Config struct {
	HNS  *hns.Client
	Host HostAddresses // nil: the host has those that the State's Node has
	// Form is how lists are written, and Reason why it was chosen: what a probe found, for one.
	Form   Form
	Reason string
	// FullCheck is how often CheckDrift reads everything back; 0: 5 minutes.
	FullCheck time.Duration
	// Patience is how long Apply waits while no call returns; 0: 5 seconds. Calls of HNS can't be ended.
	Patience time.Duration
	// Coalesce is how long a change that only allows more may wait for others to the same object; 0: a second, negative: not at all.
	Coalesce time.Duration
	Log      *slog.Logger // nil: none
}

// longest is how many times Config.Patience an Apply may take, if calls return one by one.
const longest = 6

// Driver makes the host enforce. Apply and CheckDrift may be called from two goroutines.
type Driver struct {
	cfg   Config
	log   *slog.Logger
	drift chan struct{}
	done  chan struct{}
	turn  sync.Mutex // held by an Apply

	mu        sync.Mutex // guards what follows, and is not held while HNS is waited for
	closed    bool
	wakeAt    time.Time // when an Apply will be asked for
	timer     *time.Timer
	whole     bool // the last Apply did not end well: the next compares everything
	applied   bool // there has been an Apply that did
	down      error
	lastFull  time.Time
	stats     dataplane.Stats
	seen      sightings
	wanted    wanted
	endpoints map[dataplane.EndpointID]*endpoint
	ports     map[string]*port    // by ID
	networks  map[string]*network // by ID
	pending   map[*port]struct{}  // those whose list may not be the one in force
	service   object              // the version call
	turnOf    int                 // which port CheckDrift looks at
	verified  int                 // see port.level
	nameless  bool                // HNS gives no Ids back
	covers    coverings           // found in this Apply
	mistrust  error               // HNS does not hold what was written
}

var _ dataplane.Dataplane = (*Driver)(nil)

// New makes a Driver. No call is made before the first Apply.
func New(cfg Config) (*Driver, error) {
	if cfg.HNS == nil {
		return nil, errors.New("windows: no HNS to work with")
	}
	cfg.defaults()
	d := &Driver{
		cfg: cfg, log: cfg.Log, drift: make(chan struct{}, 1), done: make(chan struct{}), whole: true,
		seen: newSightings(), service: object{name: "the service"}, wanted: newWanted(), endpoints: map[dataplane.EndpointID]*endpoint{},
		ports: map[string]*port{}, networks: map[string]*network{}, pending: map[*port]struct{}{}, covers: coverings{},
	}
	if cfg.Host != nil {
		go d.follow(cfg.Host.Changed())
	}
	return d, nil
}

func (c *Config) defaults() {
	if c.FullCheck == 0 {
		c.FullCheck = 5 * time.Minute
	}
	if c.Patience == 0 {
		c.Patience = 5 * time.Second
	}
	if c.Coalesce == 0 {
		c.Coalesce = time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// follow asks for an Apply whenever the host's addresses have moved.
func (d *Driver) follow(changed <-chan struct{}) {
	for {
		select {
		case <-changed:
			d.pulse()
		case <-d.done:
			return
		}
	}
}

// Backend is the form of lists in use, and why.
func (d *Driver) Backend() (name, reason string) {
	return "hns: " + d.cfg.Form.String(), d.cfg.Reason
}

// Drift receives when an Apply is wanted: the host's addresses have moved, HNS has answered late, something is to be tried again, or what waited for
// other changes has waited long enough.
func (d *Driver) Drift() <-chan struct{} { return d.drift }

// Close leaves all lists in force.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	close(d.done)
	if d.timer != nil {
		d.timer.Stop()
	}
	return nil
}

// hostAddresses are those of the host now.
func (d *Driver) hostAddresses() []netip.Addr {
	if d.cfg.Host == nil {
		return nil
	}
	return slices.Clone(d.cfg.Host.Addresses())
}

// unavailable is the error of an Apply that found no HNS.
func unavailable(err error) error {
	return fmt.Errorf("the Host Networking Service does not answer: lists stay as they are: %w", err)
}
