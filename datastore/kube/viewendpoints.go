package kube

import (
	"encoding/base64"
	"iter"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/kube"
)

// endpoints are the WorkloadEndpoints of a cluster, made of three things: Pods, which say who an endpoint is; IPAM blocks, which say what addresses
// a pod was given; and the records of this node's sandboxes, which say through which interface it is reached. What comes of them is a
// function of what they are now, in whichever order they came:
//
//   - A Pod without a record is an endpoint with the addresses that chosen finds. One of this node has those of its status alone: what a block says
//     is written before the pod is connected, and the record when it is.
//   - A record and its Pod are one, as policy/kube merges them; a record of another interface than eth0 has a key of its own.
//   - A record whose Pod is gone, has finished, or is another one of the same name by now, perhaps on another node, stands for itself: what
//     it records is there until its DEL.
//
// Of a Pod only what differs from others like it is kept, and objects are made when they are asked for.
type endpoints struct {
	node   string              // this one; "" for none
	rows   map[objectName]*row // by the name of the endpoint
	blocks map[string]*blockClaims
	// others are the records of pods' interfaces whose keys are not the pod's, by the pod.
	others  map[objectName][]*row
	shared  *sharer
	scratch []claim
	// changed is called with each endpoint that is another one now, or gone; it returns the number of the change.
	changed func(key v3.Key, gone bool) uint64
}

// row is what is known of an endpoint's name.
type row struct {
	name     objectName
	pod      *pod                 // nil: no Pod of the name is an endpoint
	record   *v3.WorkloadEndpoint // nil: no record has the name
	blocks   []*blockClaims       // that may have claims of the pod
	revision sum                  // of the endpoint as it was when it changed last
	number   uint64               // of that change; 0: there is no endpoint
}

func newEndpoints() *endpoints {
	return &endpoints{
		rows: map[objectName]*row{}, blocks: map[string]*blockClaims{}, others: map[objectName][]*row{}, shared: newSharer(),
	}
}

// row finds a name or adds it.
func (e *endpoints) row(name objectName) *row {
	r := e.rows[name]
	if r == nil {
		name.namespace = e.shared.text(name.namespace)
		r = &row{name: name}
		e.rows[name] = r
	}
	return r
}

// setPod takes a view of a Pod as policy/kube makes it; nil: it is gone, or no endpoint.
func (e *endpoints) setPod(name objectName, view *v3.WorkloadEndpoint) {
	if view == nil && e.rows[name] == nil {
		return
	}
	r := e.row(name)
	r.pod = nil
	if view != nil {
		r.pod = e.shared.fold(view)
	}
	e.refresh(r)
	for _, other := range e.others[name] {
		e.refresh(other)
	}
}

// setBlock takes an IPAMBlock; nil: it is gone. Only pods whose addresses it changes change.
func (e *endpoints) setBlock(name string, block *v3.IPAMBlock) {
	before, after := e.blocks[name], (*blockClaims)(nil)
	delete(e.blocks, name)
	if block != nil {
		after = e.claimsOf(&block.Spec)
		e.blocks[name] = after
	}
	var touched []*row
	for _, r := range before.pods() {
		r.blocks = slices.DeleteFunc(r.blocks, func(b *blockClaims) bool { return b == before })
		if after == nil || !slices.Equal(before.of(r), after.of(r)) {
			touched = append(touched, r)
		}
	}
	for _, r := range after.pods() {
		r.blocks = append(r.blocks, after)
		if before == nil || len(before.of(r)) == 0 {
			touched = append(touched, r)
		}
	}
	for _, r := range touched {
		e.refresh(r)
		for _, other := range e.others[r.name] {
			e.refresh(other)
		}
	}
}

// claimsOf reads a block.
func (e *endpoints) claimsOf(spec *v3.IPAMBlockSpec) *blockClaims {
	found := allocations(spec)
	b := &blockClaims{claims: make([]claim, len(found))}
	for i := range found {
		c := found[i].claim
		c.row, c.node = e.row(found[i].pod), e.shared.text(c.node)
		b.claims[i] = c
	}
	slices.SortFunc(b.claims, func(a, b claim) int {
		if a.row != b.row {
			return compareNames(a.row.name, b.row.name)
		}
		return a.address.Compare(b.address)
	})
	return b
}

// setRecord takes the record of a sandbox of this node; nil: it is gone.
func (e *endpoints) setRecord(name objectName, record *v3.WorkloadEndpoint) {
	if record == nil && e.rows[name] == nil {
		return
	}
	r := e.row(name)
	if pod, ok := r.otherPod(); ok {
		rest := slices.DeleteFunc(e.others[pod], func(o *row) bool { return o == r })
		if e.others[pod] = rest; len(rest) == 0 {
			delete(e.others, pod)
		}
	}
	r.record = record
	if pod, ok := r.otherPod(); ok {
		e.others[pod] = append(e.others[pod], r)
	}
	e.refresh(r)
}

