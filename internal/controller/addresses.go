package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/ipam"
)

// defaultGrace is how long an address must have nobody where nothing is configured.
const defaultGrace = 15 * time.Minute

// addresses frees the addresses that nobody has any more, and deletes empty blocks of nodes that are gone and of pools that are being deleted.
//
// An address is freed when at every look for the whole grace period its pod did not exist, ran elsewhere, or had another; or its node did not
// exist, where it was given to no pod. A grace period begins anew with each controller that takes over.
type addresses struct {
	setting    time.Duration // 0: as configured says; negative: nothing is freed
	configured time.Duration
	cluster    bool // whether a node is there is known

	blocks map[v3.Key]*blockLook
	byPod  index[podName]
	byNode index[string]
	pods   map[podName][]podEndpoint
	nodes  map[string]bool
	gone   map[string]time.Time    // nodes that were missing at a look, and since when
	ending map[string]netip.Prefix // pools that are being deleted
}

// blockLook is a block with what was found at the last looks.
type blockLook struct {
	block       ipam.Block
	allocations []ipam.Allocation
	suspects    map[int]suspect // by ordinal
}

// suspect is an address that nobody seems to have.
type suspect struct {
	sequence uint64
	handle   string
	since    time.Time
}

func newAddresses(s Settings) *addresses {
	return &addresses{
		setting: s.LeakGracePeriod, configured: defaultGrace, cluster: s.Status, blocks: map[v3.Key]*blockLook{}, byPod: index[podName]{}, byNode: index[string]{},
		pods: map[podName][]podEndpoint{}, nodes: map[string]bool{}, gone: map[string]time.Time{}, ending: map[string]netip.Prefix{},
	}
}

// index says in which blocks something is named.
type index[K comparable] map[K]map[v3.Key]struct{}

func (x index[K]) add(k K, block v3.Key) {
	if x[k] == nil {
		x[k] = map[v3.Key]struct{}{}
	}
	x[k][block] = struct{}{}
}

func (x index[K]) remove(k K, block v3.Key) {
	delete(x[k], block)
	if len(x[k]) == 0 {
		delete(x, k)
	}
}

func (x index[K]) of(k K) []v3.Key {
	keys := make([]v3.Key, 0, len(x[k]))
	for key := range x[k] {
		keys = append(keys, key)
	}
	return keys
}

// Name implements Reconciler.
func (a *addresses) Name() string { return "addresses" }

// Kinds implements Reconciler.
func (a *addresses) Kinds() []v3.Kind {
	kinds := []v3.Kind{v3.KindIPAMBlock, v3.KindWorkloadEndpoint, v3.KindNode, v3.KindIPPool}
	if a.setting == 0 {
		kinds = append(kinds, kindControllers)
	}
	return kinds
}

// Update implements Reconciler.
func (a *addresses) Update(key v3.Key, o v3.Object) []v3.Key {
	switch key.Kind {
	case v3.KindIPAMBlock:
		return a.updateBlock(key, o)
	case v3.KindWorkloadEndpoint:
		return a.updateEndpoint(key, o)
	case v3.KindNode:
		return a.updateNode(key.Name, o != nil)
	case v3.KindIPPool:
		return a.updatePool(key, o)
	case kindControllers:
		if key.Name == "default" {
			return a.reconfigure(o)
		}
	}
	return nil
}

func (a *addresses) updateBlock(key v3.Key, o v3.Object) []v3.Key {
	var suspects map[int]suspect
	if before := a.blocks[key]; before != nil {
		before.each(func(pod podName) { a.byPod.remove(pod, key) }, func(node string) { a.byNode.remove(node, key) })
		suspects = before.suspects
		delete(a.blocks, key)
	}
	object, ok := o.(*v3.IPAMBlock)
	if !ok {
		return nil
	}
	b, err := ipam.ReadBlock(object)
	if err != nil {
		return nil // nobody gives addresses of it out either
	}
	look := &blockLook{block: b, allocations: b.Allocations(), suspects: suspects}
	look.each(func(pod podName) { a.byPod.add(pod, key) }, func(node string) { a.byNode.add(node, key) })
	a.blocks[key] = look
	return []v3.Key{key}
}

