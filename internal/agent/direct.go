package agent

import (
	"slices"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/policy/kube"
)

// directEndpoint is what the CNI server said of an endpoint, until the watch says as much: it is there (given), or it is gone.
type directEndpoint struct {
	containerID string
	given       *v3.WorkloadEndpoint // nil: gone
}

// addDirect takes an endpoint from the CNI server.
func (l *loop) addDirect(wep *v3.WorkloadEndpoint) {
	key := v3.KeyOf(wep)
	l.direct[key] = &directEndpoint{containerID: wep.Spec.ContainerID, given: wep}
	l.gated(key)
	l.resolver.Update(key, wep)
	l.touch(time.Now())
}

// removeDirect takes out an endpoint, if it is still that of the same container.
func (l *loop) removeDirect(wep *v3.WorkloadEndpoint, w *waiter) {
	key := v3.KeyOf(wep)
	d := l.direct[key]
	if d != nil && d.containerID != wep.Spec.ContainerID {
		delete(l.waiters, w)
		close(w.done)
		return
	}
	l.direct[key] = &directEndpoint{containerID: wep.Spec.ContainerID}
	l.gated(key)
	l.resolver.Update(key, nil)
	l.touch(time.Now())
}

// overlay says what counts of an endpoint that the watch shows, given what the CNI server said; counts is false where the watch
// is behind.
func (l *loop) overlay(key v3.Key, object v3.Object) (result v3.Object, counts bool) {
	d := l.direct[key]
	if d == nil {
		return object, true
	}
	wep, _ := object.(*v3.WorkloadEndpoint)
	switch {
	case wep == nil && d.given == nil: // gone, says the watch too
		delete(l.direct, key)
		return nil, true
	case wep == nil: // the record of the sandbox before this one went
		return nil, false
	case wep.Spec.ContainerID == "" && d.given != nil: // a Pod without a record yet: its labels are newer
		return kube.Merge(wep, d.given), true
	case wep.Spec.ContainerID == "": // a Pod whose sandbox went: it has no address that counts
		return nil, false
	case wep.Spec.ContainerID == d.containerID && d.given == nil: // the record has not gone yet
		return nil, false
	case wep.Spec.ContainerID != d.containerID && d.given != nil && wep.Spec.Node == string(l.o.Host.Node):
		return nil, false // an older sandbox of this node: a newer one would have been given
	}
	delete(l.direct, key) // the watch has caught up
	return wep, true
}

// keepRecord keeps the records of this node's sandboxes as the datastore has them, until the CNI server has learned from them what
// there was before this agent. To list them again would be to read every endpoint of the cluster again.
func (l *loop) keepRecord(key v3.Key, object v3.Object) {
	if l.records == nil {
		return
	}
	if wep, _ := object.(*v3.WorkloadEndpoint); wep != nil && wep.Spec.ContainerID != "" && wep.Spec.Node == string(l.o.Host.Node) {
		l.records[key] = wep
	} else {
		delete(l.records, key)
	}
}

// unreadable tells whether an endpoint may be missing in what the datastore shows.
func unreadable(faults []datastore.Fault) bool {
	return slices.ContainsFunc(faults, func(f datastore.Fault) bool {
		return f.Key.Kind == v3.KindWorkloadEndpoint || f.Key.Kind == ""
	})
}
