package netlink

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// receiveBuffer holds the events of some hundred pods that start at once.
const receiveBuffer = 1 << 20

// Watch passes events of the calling thread's namespace to note until done is closed. note is called from other goroutines.
func Watch(done <-chan struct{}, note func(Event)) error {
	ns, err := netns.Get()
	if err != nil {
		return fmt.Errorf("watch interfaces: %w", err)
	}
	links, err := subscribeLinks(ns, done)
	if err != nil {
		return err
	}
	routes, err := subscribeRoutes(ns, done)
	if err != nil {
		return err
	}
	go again(done, note, links, func() (<-chan netlink.LinkUpdate, error) { return subscribeLinks(ns, done) }, linkEvents())
	go again(done, note, routes, func() (<-chan netlink.RouteUpdate, error) { return subscribeRoutes(ns, done) }, routeEvent)
	go func() { <-done; ns.Close() }()
	return nil
}

// again reads a subscription, and where it breaks (more events than the buffer holds) opens another and tells that some were lost.
func again[U any](done <-chan struct{}, note func(Event), updates <-chan U, subscribe func() (<-chan U, error), event func(U) (Event, bool)) {
	for {
		for u := range updates {
			if e, ok := event(u); ok {
				note(e)
			}
		}
		select {
		case <-done:
			return
		default:
		}
		var err error
		if updates, err = subscribe(); err != nil {
			return // the full reads remain
		}
		note(Event{})
	}
}

func subscribeLinks(ns netns.NsHandle, done <-chan struct{}) (<-chan netlink.LinkUpdate, error) {
	ch := make(chan netlink.LinkUpdate, 64)
	err := netlink.LinkSubscribeWithOptions(ch, done, netlink.LinkSubscribeOptions{
		Namespace: &ns, ReceiveBufferSize: receiveBuffer, ReceiveBufferForceSize: true,
	})
	if err != nil {
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	return ch, nil
}

func subscribeRoutes(ns netns.NsHandle, done <-chan struct{}) (<-chan netlink.RouteUpdate, error) {
	ch := make(chan netlink.RouteUpdate, 64)
	err := netlink.RouteSubscribeWithOptions(ch, done, netlink.RouteSubscribeOptions{
		Namespace: &ns, ReceiveBufferSize: receiveBuffer, ReceiveBufferForceSize: true,
	})
	if err != nil {
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	return ch, nil
}

// linkEvents makes events of those updates by which an interface came, went, or changed between up and down; the kernel sends several more.
func linkEvents() func(netlink.LinkUpdate) (Event, bool) {
	type state struct {
		index int
		up    bool
	}
	seen := map[string]state{}
	return func(u netlink.LinkUpdate) (Event, bool) {
		a := u.Attrs()
		now := state{a.Index, a.RawFlags&unix.IFF_UP != 0}
		if u.Header.Type == unix.RTM_DELLINK {
			delete(seen, a.Name)
			return Event{Device: a.Name}, true
		}
		if seen[a.Name] == now {
			return Event{}, false
		}
		seen[a.Name] = now
		return Event{Device: a.Name}, true
	}
}

func routeEvent(u netlink.RouteUpdate) (Event, bool) {
	dst, ok := prefixOf(u.Dst)
	return Event{Gone: dst}, ok && u.Type == unix.RTM_DELROUTE && u.Protocol == Protocol
}
