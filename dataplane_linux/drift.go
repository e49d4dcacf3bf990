package linux

import (
	"context"
	"maps"
	"time"

	"github.com/felid-net/felid/dataplane_linux/iptables"
)

// CheckDrift tells whether others have changed what is ours, so that an Apply with empty changes is wanted. It is meant to be called every few
// seconds beside the loop that applies: it looks at cheap signs, and reads back only tables and sets whose signs have moved, or everything
// where the last time is longer ago than Config.FullCheck. What it reads while an Apply is writing is discarded.
func (d *Dataplane) CheckDrift(ctx context.Context) (needsApply bool, err error) {
	tables, sets, full, err := d.suspects(ctx)
	if err != nil {
		return false, err
	}
	for _, t := range tables {
		rb, err := t.ReadBack(ctx)
		if err != nil {
			return needsApply, err
		}
		d.mu.Lock()
		needsApply = t.Reconcile(rb) && t.Pending() || needsApply
		d.mu.Unlock()
	}
	if sets {
		rb, err := d.sets.ReadBack(ctx)
		if err != nil {
			return needsApply, err
		}
		d.mu.Lock()
		needsApply = d.sets.Reconcile(rb) && d.sets.Pending() || needsApply
		d.mu.Unlock()
	}
	readdressed, err := d.readdressed()
	if err != nil {
		return needsApply, err
	}
	if full {
		drifted, err := d.net.Drifted()
		if err != nil {
			return needsApply, err
		}
		needsApply = needsApply || drifted
	}
	if needsApply {
		d.log.Warn("rules, sets or routes of felid were changed by somebody else")
	}
	return needsApply || readdressed || d.net.Stale(), nil
}

// readdressed tells whether a host endpoint that goes by its addresses is now on another interface.
func (d *Dataplane) readdressed() (bool, error) {
	d.mu.Lock()
	known := d.devices
	d.mu.Unlock()
	names, err := known.look()
	return err == nil && !maps.Equal(names, known.names), err
}

// suspects are what to read back.
func (d *Dataplane) suspects(ctx context.Context) (tables []*iptables.Table, sets, full bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.applied {
		return nil, false, false, nil // the first Apply will read everything
	}
	if time.Since(d.lastFull) >= d.cfg.FullCheck {
		d.lastFull = time.Now()
		return d.tables, true, true, nil
	}
	if tables, err = d.driver.Drifted(); err != nil {
		return nil, false, false, err
	}
	sets, err = d.sets.Drifted(ctx)
	return tables, sets, false, err
}
