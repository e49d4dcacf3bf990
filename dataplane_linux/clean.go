package linux

import (
	"context"
	"errors"
	"fmt"
)

// Clean takes everything of felid's off the host: rules, then routes, then sets. It is for a host that no agent runs on any more, and in place of the
// first Apply: a driver that is told nothing wants nothing. Settings of interfaces and of forwarding stay as they are, and so do pods' interfaces.
func (d *Dataplane) Clean(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.applied {
		panic("linux: Clean after an Apply")
	}
	var errs []error
	for _, t := range d.tables {
		out, err := t.Apply(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t, err))
		}
		for name, err := range out.Failed {
			errs = append(errs, fmt.Errorf("%s: %s: %w", t, name, err))
		}
	}
	out, err := d.net.Apply(ctx)
	errs = append(errs, err)
	for _, err := range out.Routes {
		errs = append(errs, err)
	}
	if err := d.cleanSets(ctx); err != nil {
		errs = append(errs, fmt.Errorf("ip sets: %w", err))
	}
	return errors.Join(errs...)
}

// cleanSets destroys the sets, as many at a time as one call does.
func (d *Dataplane) cleanSets(ctx context.Context) error {
	for {
		out, err := d.sets.ApplyRemoves(ctx)
		if err != nil {
			return err
		}
		var errs []error
		for name, err := range out.Failed {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		if len(errs) > 0 || out.Unused == 0 {
			return errors.Join(errs...)
		}
	}
}
