package windows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Clean takes our ACLs and sets off the host, for good: what others have put on endpoints stays, but for what made no room for ours then. What
// can't be taken off is named, and the rest goes on.
func (d *Driver) Clean(ctx context.Context) error {
	endpoints, err := d.cfg.HNS.Endpoints()
	if err != nil {
		return err
	}
	var errs []error
	for i := range endpoints {
		if err := d.cleanEndpoint(ctx, &endpoints[i]); err != nil {
			errs = append(errs, fmt.Errorf("endpoint %s: %w", endpoints[i].ID, err))
		}
	}
	networks, err := d.cfg.HNS.Networks()
	errs = append(errs, err)
	for _, n := range networks {
		var own []hns.Set
		for _, set := range n.Sets {
			if _, ours := OwnSet(set.ID); ours {
				own = append(own, set)
			}
		}
		if err := d.cfg.HNS.RemoveSets(n.ID, own); err != nil {
			errs = append(errs, fmt.Errorf("sets of network %s: %w", n.Name, err))
		}
	}
	return errors.Join(errs...)
}

// cleanEndpoint leaves others' ACLs. HNS takes no empty list, and has been seen not to remove what it was told to: it is read again.
func (d *Driver) cleanEndpoint(ctx context.Context, e *hns.Endpoint) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var own, foreign []json.RawMessage
	for i, a := range e.ACLs {
		if Own(a) {
			own = append(own, e.Raw[i])
		} else {
			foreign = append(foreign, e.Raw[i])
		}
	}
	var err error
	switch {
	case len(own) == 0:
		return nil
	case len(foreign) == 0:
		err = d.cfg.HNS.RemoveACLs(e.ID, own)
	default:
		err = d.cfg.HNS.PutACLs(e.ID, foreign)
	}
	if err != nil {
		return err
	}
	now, err := d.cfg.HNS.Endpoint(e.ID)
	if hns.NotFound(err) {
		return nil
	}
	for _, a := range now.ACLs {
		if Own(a) {
			return fmt.Errorf("%s is still there: make the pod anew, with which it goes", a.ID)
		}
	}
	return err
}
