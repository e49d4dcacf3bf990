package linux

import (
	"context"
	"errors"
	"fmt"

	"github.com/felid-net/felid/dataplane"
	nflog "github.com/florianl/go-nflog/v2"
)

// WatchDenials calls each, from a goroutine of its own, with packets that policy denies from now on, until ctx ends; at most one a second for each rule
// and end of a tier, after a few at once. It must be called from a thread in the namespace in which the driver was opened. Config.DenyGroup
// says by which NFLOG group: nobody else may listen to that.
func (d *Dataplane) WatchDenials(ctx context.Context, each func(dataplane.Denial)) error {
	if d.cfg.DenyGroup == 0 {
		return errors.New("denials are not told: no NFLOG group is configured for them")
	}
	conn, err := nflog.Open(&nflog.Config{Group: d.cfg.DenyGroup, Copymode: nflog.CopyPacket, Bufsize: denialBytes, QThresh: 1})
	if err != nil {
		return fmt.Errorf("listen to NFLOG: %w", err)
	}
	hear := func(a nflog.Attribute) int {
		if a.Prefix == nil || a.Payload == nil {
			return 0
		}
		denial, err := d.denials.denial(*a.Prefix, *a.Payload)
		if err != nil { // somebody else's, or of a policy that went a full Apply ago
			d.log.Debug("a denial can't be read", "error", err)
			return 0
		}
		each(denial)
		return 0
	}
	failed := func(err error) int {
		if ctx.Err() != nil {
			return 1
		}
		d.log.Debug("some denials were not heard", "error", err) // more came than could be read: the next are
		return 0
	}
	if err := conn.RegisterWithErrorFunc(ctx, hear, failed); err != nil {
		return errors.Join(fmt.Errorf("listen to NFLOG group %d: %w", d.cfg.DenyGroup, err), conn.Close())
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // it only listened
	return nil
}
