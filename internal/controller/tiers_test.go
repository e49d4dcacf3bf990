package controller

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore/dstest"
)

func newTier(name string) *v3.Tier { return named(&v3.Tier{}, v3.KindTier, "", name) }

// policyOf is a policy of a kind in a tier, if it can say so.
func policyOf(kind v3.Kind, tier string) v3.Object {
	switch kind {
	case v3.KindNetworkPolicy, v3.KindKubernetesNetworkPolicy:
		p := named(&v3.NetworkPolicy{}, kind, "ns", "p")
		p.Spec.Tier = tier
		return p
	case v3.KindGlobalNetworkPolicy, v3.KindClusterNetworkPolicy:
		p := named(&v3.GlobalNetworkPolicy{}, kind, "", "p")
		p.Spec.Tier = tier
		return p
	case v3.KindStagedNetworkPolicy:
		p := named(&v3.StagedNetworkPolicy{}, kind, "ns", "p")
		p.Spec.Tier = tier
		return p
	case v3.KindStagedGlobalNetworkPolicy:
		p := named(&v3.StagedGlobalNetworkPolicy{}, kind, "", "p")
		p.Spec.Tier = tier
		return p
	case v3.KindStagedKubernetesNetworkPolicy:
		return named(&v3.StagedKubernetesNetworkPolicy{}, kind, "ns", "p")
	}
	panic(kind)
}

func TestBuiltInTiersAreMadeAndMadeAgain(t *testing.T) {
	for _, status := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t)
			defer b.start(b.store, newTiers(Settings{Status: status}))()
			b.after(time.Second)
			for name, want := range map[string]string{"kube-admin": "1000 Pass", "default": "1e+06 Deny", "kube-baseline": "1e+07 Pass"} {
				tier := get(b, newTier(name))
				if got := fmt.Sprint(*tier.Spec.Order, " ", tier.Spec.DefaultAction); got != want {
					t.Errorf("tier %s is %s; want %s", name, got, want)
				}
			}
			b.delete(newTier("default"))
			b.after(time.Second)
			if !b.has(newTier("default")) {
				t.Error("tier default is not made again")
			}
		})
	}
}

func TestBuiltInTierOfSomebodyElseStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		old := newTier("default")
		old.Spec.Order = new(float64(5))
		b.create(old)
		defer b.start(b.store, newTiers(Settings{}))()
		b.after(time.Minute)
		if *get(b, old).Spec.Order != 5 {
			t.Error("a tier that was there has been changed")
		}
	})
}

// TestTierInUseIsHeld: by policies of each kind, until the last of them is gone.
func TestTierInUseIsHeld(t *testing.T) {
	for _, kind := range tieredKinds {
		if kind == v3.KindStagedKubernetesNetworkPolicy {
			continue // always of the default tier
		}
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t)
			tier := newTier("mine")
			b.create(tier)
			defer b.start(b.store, newTiers(Settings{Status: true}))()
			b.after(time.Second)
			if n := len(get(b, tier).Finalizers); n > 0 {
				t.Errorf("%d finalizers on an empty tier", n)
			}
			policy := policyOf(kind, "mine")
			b.store.Put(policy)
			b.after(2 * time.Second)
			if got := get(b, tier); got.Status.Policies != 1 || len(got.Finalizers) != 1 {
				t.Fatalf("%s: %d policies, finalizers %v; want one of each", kind, got.Status.Policies, got.Finalizers)
			}
			b.delete(tier)
			b.after(time.Second)
			if message := expect(t, get(b, tier).Status.Conditions, conditionTerminating, "True InUse"); !strings.Contains(message, v3.KeyOf(policy).String()) {
				t.Errorf("%q does not name %s", message, v3.KeyOf(policy))
			}
			if err := b.store.Memory.Delete(t.Context(), v3.KeyOf(policy), ""); err != nil {
				t.Fatal(err)
			}
			b.after(time.Second)
			if b.has(tier) {
				t.Errorf("%s: the tier is still there", kind)
			}
		})
	}
}

func TestPolicyThatChangesItsTierIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		one, two := newTier("one"), newTier("two")
		b.create(one)
		b.create(two)
		policy := policyOf(v3.KindNetworkPolicy, "one").(*v3.NetworkPolicy)
		b.create(policy)
		b.create(policyOf(v3.KindStagedKubernetesNetworkPolicy, ""))
		defer b.start(b.store, newTiers(Settings{Status: true}))()
		b.after(time.Minute)
		edit(b, policy, func(p *v3.NetworkPolicy) { p.Spec.Tier = "two" })
		b.after(time.Minute)
		for name, want := range map[string]int{"one": 0, "two": 1, "default": 1} {
			if got := get(b, newTier(name)); got.Status.Policies != want || (len(got.Finalizers) > 0) != (name == "two") {
				t.Errorf("tier %s: %d policies, finalizers %v; want %d", name, got.Status.Policies, got.Finalizers, want)
			}
			expect(t, get(b, newTier(name)).Status.Conditions, conditionAccepted, "True OK")
		}
	})
}

// TestCountIsNotWrittenForEveryPolicy: a thousand policies in ten seconds cost about ten writes.
func TestCountIsNotWrittenForEveryPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		counting := &countingStore{Cluster: b.store}
		defer b.start(counting, newTiers(Settings{Status: true}))()
		b.after(time.Second)
		before := counting.writes.Load()
		for i := range 1000 {
			b.create(named(&v3.GlobalNetworkPolicy{}, v3.KindGlobalNetworkPolicy, "", fmt.Sprint("p", i)))
			b.after(10 * time.Millisecond)
		}
		b.after(2 * time.Second)
		if got := get(b, newTier("default")).Status.Policies; got != 1000 {
			t.Errorf("%d policies; want 1000", got)
		}
		if n := counting.writes.Load() - before; n > 15 {
			t.Errorf("%d writes", n)
		}
	})
}

// TestNothingIsWrittenTwice: a controller that comes later has nothing to do.
func TestNothingIsWrittenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.create(newTier("mine"))
		b.create(policyOf(v3.KindGlobalNetworkPolicy, "mine"))
		b.create(newPool("p", "10.0.0.0/16"))
		b.create(newPool("q", "10.0.0.0/24"))
		b.create(blockOf("10.0.0.0/26", "n1", "pod"))
		b.create(named(&v3.NetworkSet{Spec: v3.NetworkSetSpec{Nets: []string{"x"}}}, v3.KindNetworkSet, "ns", "s"))
		settings := Settings{Status: true, Owner: true, AutoHostEndpoints: "Enabled"}
		b.create(newNode("n1"))
		stop := b.start(b.store, All(settings)...)
		b.after(time.Minute)
		stop()
		counting := &countingStore{Cluster: b.store}
		defer b.start(counting, All(settings)...)()
		b.after(time.Minute)
		if n := counting.writes.Load(); n > 0 {
			t.Errorf("%d writes", n)
		}
	})
}

// TestWithoutStatusNothingButTiersIsWritten: where status and finalizers are not kept apart, neither is written.
func TestWithoutStatusNothingButTiersIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.create(newPool("p", "10.0.0.0/16"))
		b.create(newPool("q", "10.0.0.0/24"))
		b.create(blockOf("10.0.0.0/26", "n1", "pod"))
		b.create(policyOf(v3.KindNetworkPolicy, "default"))
		before := b.store.Memory
		defer b.start(onlyStore{before}, All(Settings{Owner: true, AutoHostEndpoints: "Config"})...)()
		b.after(time.Hour)
		for _, o := range append(b.list(v3.KindIPPool), b.list(v3.KindTier)...) {
			if len(o.GetFinalizers()) > 0 {
				t.Errorf("%s has finalizers %v", v3.KeyOf(o), o.GetFinalizers())
			}
		}
		if b.has(newTier("default")) && len(get(b, newTier("default")).Status.Conditions) > 0 {
			t.Error("tier default has a status")
		}
	})
}

// onlyStore hides that a store can do more.
type onlyStore struct{ *dstest.Memory }
