//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane_linux/iptables"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/internal/lab"
	"github.com/felid-net/felid/test/bench/workload"
)

// eventLink is the interface of the endpoint that comes and goes; it stays.
const eventLink = "calinew00000"

// events measures from just before the put of one object to the last change of the tables: a policy of six rules for 100 local endpoints, and a
// local endpoint more. Its going is not measured.
func (b *bench) events(w *world, p *process) error {
	store, err := w.store.open()
	if err != nil {
		return err
	}
	defer store.Close()
	if _, err := store.List(context.Background(), v3.KindTier, ""); err != nil { // reads the folder: not part of the first event
		return err
	}
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: eventLink, Flags: net.FlagUp}, PeerName: "pnew"}
	if err := lab.Within(nodeSpace, func() error { return netlink.LinkAdd(link) }); err != nil {
		return err
	}
	endpoint := workload.SizeW2.LocalEndpoint(0)
	endpoint.Name, endpoint.Spec.Pod, endpoint.Spec.InterfaceName = "l-new", "l-new", eventLink
	endpoint.Spec.IPNetworks = []string{"10.91.0.1/32"}
	delete(endpoint.Labels, "inc100")
	for _, event := range []struct {
		what     string
		object   v3.Object
		p50, p99 bar
	}{
		{"W2 policy for 100 endpoints to kernel", workload.GlobalPolicy(100_000, "inc100 == 'y'"), b.barsOf("nft", 650, 60), b.barsOf("nft", 961, 120)},
		{"W2 new endpoint to kernel", endpoint, b.barsOf("nft", 248, 30), b.barsOf("nft", 423, 60)},
	} {
		before, err := p.usage()
		if err != nil {
			return err
		}
		times, err := b.eventRun(store, p, event.object, 50)
		if err != nil {
			return fmt.Errorf("%s: %w", event.what, err)
		}
		after, err := p.usage()
		if err != nil {
			return err
		}
		b.figure(event.what+": p50", "ms", milliseconds(percentile(times, 50)), event.p50)
		b.figure(event.what+": p99", "ms", milliseconds(percentile(times, 99)), event.p99)
		b.note("%d times; CPU of its coming and going: %.0f ms; load %s", len(times), milliseconds(after.cpu-before.cpu)/float64(len(times)), load())
	}
	return nil
}

// eventRun puts and deletes an object n times, each when the agent has taken in the last and the tables are at rest.
func (b *bench) eventRun(store datastore.Store, p *process, o v3.Object, n int) (times []time.Duration, err error) {
	without, err := p.objects()
	if err != nil {
		return nil, err
	}
	err = lab.Within(nodeSpace, func() error {
		for i := range n {
			var there v3.Object
			took, err := b.tablesAfter(func() (err error) { there, err = store.Create(context.Background(), o); return err })
			if err == nil {
				err = p.waitObjects(without + 1)
			}
			if err != nil {
				return fmt.Errorf("coming %d: %w", i, err)
			}
			times = append(times, took)
			_, err = b.tablesAfter(func() error { return store.Delete(context.Background(), v3.KeyOf(there), "") })
			if err = errors.Join(err, p.waitObjects(without)); err != nil {
				return fmt.Errorf("going %d: %w", i, err)
			}
		}
		return nil
	})
	return times, err
}

// objects is how many endpoints, policies and profiles the agent says that it enforces.
func (p *process) objects() (int, error) {
	m, err := p.metrics()
	return int(m["felid_endpoints"] + m["felid_policies"]), err
}

func (p *process) waitObjects(want int) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		n, err := p.objects()
		if err != nil || n == want {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the agent enforces %d objects, want %d", n, want)
		}
	}
}

// tablesAfter runs f, and tells how long after its beginning the filter table was changed last, when it has been at rest for restFor.
func (b *bench) tablesAfter(f func() error) (time.Duration, error) {
	const restFor = 400 * time.Millisecond
	sign := func() (uint64, error) {
		return iptables.KernelSign(iptables.Variant(b.backend), iptables.IPv4, "filter")
	}
	last, err := sign()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := f(); err != nil {
		return 0, err
	}
	var changed time.Duration
	for {
		now, err := sign()
		since := time.Since(start)
		switch {
		case err != nil:
			return 0, err
		case now != last:
			last, changed = now, since
		case changed > 0 && since-changed > restFor:
			return changed, nil
		case since > 10*time.Second:
			return 0, errors.New("the table did not follow within 10 s")
		}
		time.Sleep(500 * time.Microsecond)
	}
}
