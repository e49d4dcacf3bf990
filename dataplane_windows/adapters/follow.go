package adapters

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// How often the host is asked without a notice: seldom where it gives notices, for one that was lost, and often where it gives none.
const (
	askWithNotices = 30 * time.Second
	askWithout     = 5 * time.Second
)

// Host follows the addresses of the host.
type Host struct {
	list      func() ([]Adapter, error)
	addresses atomic.Pointer[[]netip.Addr]
	changed   chan struct{}
	stop      func()
	done      chan struct{} // closed by Close
	ended     chan struct{}
	log       *slog.Logger
	lastErr   string
}

// Follow asks the host for its addresses, and follows them until Close. errors.ErrUnsupported on other systems than Windows.
func Follow(log *slog.Logger) (*Host, error) {
	notices := make(chan struct{}, 1)
	stop, err := notify(notices)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	every := askWithNotices
	if err != nil {
		log.Warn("the host tells of no changes of its addresses; asking often", "every", askWithout, "error", err)
		every, stop = askWithout, func() {}
	}
	h, err := follow(List, notices, every, log)
	if err != nil {
		stop()
		return nil, err
	}
	h.stop = stop
	return h, nil
}

// follow asks list first, and then at each notice, and every so often.
func follow(list func() ([]Adapter, error), notices <-chan struct{}, every time.Duration, log *slog.Logger) (*Host, error) {
	all, err := list()
	if err != nil {
		return nil, err
	}
	h := &Host{list: list, changed: make(chan struct{}, 1), stop: func() {}, done: make(chan struct{}), ended: make(chan struct{}), log: log}
	now := HostAddresses(all)
	h.addresses.Store(&now)
	log.Info("addresses of this host", "addresses", now)
	go h.run(notices, every)
	return h, nil
}

// Addresses are those of the host by now: sorted, not to be changed.
func (h *Host) Addresses() []netip.Addr { return *h.addresses.Load() }

// Changed receives when they have moved.
func (h *Host) Changed() <-chan struct{} { return h.changed }

// Close ends the following; the addresses stay as they were. It is called once.
func (h *Host) Close() error {
	h.stop()
	close(h.done)
	<-h.ended
	return nil
}

func (h *Host) run(notices <-chan struct{}, every time.Duration) {
	defer close(h.ended)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-h.done:
			return
		case <-notices:
		case <-tick.C:
		}
		h.look()
	}
}

// look asks the host. Where it does not answer, what it said last stands, and that is logged once.
func (h *Host) look() {
	all, err := h.list()
	if err != nil {
		if err.Error() != h.lastErr {
			h.lastErr = err.Error()
			h.log.Error("can't ask this host for its addresses; the last known stand", "addresses", h.Addresses(), "error", err)
		}
		return
	}
	h.lastErr = ""
	now := HostAddresses(all)
	if slices.Equal(now, h.Addresses()) {
		return
	}
	h.log.Info("addresses of this host have changed", "before", h.Addresses(), "now", now)
	h.addresses.Store(&now)
	select {
	case h.changed <- struct{}{}:
	default: // it has been told
	}
}
