package kube

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/kube"
)

// objectName names an object of a resource.
type objectName struct{ namespace, name string }

func (n objectName) key(kind v3.Kind) v3.Key {
	return v3.Key{Kind: kind, Namespace: n.namespace, Name: n.name}
}

// sum stands for a content: two contents with the same sum are the same.
type sum [12]byte

// digest makes a sum of parts, none of which can pass for two.
type digest struct{ data []byte }

func (d *digest) text(s string) {
	d.data = binary.AppendUvarint(d.data, uint64(len(s)))
	d.data = append(d.data, s...)
}

func (d *digest) number(n int64) { d.data = binary.AppendVarint(d.data, n) }

func (d *digest) sum() sum {
	whole := sha256.Sum256(d.data)
	return sum(whole[:len(sum{})])
}

// template is what the pods of one workload have in common. It is shared, and never changed.
type template struct {
	sum      sum
	labels   map[string]string
	account  string
	profiles []string
	ports    []v3.EndpointPort
	probes   []uint16
}

// pod is what is kept of a Pod: a tenth of it, as a cluster has many.
type pod struct {
	template         *template
	node             string
	uid              types.UID
	created, deleted int64        // seconds since 1970; 0: not
	addresses        []netip.Addr // of its status
}

// sharer has texts and templates that are the same be stored once. It forgets what it has when that becomes too much: what was
// shared stays shared, and a cluster whose labels change for years costs no more than one that does not.
type sharer struct {
	texts     map[string]string
	templates map[sum]*template
	scratch   digest
}

// maxShared bounds each of the sharer's tables.
const maxShared = 1 << 16

func newSharer() *sharer {
	return &sharer{texts: map[string]string{}, templates: map[sum]*template{}}
}

func (s *sharer) text(text string) string {
	if known, ok := s.texts[text]; ok {
		return known
	}
	if len(s.texts) >= maxShared {
		clear(s.texts)
	}
	s.texts[text] = text
	return text
}

// fold keeps what a view of a Pod says.
func (s *sharer) fold(wep *v3.WorkloadEndpoint) *pod {
	return &pod{
		template: s.template(wep), node: s.text(wep.Spec.Node), uid: wep.UID,
		created: seconds(&wep.CreationTimestamp), deleted: seconds(wep.DeletionTimestamp),
		addresses: addressesOf(wep.Spec.IPNetworks),
	}
}

func seconds(t *metav1.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// addressesOf reads what policy/kube wrote: prefixes of full length.
func addressesOf(networks []string) []netip.Addr {
	if len(networks) == 0 {
		return nil
	}
	out := make([]netip.Addr, 0, len(networks))
	for _, text := range networks {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p.Addr())
		}
	}
	return out
}

func (s *sharer) template(wep *v3.WorkloadEndpoint) *template {
	d := &s.scratch
	d.data = d.data[:0]
	d.text(wep.Spec.ServiceAccountName)
	d.number(int64(len(wep.Labels)))
	for _, key := range slices.Sorted(maps.Keys(wep.Labels)) {
		d.text(key)
		d.text(wep.Labels[key])
	}
	d.number(int64(len(wep.Spec.Profiles)))
	for _, name := range wep.Spec.Profiles {
		d.text(name)
	}
	d.number(int64(len(wep.Spec.Ports)))
	for _, port := range wep.Spec.Ports {
		d.text(port.Name)
		d.text(port.Protocol.String())
		d.number(int64(port.Port))
	}
	for _, port := range wep.Spec.ProbePorts {
		d.number(int64(port))
	}
	id := d.sum()
	if known := s.templates[id]; known != nil {
		return known
	}
	if len(s.templates) >= maxShared {
		clear(s.templates)
	}
	made := s.newTemplate(id, wep)
	s.templates[id] = made
	return made
}

func (s *sharer) newTemplate(id sum, wep *v3.WorkloadEndpoint) *template {
	t := &template{
		sum: id, account: s.text(wep.Spec.ServiceAccountName),
		ports: slices.Clip(wep.Spec.Ports), probes: slices.Clip(wep.Spec.ProbePorts),
	}
	if wep.Labels != nil {
		t.labels = make(map[string]string, len(wep.Labels))
	}
	for key, value := range wep.Labels {
		t.labels[s.text(key)] = s.text(value)
	}
	for _, name := range wep.Spec.Profiles {
		t.profiles = append(t.profiles, s.text(name))
	}
	return t
}

// sum is that of the pod with these addresses.
func (p *pod) sum(addresses []netip.Addr) sum {
	d := digest{data: make([]byte, 0, 160)}
	d.data = append(d.data, p.template.sum[:]...)
	d.text(p.node)
	d.text(string(p.uid))
	d.number(p.created)
	d.number(p.deleted)
	for _, a := range addresses {
		d.text(string(a.AsSlice()))
	}
	return d.sum()
}

// unfold is the view of the pod with these addresses, as policy/kube makes it, but for its revision and generation.
func (p *pod) unfold(name objectName, addresses []netip.Addr) *v3.WorkloadEndpoint {
	out := &v3.WorkloadEndpoint{
		TypeMeta: metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: string(v3.KindWorkloadEndpoint)},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: name.namespace, Name: name.name, UID: p.uid, Labels: p.template.labels,
		},
		Spec: v3.WorkloadEndpointSpec{
			Orchestrator: kube.OrchestratorKubernetes, Node: p.node, Pod: name.name, Endpoint: kube.DefaultInterface,
			ServiceAccountName: p.template.account, Profiles: p.template.profiles, Ports: p.template.ports, ProbePorts: p.template.probes,
		},
	}
	if p.created != 0 {
		out.CreationTimestamp = metav1.NewTime(time.Unix(p.created, 0))
	}
	if p.deleted != 0 {
		out.DeletionTimestamp = &metav1.Time{Time: time.Unix(p.deleted, 0)}
	}
	if len(addresses) > 0 {
		out.Spec.IPNetworks = make([]string, len(addresses))
	}
	for i, a := range addresses {
		out.Spec.IPNetworks[i] = netip.PrefixFrom(a, a.BitLen()).String()
	}
	return out
}