// each calls with every pod and node that a block names.
func (l *blockLook) each(pod func(podName), node func(string)) {
	node(l.block.Owner())
	for i := range l.allocations {
		al := &l.allocations[i]
		node(l.nodeOf(al))
		if name, ok := podOf(al); ok {
			pod(name)
		}
	}
}

// nodeOf is the node that gave an address out.
func (l *blockLook) nodeOf(al *ipam.Allocation) string {
	return cmp.Or(al.Attrs[ipam.AttrNode], l.block.Owner())
}

func (a *addresses) updateEndpoint(key v3.Key, o v3.Object) []v3.Key {
	object, ok := o.(*v3.WorkloadEndpoint)
	if !ok {
		return a.removeEndpoint(key)
	}
	pod, e := endpointOf(key, object)
	list := a.pods[pod]
	i := slices.IndexFunc(list, func(x podEndpoint) bool { return x.key == e.key })
	switch {
	case i < 0:
		a.pods[pod] = append(list, e)
	case list[i].equal(&e):
		return nil
	default:
		list[i] = e
	}
	return a.byPod.of(pod)
}

// removeEndpoint forgets an endpoint, whose name is mostly that of its pod.
func (a *addresses) removeEndpoint(key v3.Key) []v3.Key {
	pod := podName{key.Namespace, key.Name}
	if a.removeFrom(pod, key.Name) {
		return a.byPod.of(pod)
	}
	for pod := range a.pods {
		if pod.namespace == key.Namespace && a.removeFrom(pod, key.Name) {
			return a.byPod.of(pod)
		}
	}
	return nil
}

func (a *addresses) removeFrom(pod podName, endpoint string) bool {
	list := a.pods[pod]
	left := slices.DeleteFunc(slices.Clone(list), func(x podEndpoint) bool { return x.key == endpoint })
	if len(left) == 0 {
		delete(a.pods, pod)
	} else {
		a.pods[pod] = left
	}
	return len(left) < len(list)
}

func (a *addresses) updateNode(name string, there bool) []v3.Key {
	none := len(a.nodes) == 0
	delete(a.nodes, name)
	if there {
		a.nodes[name] = true
		delete(a.gone, name)
	}
	if none && there {
		return a.all() // from now on others are missing
	}
	return a.byNode.of(name)
}

// all are the blocks.
func (a *addresses) all() []v3.Key {
	items := make([]v3.Key, 0, len(a.blocks))
	for key := range a.blocks {
		items = append(items, key)
	}
	return items
}

func (a *addresses) updatePool(key v3.Key, o v3.Object) []v3.Key {
	delete(a.ending, key.Name)
	object, ok := o.(*v3.IPPool)
	if !ok || object.DeletionTimestamp == nil {
		return nil
	}
	pool, err := ipam.ReadPool(object)
	if err != nil {
		return nil
	}
	a.ending[key.Name] = pool.CIDR()
	var items []v3.Key
	for block, look := range a.blocks {
		if pool.CIDR().Overlaps(look.block.CIDR()) {
			items = append(items, block)
		}
	}
	return items
}

// reconfigure takes the grace period of the configuration: 0 there means that nothing is freed.
func (a *addresses) reconfigure(o v3.Object) []v3.Key {
	spec, err := readControllers(o)
	if err != nil {
		return nil
	}
	a.configured = defaultGrace
	if node := spec.Controllers.Node; node != nil && node.LeakGracePeriod != "" {
		period, err := time.ParseDuration(node.LeakGracePeriod)
		switch {
		case err != nil:
		case period == 0:
			a.configured = -1
		default:
			a.configured = period
		}
	}
	return a.all()
}

func (a *addresses) grace() time.Duration { return cmp.Or(a.setting, a.configured) }

// goneFor is how long a node has been missing; false: it is there, or that is not known.
func (a *addresses) goneFor(node string, now time.Time) (time.Duration, bool) {
	if node == "" || a.nodes[node] || !a.cluster || len(a.nodes) == 0 {
		return 0, false
	}
	since, ok := a.gone[node]
	if !ok {
		since = now
		a.gone[node] = now
	}
	return now.Sub(since), true
}

