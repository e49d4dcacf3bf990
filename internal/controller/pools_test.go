package controller

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore/dstest"
	"github.com/felid-net/felid/ipam"
)

// countingStore counts writes.
type countingStore struct {
	dstest.Cluster
	writes atomic.Int64
}

func (c *countingStore) Create(ctx context.Context, o v3.Object) (v3.Object, error) {
	c.writes.Add(1)
	return c.Cluster.Create(ctx, o)
}

func (c *countingStore) Update(ctx context.Context, o v3.Object) (v3.Object, error) {
	c.writes.Add(1)
	return c.Cluster.Update(ctx, o)
}

func (c *countingStore) UpdateStatus(ctx context.Context, o v3.Object) (v3.Object, error) {
	c.writes.Add(1)
	return c.Cluster.UpdateStatus(ctx, o)
}

func (c *countingStore) Delete(ctx context.Context, key v3.Key, revision string) error {
	c.writes.Add(1)
	return c.Cluster.Delete(ctx, key, revision)
}

func newPool(name, cidr string) *v3.IPPool {
	return named(&v3.IPPool{Spec: v3.IPPoolSpec{CIDR: cidr}}, v3.KindIPPool, "", name)
}

func newNode(name string) *v3.Node {
	n := named(&v3.Node{}, v3.KindNode, "", name)
	n.Spec.Addresses = []v3.NodeAddress{{Address: "192.0.2.1", Type: "InternalIP"}}
	return n
}

// blockOf is a block as the allocator of a node makes it, with an address for each of these pods of namespace ns.
func blockOf(cidr, node string, pods ...string) *v3.IPAMBlock {
	store := dstest.NewMemory()
	bits := 26
	if _, size, _ := strings.Cut(cidr, "/"); size == "31" {
		bits = 31
	}
	pool := newPool("p", cidr)
	pool.Spec.BlockSize = bits
	ctx := context.Background()
	if _, err := store.Create(ctx, pool); err != nil {
		panic(err)
	}
	a := ipam.New(store, node, ipam.Options{})
	for _, pod := range append(pods, "") {
		attrs := map[string]string{ipam.AttrPod: pod, ipam.AttrNamespace: "ns"}
		if _, err := a.Assign(ctx, ipam.Request{Handle: "h." + pod, IPv4: true, Attrs: attrs}); err != nil {
			panic(err)
		}
	}
	if _, err := a.Release(ctx, "h."); err != nil {
		panic(err)
	}
	list, err := store.List(ctx, v3.KindIPAMBlock, "")
	if err != nil || len(list.Objects) != 1 {
		panic("no block")
	}
	return list.Objects[0].(*v3.IPAMBlock)
}

func TestPoolStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		older := newPool("z-older", "10.0.0.0/16")
		b.create(older)
		b.after(time.Minute)
		disabled, inside, bad, six := newPool("disabled", "10.1.0.0/24"), newPool("inside", "10.0.9.0/24"), newPool("bad", "10.2.0.0/40"), newPool("six", "fd00::/64")
		disabled.Spec.Disabled = true
		for _, p := range []*v3.IPPool{disabled, inside, bad, six} {
			b.create(p)
		}
		defer b.start(b.store, newPools(Settings{Status: true}))()
		b.after(time.Second)
		for _, want := range []struct {
			pool                            *v3.IPPool
			accepted, allocatable, mentions string
		}{
			{older, "True OK", "True OK", ""},
			{six, "True OK", "True OK", ""},
			{disabled, "True OK", "False PoolDisabled", ""},
			{inside, "True OK", "False CIDROverlap", "IPPool z-older"},
			{bad, "False Invalid", "False Invalid", "10.2.0.0/40"},
		} {
			conditions := get(b, want.pool).Status.Conditions
			expect(t, conditions, conditionAccepted, want.accepted)
			if message := expect(t, conditions, conditionAllocatable, want.allocatable); !strings.Contains(message, want.mentions) {
				t.Errorf("%s: %q does not mention %q", want.pool.Name, message, want.mentions)
			}
			expect(t, conditions, conditionBlocksMatch, "")
		}
		b.delete(older)
		b.after(time.Second)
		expect(t, get(b, inside).Status.Conditions, conditionAllocatable, "True OK")
	})
}

func TestPoolInUseIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		pool := newPool("p", "10.0.0.0/16")
		b.create(pool)
		b.create(newPool("q", "10.1.0.0/16"))
		used, empty := blockOf("10.0.0.0/26", "n1", "pod"), blockOf("10.0.0.64/26", "n2")
		b.create(used)
		b.create(empty)
		b.create(endpointOn("pod", "n1", "10.0.0.0"))
		b.create(newNode("n1"))
		defer b.start(b.store, newPools(Settings{Status: true}), newAddresses(Settings{Status: true}), newAffinities(Settings{}))()
		b.after(time.Minute)
		if n := len(get(b, newPool("q", "")).Finalizers); n > 0 {
			t.Error("a pool without blocks has a finalizer")
		}
		b.delete(pool)
		b.after(time.Minute)
		expect(t, get(b, pool).Status.Conditions, conditionAllocatable, "False Terminating")
		if b.has(empty) || !b.has(used) {
			t.Errorf("empty block there: %v, used block there: %v; want the used one alone", b.has(empty), b.has(used))
		}
		a := ipam.New(b.store, "n1", ipam.Options{})
		if _, err := a.Release(t.Context(), "h.pod"); err != nil {
			t.Fatal(err)
		}
		b.after(time.Minute)
		if b.has(used) || b.has(pool) {
			t.Errorf("block there: %v, pool there: %v", b.has(used), b.has(pool))
		}
	})
}

func TestBlocksOfAnotherSizeAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		pool := newPool("p", "10.0.0.0/16")
		b.create(pool)
		b.create(blockOf("10.0.0.0/26", "n1"))
		defer b.start(b.store, newPools(Settings{Status: true}))()
		b.after(time.Second)
		edit(b, pool, func(p *v3.IPPool) { p.Spec.BlockSize = 28 })
		b.after(time.Second)
		expect(t, get(b, pool).Status.Conditions, conditionBlocksMatch, "False OtherBlockSize")
		edit(b, pool, func(p *v3.IPPool) { p.Spec.BlockSize = 26 })
		b.after(time.Second)
		expect(t, get(b, pool).Status.Conditions, conditionBlocksMatch, "")
	})
}

func TestPoolMetrics(t *testing.T) {
	p := newPools(Settings{})
	for _, o := range []v3.Object{blockOf("10.0.0.0/26", "n1", "a", "b"), newPool("p", "10.0.0.0/16"), blockOf("10.0.0.64/26", "n1", "a"), blockOf("10.9.0.0/26", "n1", "a")} {
		p.Update(v3.KeyOf(o), o)
	}
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	p.Measure(m)
	for name, want := range map[string]float64{"felid_ipam_pool_addresses": 65536, "felid_ipam_pool_allocated": 3, "felid_ipam_pool_blocks": 2} {
		if got := gaugeOf(t, registry, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// gaugeOf is the value of a metric of which there is one.
func gaugeOf(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name && len(f.GetMetric()) == 1 {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s, or several", name)
	return 0
}

func TestSetsThatCannotBeReadSaySo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		good, bad := named(&v3.GlobalNetworkSet{}, v3.KindGlobalNetworkSet, "", "good"), named(&v3.NetworkSet{}, v3.KindNetworkSet, "ns", "bad")
		good.Spec.Nets, bad.Spec.Nets = []string{"10.0.0.0/8"}, []string{"10.0.0.0/8", "10.0.0.0/33"}
		host := named(&v3.HostEndpoint{Spec: v3.HostEndpointSpec{InterfaceName: "*"}}, v3.KindHostEndpoint, "", "h")
		for _, o := range []v3.Object{good, bad, host} {
			b.create(o)
		}
		counting := &countingStore{Cluster: b.store}
		defer b.start(counting, newJudgements())()
		b.after(time.Second)
		if message := expect(t, get(b, bad).Status.Conditions, conditionAccepted, "False Invalid"); !strings.Contains(message, "spec.nets[1]") {
			t.Errorf("%q does not name the field", message)
		}
		if message := expect(t, get(b, host).Status.Conditions, conditionAccepted, "False Invalid"); !strings.Contains(message, "spec.node") {
			t.Errorf("%q does not name the field", message)
		}
		expect(t, get(b, good).Status.Conditions, conditionAccepted, "")
		edit(b, bad, func(s *v3.NetworkSet) { s.Spec.Nets = s.Spec.Nets[:1] })
		b.after(time.Second)
		expect(t, get(b, bad).Status.Conditions, conditionAccepted, "True OK")
		if n := counting.writes.Load(); n != 3 {
			t.Errorf("%d writes; want 3", n)
		}
	})
}
