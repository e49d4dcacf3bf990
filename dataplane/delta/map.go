package delta

import (
	"iter"
)

// Map holds desired and actual values by key. Use New or NewFunc.
type Map[K comparable, V any] struct {
	equal   func(a, b V) bool
	agreed  map[K]V       // desired and actual, and equal
	differ  map[K]pair[V] // at least one of the two, and not equal
	removed int           // entries of differ that are not desired
	missing int           // entries of differ that are not actual
}

// pair is the two sides of a key at which they differ.
type pair[V any] struct {
	desired, actual       V
	hasDesired, hasActual bool
}

// New is an empty Map of values that compare by ==.
func New[K, V comparable]() *Map[K, V] {
	return NewFunc[K](func(a, b V) bool { return a == b })
}

// NewFunc is an empty Map of values that compare by equal.
func NewFunc[K comparable, V any](equal func(a, b V) bool) *Map[K, V] {
	return &Map[K, V]{equal: equal, agreed: map[K]V{}, differ: map[K]pair[V]{}}
}

// SetDesired says that k should have the value v.
func (m *Map[K, V]) SetDesired(k K, v V) {
	p := m.pair(k)
	p.desired, p.hasDesired = v, true
	m.put(k, p)
}

// RemoveDesired says that k should not be there.
func (m *Map[K, V]) RemoveDesired(k K) {
	var none V
	p := m.pair(k)
	p.desired, p.hasDesired = none, false
	m.put(k, p)
}

// SetActual says that k has the value v.
func (m *Map[K, V]) SetActual(k K, v V) {
	p := m.pair(k)
	p.actual, p.hasActual = v, true
	m.put(k, p)
}

// RemoveActual says that k is not there.
func (m *Map[K, V]) RemoveActual(k K) {
	var none V
	p := m.pair(k)
	p.actual, p.hasActual = none, false
	m.put(k, p)
}

// ReplaceActual says that exactly these are there, after a full read.
func (m *Map[K, V]) ReplaceActual(all iter.Seq2[K, V]) {
	old := *m
	*m = *NewFunc[K](old.equal)
	for k, v := range all {
		p := old.pair(k)
		p.actual, p.hasActual = v, true
		m.put(k, p)
	}
	for k, v := range old.AllDesired() {
		if _, seen := m.Actual(k); !seen {
			m.put(k, pair[V]{desired: v, hasDesired: true})
		}
	}
}

// Desired is the value that k should have.
func (m *Map[K, V]) Desired(k K) (V, bool) {
	p := m.pair(k)
	return p.desired, p.hasDesired
}

// Actual is the value that k is known to have.
func (m *Map[K, V]) Actual(k K) (V, bool) {
	p := m.pair(k)
	return p.actual, p.hasActual
}

// AllDesired yields every desired entry, in no order.
func (m *Map[K, V]) AllDesired() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for k, v := range m.agreed {
			if !yield(k, v) {
				return
			}
		}
		for k, p := range m.differ {
			if p.hasDesired && !yield(k, p.desired) {
				return
			}
		}
	}
}

// AllActual yields every entry known to be there, in no order.
func (m *Map[K, V]) AllActual() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for k, v := range m.agreed {
			if !yield(k, v) {
				return
			}
		}
		for k, p := range m.differ {
			if p.hasActual && !yield(k, p.actual) {
				return
			}
		}
	}
}

// Updates yields the entries to be made or changed, with the desired value, in no order. The loop may set or remove either side of
// the key at hand.
func (m *Map[K, V]) Updates() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.PendingUpdates() == 0 {
			return
		}
		for k, p := range m.differ {
			if p.hasDesired && !yield(k, p.desired) {
				return
			}
		}
	}
}

// Removals yields the entries to be removed, with the actual value, in no order. The loop may set or remove either side of the key at
// hand.
func (m *Map[K, V]) Removals() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.removed == 0 {
			return
		}
		for k, p := range m.differ {
			if !p.hasDesired && !yield(k, p.actual) {
				return
			}
		}
	}
}

// PendingUpdates is the number of entries that Updates yields.
func (m *Map[K, V]) PendingUpdates() int { return len(m.differ) - m.removed }

// PendingRemovals is the number of entries that Removals yields.
func (m *Map[K, V]) PendingRemovals() int { return m.removed }

// Pending tells whether the two sides differ anywhere.
func (m *Map[K, V]) Pending() bool { return len(m.differ) > 0 }

// LenDesired is the number of desired entries.
func (m *Map[K, V]) LenDesired() int { return len(m.agreed) + len(m.differ) - m.removed }

// LenActual is the number of entries known to be there.
func (m *Map[K, V]) LenActual() int { return len(m.agreed) + len(m.differ) - m.missing }

func (m *Map[K, V]) pair(k K) pair[V] {
	if v, ok := m.agreed[k]; ok {
		return pair[V]{v, v, true, true}
	}
	return m.differ[k]
}

// put files both sides of k where they belong.
func (m *Map[K, V]) put(k K, p pair[V]) {
	if old, ok := m.differ[k]; ok {
		m.count(old, -1)
	}
	if p.hasDesired && p.hasActual && m.equal(p.desired, p.actual) {
		delete(m.differ, k)
		m.agreed[k] = p.desired
		return
	}
	delete(m.agreed, k)
	if !p.hasDesired && !p.hasActual {
		delete(m.differ, k)
		return
	}
	m.differ[k] = p
	m.count(p, 1)
}

func (m *Map[K, V]) count(p pair[V], by int) {
	if !p.hasDesired {
		m.removed += by
	}
	if !p.hasActual {
		m.missing += by
	}
}
