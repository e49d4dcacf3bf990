package delta_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/felid-net/felid/dataplane/delta"
)

// twin is the obvious form of a Map.
type twin struct {
	desired, actual map[int]int
}

func (w twin) updates() map[int]int {
	out := map[int]int{}
	for k, v := range w.desired {
		if a, ok := w.actual[k]; !ok || a != v {
			out[k] = v
		}
	}
	return out
}

func (w twin) removals() map[int]int {
	out := map[int]int{}
	for k, v := range w.actual {
		if _, ok := w.desired[k]; !ok {
			out[k] = v
		}
	}
	return out
}

func (w twin) check(t *rapid.T, m *delta.Map[int, int]) {
	for _, c := range []struct {
		what      string
		got, want map[int]int
	}{
		{"updates", maps.Collect(m.Updates()), w.updates()},
		{"removals", maps.Collect(m.Removals()), w.removals()},
		{"desired", maps.Collect(m.AllDesired()), w.desired},
		{"actual", maps.Collect(m.AllActual()), w.actual},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", c.what, diff)
		}
	}
	if m.PendingUpdates() != len(w.updates()) || m.PendingRemovals() != len(w.removals()) || m.LenDesired() != len(w.desired) || m.LenActual() != len(w.actual) {
		t.Fatalf("counts: %d updates, %d removals, %d desired, %d actual", m.PendingUpdates(), m.PendingRemovals(), m.LenDesired(), m.LenActual())
	}
	if m.Pending() != (len(w.updates())+len(w.removals()) > 0) {
		t.Fatalf("Pending = %v", m.Pending())
	}
}

func TestMapEqualsTwoMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, w := delta.New[int, int](), twin{map[int]int{}, map[int]int{}}
		key, value := rapid.IntRange(0, 5), rapid.IntRange(0, 2)
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { w.check(t, m) },
			"SetDesired": func(t *rapid.T) {
				k, v := key.Draw(t, "k"), value.Draw(t, "v")
				m.SetDesired(k, v)
				w.desired[k] = v
			},
			"RemoveDesired": func(t *rapid.T) {
				k := key.Draw(t, "k")
				m.RemoveDesired(k)
				delete(w.desired, k)
			},
			"SetActual": func(t *rapid.T) {
				k, v := key.Draw(t, "k"), value.Draw(t, "v")
				m.SetActual(k, v)
				w.actual[k] = v
			},
			"RemoveActual": func(t *rapid.T) {
				k := key.Draw(t, "k")
				m.RemoveActual(k)
				delete(w.actual, k)
			},
			"ReplaceActual": func(t *rapid.T) {
				all := rapid.MapOf(key, value).Draw(t, "all")
				m.ReplaceActual(maps.All(all))
				w.actual = all
			},
			"Lookup": func(t *rapid.T) {
				k := key.Draw(t, "k")
				got, ok := m.Desired(k)
				if want, has := w.desired[k]; got != want || ok != has {
					t.Fatalf("Desired(%d) = %d, %v", k, got, ok)
				}
				got, ok = m.Actual(k)
				if want, has := w.actual[k]; got != want || ok != has {
					t.Fatalf("Actual(%d) = %d, %v", k, got, ok)
				}
			},
		})
	})
}

// An apply loop reports each success as it goes; afterwards nothing is pending.
func TestMapMayChangeWhileIterating(t *testing.T) {
	m := delta.New[int, int]()
	for i := range 1000 {
		m.SetDesired(i, i)
		m.SetActual(i+500, i%2)
	}
	for k, v := range m.Updates() {
		m.SetActual(k, v)
	}
	for k := range m.Removals() {
		m.RemoveActual(k)
	}
	if m.Pending() {
		t.Fatalf("%d updates and %d removals left", m.PendingUpdates(), m.PendingRemovals())
	}
	if n := len(maps.Collect(m.AllActual())); n != 1000 {
		t.Fatalf("%d actual entries, want 1000", n)
	}
}

func TestNewFuncComparesByFunction(t *testing.T) {
	m := delta.NewFunc[string](slices.Equal[[]int])
	m.SetDesired("a", []int{1, 2})
	m.SetActual("a", []int{1, 2})
	if m.Pending() {
		t.Fatal("equal slices are pending")
	}
	m.SetActual("a", []int{1})
	if m.PendingUpdates() != 1 {
		t.Fatal("different slices are not pending")
	}
}

// The cost of one change does not depend on how much is held.
func BenchmarkMapOneChangeIn100k(b *testing.B) {
	m := delta.New[int, int]()
	for i := range 100_000 {
		m.SetDesired(i, 0)
		m.SetActual(i, 0)
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		m.SetDesired(n%100_000, n+1)
		for k, v := range m.Updates() {
			m.SetActual(k, v)
		}
	}
}
