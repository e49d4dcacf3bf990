//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/internal/lab"
	"github.com/felid-net/felid/test/bench/workload"
)

// anchorAddr is in the set that label changes move, and in no other.
const anchorAddr = "10.90.0.1"

// incAnchor is a policy whose ingress source is a set of its own, with one member by which the set is found.
func incAnchor() []v3.Object {
	gnp := &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "inc-anchor"}}
	gnp.Spec.Selector = "pod == 'l-0'"
	gnp.Spec.Types = []v3.PolicyType{v3.PolicyTypeIngress}
	gnp.Spec.Ingress = []v3.Rule{{Action: v3.Allow, Source: v3.EntityRule{Selector: "incflag == 'on'"}}}
	set := &v3.GlobalNetworkSet{ObjectMeta: metav1.ObjectMeta{Name: "inc-anchor", Labels: map[string]string{"incflag": "on"}}}
	set.Spec.Nets = []string{anchorAddr + "/32"}
	return []v3.Object{gnp, set}
}

// labels measures from just before the put of a remote endpoint's label to its address being in the kernel's set, or out of it.
func (b *bench) labels(w *world, p *process) error {
	store, err := w.store.open()
	if err != nil {
		return err
	}
	defer store.Close()
	before, err := p.usage()
	if err != nil {
		return err
	}
	isolated, err := labelRun(store, 60, 400*time.Millisecond)
	if err != nil {
		return err
	}
	rapid, err := labelRun(store, 100, 20*time.Millisecond)
	if err != nil {
		return err
	}
	after, err := p.usage()
	if err != nil {
		return err
	}
	b.figure("W2 label to ip set, isolated: p50", "ms", milliseconds(percentile(isolated.on, 50)), b.barsOf("legacy", 5.4, 3))
	b.figure("W2 label to ip set, isolated: p99", "ms", milliseconds(percentile(isolated.on, 99)), b.barsOf("legacy", 8.5, 8))
	b.figure("W2 label to ip set, back to back: p50", "ms", milliseconds(percentile(rapid.on, 50)), b.barsOf("legacy", 56, 5))
	b.figure("W2 label to ip set, back to back: p99", "ms", milliseconds(percentile(rapid.on, 99)), b.barsOf("legacy", 122, 15))
	b.figure("W2 label changes: memory faults of programs", "", float64(after.kidFaults-before.kidFaults), b.barsOf("legacy", 0, 0))
	b.note("0 faults: not one program was started. Removed: isolated p50 %.2f p99 %.2f ms, back to back p50 %.2f p99 %.2f ms",
		milliseconds(percentile(isolated.off, 50)), milliseconds(percentile(isolated.off, 99)),
		milliseconds(percentile(rapid.off, 50)), milliseconds(percentile(rapid.off, 99)))
	b.note("the put alone: p50 %.2f p99 %.2f ms; the agent's CPU a change: %.2f ms; load %s",
		milliseconds(percentile(append(isolated.put, rapid.put...), 50)), milliseconds(percentile(append(isolated.put, rapid.put...), 99)),
		milliseconds(after.cpu-before.cpu)/float64(len(isolated.put)+len(rapid.put)), load())
	return nil
}

// labelTimes are those of changes that added and removed a member, and of the puts alone.
type labelTimes struct{ on, off, put []time.Duration }

// labelRun gives n remote endpoints the label, and takes it off again, with a pause after each.
func labelRun(store datastore.Store, n int, pause time.Duration) (times labelTimes, err error) {
	err = lab.Within(nodeSpace, func() error {
		set, err := anchorSet()
		if err != nil {
			return err
		}
		for t := range 2 * n {
			on := t < n
			took, put, err := toggle(store, set, 37*(t%n), on)
			if err != nil {
				return fmt.Errorf("change %d: %w", t, err)
			}
			times.put = append(times.put, put)
			if on {
				times.on = append(times.on, took)
			} else {
				times.off = append(times.off, took)
			}
			time.Sleep(pause)
		}
		return nil
	})
	return times, err
}

// anchorSet finds the kernel set of the anchor.
func anchorSet() (string, error) {
	sets, err := netlink.IpsetListAll()
	if err != nil {
		return "", err
	}
	for _, s := range sets {
		for _, e := range s.Entries {
			if e.IP.Equal(net.ParseIP(anchorAddr)) && strings.HasPrefix(s.SetName, "felid4-") {
				return s.SetName, nil
			}
		}
	}
	return "", fmt.Errorf("no set with %s among %d", anchorAddr, len(sets))
}

// toggle puts remote endpoint j with or without the label, and waits for the kernel.
func toggle(store datastore.Store, set string, j int, on bool) (took, put time.Duration, err error) {
	ctx := context.Background()
	wep, err := remote(ctx, store, j)
	if err != nil {
		return 0, 0, err
	}
	delete(wep.Labels, "incflag")
	if on {
		wep.Labels["incflag"] = "on"
	}
	addr := net.ParseIP(strings.TrimSuffix(wep.Spec.IPNetworks[0], "/32"))
	start := time.Now()
	if _, err := store.Update(ctx, wep); err != nil {
		return 0, 0, err
	}
	put = time.Since(start)
	for time.Since(start) < 5*time.Second {
		there, err := netlink.IpsetTest(set, &netlink.IPSetEntry{IP: addr, CIDR: 32})
		if err != nil {
			return 0, 0, err
		}
		if there == on {
			return time.Since(start), put, nil
		}
		time.Sleep(200 * time.Microsecond)
	}
	return 0, 0, errors.New("the kernel's set did not follow within 5 s")
}

// remote reads remote endpoint j.
func remote(ctx context.Context, store datastore.Store, j int) (*v3.WorkloadEndpoint, error) {
	o, err := store.Get(ctx, v3.KeyOf(workload.SizeW2.RemoteEndpoint(j)))
	if err != nil {
		return nil, err
	}
	return o.(*v3.WorkloadEndpoint).DeepCopy(), nil
}