// otherPod is the pod of a record that has not the pod's name.
func (r *row) otherPod() (objectName, bool) {
	if r.record == nil || r.record.Spec.Pod == "" || r.record.Spec.Pod == r.name.name {
		return objectName{}, false
	}
	return objectName{r.name.namespace, r.record.Spec.Pod}, true
}

// refresh says that an endpoint has changed, if it has.
func (e *endpoints) refresh(r *row) {
	key := r.name.key(v3.KindWorkloadEndpoint)
	parts := e.parts(r)
	switch revision := parts.sum(); {
	case parts.none():
		if r.number != 0 {
			r.number, r.revision = 0, sum{}
			e.changed(key, true)
		}
		if r.pod == nil && r.record == nil && len(r.blocks) == 0 {
			delete(e.rows, r.name)
		}
	case r.number == 0 || r.revision != revision:
		r.revision = revision
		r.number = e.changed(key, false)
	}
}

// parts are what an endpoint is made of.
type parts struct {
	name      objectName
	record    *v3.WorkloadEndpoint
	pod       *pod
	podName   objectName
	addresses []netip.Addr // of the pod
}

func (p *parts) none() bool { return p.record == nil && p.pod == nil }

// parts finds what the endpoint of a row is made of.
func (e *endpoints) parts(r *row) parts {
	p := parts{name: r.name, record: r.record, pod: r.pod, podName: r.name}
	of := r
	if r.record != nil {
		p.pod = nil
		p.podName.name = r.record.Spec.Pod
		if of = e.rows[p.podName]; of != nil && r.record.Spec.Pod != "" {
			p.pod = of.pod
		}
		p.part()
	}
	switch {
	case p.pod == nil || !p.takesAddresses():
	case p.record == nil && e.node != "" && p.pod.node == e.node:
		p.addresses = chosen(p.pod, nil)
	default:
		p.addresses = chosen(p.pod, e.claims(of.name))
	}
	return p
}

// claims are those of a pod in all blocks, valid until the next call.
func (e *endpoints) claims(pod objectName) []claim {
	e.scratch = e.scratch[:0]
	if r := e.rows[pod]; r != nil {
		for _, b := range r.blocks {
			e.scratch = append(e.scratch, b.of(r)...)
		}
	}
	return e.scratch
}

// with is the endpoint of a name as it is with a record that has just been written, and may not have come in yet.
func (e *endpoints) with(name objectName, record *v3.WorkloadEndpoint) *v3.WorkloadEndpoint {
	p := e.parts(&row{name: name, record: record})
	return p.object()
}

// takesAddresses tells whether the pod's addresses are the endpoint's: a record has its own.
func (p *parts) takesAddresses() bool {
	if p.record == nil {
		return true
	}
	iface := p.record.Spec.Endpoint
	return len(p.record.Spec.IPNetworks) == 0 && (iface == "" || iface == kube.DefaultInterface)
}

// part drops the pod where it is not the record's.
func (p *parts) part() {
	if p.pod == nil {
		return
	}
	uid, node := p.record.Annotations[v3.PodUIDAnnotation], p.record.Spec.Node
	if uid != "" && uid != string(p.pod.uid) || node != "" && p.pod.node != "" && node != p.pod.node {
		p.pod = nil
	}
}

// sum stands for the endpoint that the parts make.
func (p *parts) sum() sum {
	switch {
	case p.none():
		return sum{}
	case p.record == nil:
		return p.pod.sum(p.addresses)
	}
	d := digest{}
	d.text(p.record.ResourceVersion)
	if p.pod != nil {
		pod := p.pod.sum(p.addresses)
		d.text(string(pod[:]))
	}
	return d.sum()
}

// object makes the endpoint; nil where there is none. Its revision is that of the record, then "-" and a hash of the pod, where there is one.
func (p *parts) object() *v3.WorkloadEndpoint {
	switch {
	case p.none():
		return nil
	case p.pod == nil:
		return p.record
	}
	view := p.pod.unfold(p.podName, p.addresses)
	hash := p.pod.sum(p.addresses)
	view.ResourceVersion = "-" + base64.RawURLEncoding.EncodeToString(hash[:])
	if p.record == nil {
		return view
	}
	out := kube.Merge(view, p.record)
	out.ResourceVersion = p.record.ResourceVersion + view.ResourceVersion
	return out
}

// recordRevision is the part of a revision that a write of the record is compared with; ok is false where there was no record.
func recordRevision(revision string) (record string, ok bool) {
	record, _, found := strings.Cut(revision, "-")
	return record, !found || record != ""
}

// object implements collection.
func (e *endpoints) object(key v3.Key) v3.Object {
	r := e.rows[objectName{key.Namespace, key.Name}]
	if r == nil || r.number == 0 {
		return nil
	}
	p := e.parts(r)
	return p.object()
}

// numbers implements collection.
func (e *endpoints) numbers() iter.Seq2[v3.Key, uint64] {
	return func(yield func(v3.Key, uint64) bool) {
		for name, r := range e.rows {
			if r.number != 0 && !yield(name.key(v3.KindWorkloadEndpoint), r.number) {
				return
			}
		}
	}
}
