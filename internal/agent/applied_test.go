package agent

import (
	"strconv"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
)

func TestProgress(t *testing.T) {
	p := newProgress()
	news := uint64(0)
	take := func(name string, generation int64, revision string, isNews bool) {
		t.Helper()
		o := versioned(name, generation)
		o.ResourceVersion = revision
		p.take(v3.KeyOf(o), o)
		if got := p.news > news; got != isNews {
			t.Errorf("%s of generation %d at %s is news: %v", name, generation, revision, got)
		}
		news = p.news
	}
	applied := func(want uint64) {
		t.Helper()
		p.apply()
		if got := p.applied[v3.KindNetworkPolicy]; got != want || p.newsApplied != p.news {
			t.Errorf("applied %d, want %d", got, want)
		}
		news = p.news
	}
	take("a", 1, "10", true)
	take("b", 1, "8", true)
	applied(10)
	before := p.applied
	take("a", 1, "12", false) // its status
	applied(12)
	if before[v3.KindNetworkPolicy] != 10 {
		t.Error("what was handed out has changed")
	}
	take("a", 2, "14", true)
	if p.applied[v3.KindNetworkPolicy] != 12 {
		t.Error("what is not applied counts as such")
	}
	applied(14)
	p.take(policyKeyOf("b"), nil)
	if p.news == news {
		t.Error("a policy that went is no news")
	}
	applied(14)

	take("a", 1, "3", true) // restored from a backup
	take("c", 1, "5", true)
	applied(5)
	take("c", 0, "no number", true)
	take("c", 0, "no number", true) // without generations any change counts
	applied(3)
}

func policyKeyOf(name string) v3.Key { return v3.KeyOf(versioned(name, 1)) }

// BenchmarkProgress is one change of one of 5,000 policies.
func BenchmarkProgress(b *testing.B) {
	p := newProgress()
	policies := make([]*v3.NetworkPolicy, 5000)
	for i := range policies {
		policies[i] = versioned("p"+strconv.Itoa(i), 1)
		policies[i].ResourceVersion = strconv.Itoa(i)
		p.take(v3.KeyOf(policies[i]), policies[i])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		o := policies[i%5000]
		o.ResourceVersion = strconv.Itoa(5000 + i)
		p.take(v3.KeyOf(o), o)
		p.apply()
	}
}
