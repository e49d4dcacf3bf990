package linux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_linux/ipset"
	"github.com/felid-net/felid/dataplane_linux/iptables"
	"github.com/felid-net/felid/dataplane_linux/netlink"
)

// Config of a Dataplane. Its zero value works.
type Config struct {
	// Backend is "nft", "legacy", or "auto" (also ""): the one in which rules of ours stand, else the one that the host's other rules use,
	// else nft. It is chosen once, when the driver is opened.
	Backend  string
	MarkMask uint32 // as RenderConfig
	LogGroup uint16 // as RenderConfig
	// LogRate, LogBurst, LogVerdicts and CutDenied as RenderConfig.
	LogRate     string
	LogBurst    int
	LogVerdicts bool
	DenyGroup   uint16 // as RenderConfig
	CutDenied   bool
	// LockFile is the xtables lock; "": the system's. Agents in several namespaces of one machine need one each.
	LockFile string
	// FullCheck is how often CheckDrift reads everything back; 0: 5 minutes.
	FullCheck time.Duration
	Log       *slog.Logger // nil: none
}

// Dataplane enforces and routes on the host, in the network namespace in which it was opened. Apply and CheckDrift may be called from two
// goroutines.
type Dataplane struct {
	cfg     Config
	log     *slog.Logger
	variant iptables.Variant
	reason  string

	mu     sync.Mutex
	tables []*iptables.Table
	driver *iptables.Driver
	sets   *ipset.Sets
	net    *netlink.Network
	kernel ipset.Kernel  // of sets
	done   chan struct{} // ends the watch

	record   *record
	denials  denyNames
	local    *local
	devices  devices
	forget   map[netip.Addr]dataplane.EndpointID // addresses whose tracked connections are still to be deleted, and whose they were
	whole    bool                                // the last Apply did not end well: the next compares everything
	applied  bool                                // there has been an Apply that did
	lastFull time.Time
	stats    dataplane.Stats
}

var _ dataplane.Dataplane = (*Dataplane)(nil)

// parts are what a Dataplane works on: the kernel's, or twins.
type parts struct {
	iptables iptables.Config
	sets     ipset.Kernel
	network  netlink.Kernel
	watch    func(done <-chan struct{}, note func(netlink.Event)) error // nil: none
	owners   func(map[netip.Addr]struct{}) (map[netip.Addr]string, error)
	noIPv6   bool // the kernel has none: nothing to police
}

// assemble opens the driver over its parts; it reads the tables to choose the backend, and changes nothing.
func assemble(cfg Config, p parts) (*Dataplane, error) {
	if cfg.FullCheck == 0 {
		cfg.FullCheck = 5 * time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if _, err := newRenderer(cfg.render(), &dataplane.Host{InterfacePrefix: "fld"}); err != nil {
		return nil, err
	}
	d := &Dataplane{cfg: cfg, log: cfg.Log, done: make(chan struct{}), whole: true, local: newLocal(), forget: map[netip.Addr]dataplane.EndpointID{}}
	p.iptables.LockFile = cfg.LockFile
	if err := d.choose(p.iptables); err != nil {
		return nil, err
	}
	d.kernel = p.sets
	d.sets, d.net = ipset.New(ipset.Config{Kernel: p.sets}), netlink.New(p.network)
	if p.watch != nil {
		if err := p.watch(d.done, d.net.Note); err != nil {
			return nil, err
		}
	}
	tables := map[tableKey]chainSink{}
	for _, f := range Families {
		for _, name := range tableNames {
			if f == IPv6 && p.noIPv6 {
				tables[tableKey{f, name}] = noTable{}
				continue
			}
			t := d.driver.Table(iptables.Family(f), name)
			tables[tableKey{f, name}] = t
			d.tables = append(d.tables, t)
		}
	}
	d.record, d.devices.find = newRecord(tables, d.sets), p.owners
	d.log.Info("iptables backend chosen", "backend", string(d.variant), "reason", d.reason)
	return d, nil
}

// tableNames are the tables in which there may be something of ours, in the order in which they are written: what table filter lets pass by a mark
// is marked by then.
var tableNames = [...]string{"raw", "mangle", "filter", "nat"}

// noTable is told, and does nothing.
type noTable struct{}

func (noTable) SetChain(string, []string) {}
func (noTable) RemoveChain(string)        {}
func (noTable) SetHooks(string, []string) {}

// choose opens the iptables driver.
func (d *Dataplane) choose(cfg iptables.Config) (err error) {
	switch cfg.Variant = iptables.Variant(d.cfg.Backend); cfg.Variant {
	case iptables.NFT, iptables.Legacy:
		d.reason = "configured"
		if err := d.onlyHere(cfg); err != nil {
			return err
		}
		d.driver, err = iptables.Open(cfg)
	case "auto", "":
		d.driver, d.reason, err = iptables.OpenDetected(context.Background(), cfg)
	default:
		return fmt.Errorf("iptables backend %q: want auto, nft or legacy", d.cfg.Backend)
	}
	if err != nil {
		return fmt.Errorf("choose the iptables backend: %w", err)
	}
	d.variant = d.driver.Variant()
	return nil
}

// onlyHere refuses a configured backend while chains of ours stand in the other: packets would cross both, and nobody would keep the old
// ones up to date.
func (d *Dataplane) onlyHere(cfg iptables.Config) error {
	configured := cfg.Variant
	cfg.Variant = iptables.Legacy
	if configured == iptables.Legacy {
		cfg.Variant = iptables.NFT
	}
	other, err := iptables.Open(cfg)
	if err != nil {
		return err
	}
	for _, f := range Families {
		t := other.Table(iptables.Family(f), "filter")
		rb, err := t.ReadBack(context.Background())
		if err != nil { // most likely not installed
			d.log.Debug("the other iptables backend can't be read", "backend", string(cfg.Variant), "error", err)
			continue
		}
		if len(rb.Chains) > 0 {
			return fmt.Errorf("iptables backend %s is configured, but %d chains of felid stand in %s (%s): remove them, or configure %s or auto",
				configured, len(rb.Chains), cfg.Variant, t, cfg.Variant)
		}
	}
	return nil
}

func (c *Config) render() RenderConfig {
	return RenderConfig{MarkMask: c.MarkMask, LogGroup: c.LogGroup, LogRate: c.LogRate, LogBurst: c.LogBurst, LogVerdicts: c.LogVerdicts, DenyGroup: c.DenyGroup, CutDenied: c.CutDenied}
}

// Backend is the variant of iptables in use, and why.
func (d *Dataplane) Backend() (variant, reason string) { return string(d.variant), d.reason }

// Drift receives when the kernel tells that an interface of ours has come, gone or changed, or that a route of ours was taken away: an Apply
// with empty changes puts it right.
func (d *Dataplane) Drift() <-chan struct{} { return d.net.Changed() }

// Close leaves everything in force.
func (d *Dataplane) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.done:
		return nil // closed before
	default:
	}
	close(d.done)
	return errors.Join(d.kernel.Close(), d.net.Close())
}