// Plan implements Reconciler.
func (a *addresses) Plan(item v3.Key, now time.Time) Step {
	look := a.blocks[item]
	if look == nil || look.block.Object().DeletionTimestamp != nil {
		return Step{}
	}
	if len(look.allocations) == 0 {
		look.suspects = nil
		return a.planEmpty(look, now)
	}
	due, reasons, again := a.suspects(look, now)
	if len(due) == 0 {
		return Step{Again: again}
	}
	write := Write{
		Verb: Update, Object: look.block.Without(due), Verify: prove(look, due), Note: "freed addresses that nobody has: " + strings.Join(reasons, ", "),
	}
	return Step{Writes: []Write{write}, Again: again}
}

// planEmpty deletes an empty block that nobody will take addresses from.
func (a *addresses) planEmpty(look *blockLook, now time.Time) Step {
	write := Write{Verb: Delete, Object: look.block.Object()}
	for pool, cidr := range a.ending {
		if cidr.Overlaps(look.block.CIDR()) {
			write.Note = "deleted an empty block of IPPool " + pool + ", which is being deleted"
			return Step{Writes: []Write{write}}
		}
	}
	owner := look.block.Owner()
	gone, missing := a.goneFor(owner, now)
	switch {
	case !missing || a.grace() < 0:
		return Step{}
	case gone < a.grace():
		return Step{Again: a.grace() - gone}
	}
	write.Verify = func(ctx context.Context, read Reader) error { return proveGone(ctx, read, nodeKey(owner)) }
	write.Note = "deleted an empty block of node " + owner + ", which does not exist"
	return Step{Writes: []Write{write}}
}

// suspects looks at every address of a block: those that have been nobody's for long enough, why, and when to look again.
func (a *addresses) suspects(look *blockLook, now time.Time) (due []ipam.Allocation, reasons []string, again time.Duration) {
	still := map[int]suspect{}
	for i := range look.allocations {
		al := &look.allocations[i]
		reason := a.leaked(look, al, now)
		if reason == "" {
			continue
		}
		s := look.suspects[al.Ordinal]
		if s.sequence != al.Sequence || s.handle != al.Handle || s.since.IsZero() {
			s = suspect{al.Sequence, al.Handle, now}
		}
		still[al.Ordinal] = s
		if left := a.grace() - now.Sub(s.since); a.grace() >= 0 && left <= 0 {
			due, reasons = append(due, *al), append(reasons, describe(al, reason))
		} else if a.grace() >= 0 && (again == 0 || left < again) {
			again = left
		}
	}
	look.suspects = still
	return due, reasons, again
}

// leaked says why an address is nobody's, as far as is known; "" if it is somebody's.
func (a *addresses) leaked(look *blockLook, al *ipam.Allocation, now time.Time) string {
	if look.block.Virtual() {
		return ""
	}
	if pod, ok := podOf(al); ok {
		return leakedBy(al, look.nodeOf(al), a.pods[pod], look.allocations)
	}
	if al.Released {
		return "it was given back"
	}
	if _, missing := a.goneFor(look.nodeOf(al), now); missing {
		return "its node does not exist"
	}
	return ""
}

// prove makes what reads again, of each address, the pod or node that must not have it. It is called beside the loop.
func prove(look *blockLook, due []ipam.Allocation) func(context.Context, Reader) error {
	return func(ctx context.Context, read Reader) error {
		for i := range due {
			if err := proveLeaked(ctx, read, &due[i], look.nodeOf(&due[i]), look.allocations); err != nil {
				return err
			}
		}
		return nil
	}
}

func proveLeaked(ctx context.Context, read Reader, al *ipam.Allocation, node string, block []ipam.Allocation) error {
	pod, ok := podOf(al)
	switch {
	case al.Released:
		return nil
	case !ok:
		return proveGone(ctx, read, nodeKey(node))
	}
	key := v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: pod.namespace, Name: pod.name}
	o, err := read.Get(ctx, key)
	if errors.Is(err, datastore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("whether pod %s/%s has %s is unknown: %w", pod.namespace, pod.name, al.Address, err)
	}
	_, e := endpointOf(key, o.(*v3.WorkloadEndpoint))
	if leakedBy(al, node, []podEndpoint{e}, block) == "" {
		return fmt.Errorf("pod %s/%s has %s: %w", pod.namespace, pod.name, al.Address, errNotProven)
	}
	return nil
}

// Measure implements Measurer.
func (a *addresses) Measure(m *Metrics) {
	n := 0
	for _, look := range a.blocks {
		n += len(look.suspects)
	}
	m.suspects.Set(float64(n))
}
