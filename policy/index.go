package policy

import (
	"maps"
	"unique"

	"github.com/felid-net/felid/policy/selector"
)

// restriction is one thing that labels must have for a selector to match them: the key, with one of the values if there are any
// given. The zero value asks nothing.
type restriction struct {
	key    labelKey
	values []string // nil: any
	asks   bool
}

// restrictionsOf are those of a selector. never tells that nothing can match it.
func restrictionsOf(s *selector.Selector) (list []restriction, never bool) {
	all := s.Restrictions()
	if len(all) > 0 {
		list = make([]restriction, 0, len(all))
	}
	for _, must := range all {
		if must.Values != nil && len(must.Values) == 0 {
			return nil, true
		}
		list = append(list, restriction{key: unique.Make(must.Key), values: must.Values, asks: true})
	}
	return list, false
}

// eachLabel visits the labels that a peer has: its own, and those inherited that are not its own.
func (p *peer) eachLabel(visit func(label)) {
	for _, l := range p.own {
		visit(l)
	}
	for _, parent := range p.parents {
		for _, l := range parent.labels {
			if p.lender(l.key) == parent {
				visit(l)
			}
		}
	}
}

// selectorIndex finds, for a peer, what may select it. Each entry is kept under one restriction of its selector.
type selectorIndex[T comparable] struct {
	byLabel map[label][]T
	byKey   map[labelKey][]T
	rest    map[T]struct{} // those whose selectors ask nothing of a label
	under   map[T]restriction
}

func newSelectorIndex[T comparable]() *selectorIndex[T] {
	return &selectorIndex[T]{byLabel: map[label][]T{}, byKey: map[labelKey][]T{}, rest: map[T]struct{}{}, under: map[T]restriction{}}
}

// add keeps an entry under that restriction of s by which the fewest others are kept.
func (x *selectorIndex[T]) add(entry T, s *selector.Selector) {
	list, never := restrictionsOf(s)
	if never {
		return
	}
	best, fewest := restriction{}, int(^uint(0)>>1)
	for _, r := range list {
		if n := x.crowd(r); n < fewest {
			best, fewest = r, n
		}
	}
	x.under[entry] = best
	x.place(best, func(entries []T) []T { return append(entries, entry) })
	if !best.asks {
		x.rest[entry] = struct{}{}
	}
}

// crowd is how many entries a peer with the restriction's label meets; a key alone is asked for last.
func (x *selectorIndex[T]) crowd(r restriction) int {
	if r.values == nil {
		return len(x.byKey[r.key]) + 1<<30
	}
	n := 0
	for _, v := range r.values {
		n += len(x.byLabel[label{r.key, v}])
	}
	return n
}

func (x *selectorIndex[T]) remove(entry T) {
	r, ok := x.under[entry]
	if !ok {
		return
	}
	delete(x.under, entry)
	delete(x.rest, entry)
	x.place(r, func(entries []T) []T { return without(entries, entry) })
}

// place changes the lists of a restriction.
func (x *selectorIndex[T]) place(r restriction, change func([]T) []T) {
	switch {
	case !r.asks:
	case r.values == nil:
		setOrDelete(x.byKey, r.key, change(x.byKey[r.key]))
	default:
		for _, v := range r.values {
			l := label{r.key, v}
			setOrDelete(x.byLabel, l, change(x.byLabel[l]))
		}
	}
}

// candidates visits everything that may select the peer, once.
func (x *selectorIndex[T]) candidates(p *peer, visit func(T)) {
	p.eachLabel(func(l label) {
		for _, entry := range x.byLabel[l] {
			visit(entry)
		}
		for _, entry := range x.byKey[l.key] {
			visit(entry)
		}
	})
	for entry := range x.rest {
		visit(entry)
	}
}

// peerIndex finds, for a selector, the peers that it may select. A label key is indexed from the first time it is asked for: of
// the many labels that peers carry, selectors mostly name few. Where they name many, all are indexed at once, as each time that
// one is added all peers are looked at.
type peerIndex struct {
	all  map[*livePeer]struct{}
	keys map[labelKey]map[string]*bearers
	// many is how many keys are indexed one by one.
	many int
	// complete: every key is indexed.
	complete bool
}

// bearers of a label: the peers that have it of their own, and the profiles that lend it to theirs. Either is nil until there is one.
type bearers struct {
	peers    map[*livePeer]struct{}
	profiles map[*profile]struct{}
}

func newPeerIndex() *peerIndex {
	return &peerIndex{all: map[*livePeer]struct{}{}, keys: map[labelKey]map[string]*bearers{}, many: 64}
}

func (x *peerIndex) add(p *livePeer) {
	x.all[p] = struct{}{}
	for _, l := range p.own {
		if values := x.indexed(l.key); values != nil {
			bearersOf(values, l.value).addPeer(p)
		}
	}
}

func (x *peerIndex) remove(p *livePeer) {
	delete(x.all, p)
	for _, l := range p.own {
		if b := x.keys[l.key][l.value]; b != nil {
			delete(b.peers, p)
			x.drop(l, b)
		}
	}
}

func (x *peerIndex) addProfile(p *profile) {
	for _, l := range p.labels {
		if values := x.indexed(l.key); values != nil {
			bearersOf(values, l.value).addProfile(p)
		}
	}
}

func (x *peerIndex) removeProfile(p *profile) {
	for _, l := range p.labels {
		if b := x.keys[l.key][l.value]; b != nil {
			delete(b.profiles, p)
			x.drop(l, b)
		}
	}
}

func (x *peerIndex) drop(l label, b *bearers) {
	if len(b.peers)+len(b.profiles) == 0 {
		delete(x.keys[l.key], l.value)
	}
}

// indexed are the bearers of all values of a key; nil where the key is not indexed.
func (x *peerIndex) indexed(key labelKey) map[string]*bearers {
	values := x.keys[key]
	if values == nil && x.complete {
		values = map[string]*bearers{}
		x.keys[key] = values
	}
	return values
}

func bearersOf(values map[string]*bearers, value string) *bearers {
	b := values[value]
	if b == nil {
		b = &bearers{}
		values[value] = b
	}
	return b
}

func (b *bearers) addPeer(p *livePeer) {
	if b.peers == nil {
		b.peers = map[*livePeer]struct{}{}
	}
	b.peers[p] = struct{}{}
}

func (b *bearers) addProfile(p *profile) {
	if b.profiles == nil {
		b.profiles = map[*profile]struct{}{}
	}
	b.profiles[p] = struct{}{}
}

// valuesOf are the bearers of all values of a key, which is indexed from now on. Profiles are those that there are.
func (x *peerIndex) valuesOf(key labelKey, profiles profileSet) map[string]*bearers {
	if values := x.keys[key]; values != nil || x.complete {
		return values
	}
	wanted := func(l label) bool { return l.key == key }
	if x.complete = len(x.keys) >= x.many; x.complete {
		known := maps.Clone(x.keys)
		wanted = func(l label) bool { return known[l.key] == nil }
	}
	x.keys[key] = map[string]*bearers{}
	for p := range x.all {
		for _, l := range p.own {
			if wanted(l) {
				bearersOf(x.indexed(l.key), l.value).addPeer(p)
			}
		}
	}
	for _, p := range profiles {
		for _, l := range p.labels {
			if wanted(l) {
				bearersOf(x.indexed(l.key), l.value).addProfile(p)
			}
		}
	}
	return x.keys[key]
}

// matches visits every peer that the selector matches, once.
func (x *peerIndex) matches(s *selector.Selector, profiles profileSet, visit func(*livePeer)) {
	list, never := restrictionsOf(s)
	if never {
		return
	}
	var key labelKey
	var best []*bearers
	fewest := len(x.all)
	for _, r := range list {
		if found, n := x.bearers(r, profiles); n < fewest {
			key, best, fewest = r.key, found, n
		}
	}
	matching := func(p *livePeer) {
		if s.Evaluate(p) {
			visit(p)
		}
	}
	if fewest == len(x.all) {
		for p := range x.all {
			matching(p)
		}
		return
	}
	for _, b := range best {
		x.visit(b, key, matching)
	}
}

// visit is of the peers that have the label by b: of their own, or lent by a profile that is the first to lend them the key.
func (x *peerIndex) visit(b *bearers, key labelKey, visit func(*livePeer)) {
	for p := range b.peers {
		visit(p)
	}
	for lender := range b.profiles {
		for p := range lender.children {
			if _, here := x.all[p]; here && p.lender(key) == lender {
				visit(p)
			}
		}
	}
}

// lender is the profile of which a peer has a key; nil where it is the peer's own, or nobody's.
func (p *peer) lender(key labelKey) *profile {
	if p.own.has(key) {
		return nil
	}
	for _, parent := range p.parents {
		if parent.labels.has(key) {
			return parent
		}
	}
	return nil
}

// bearers are those of a restriction, and how many peers at most.
func (x *peerIndex) bearers(r restriction, profiles profileSet) (list []*bearers, peers int) {
	values := x.valuesOf(r.key, profiles)
	take := func(b *bearers) {
		list = append(list, b)
		peers += len(b.peers)
		for p := range b.profiles {
			peers += len(p.children)
		}
	}
	if r.values == nil {
		for _, b := range values {
			take(b)
		}
		return list, peers
	}
	for _, v := range r.values {
		if b := values[v]; b != nil {
			take(b)
		}
	}
	return list, peers
}

func without[T comparable](list []T, item T) []T {
	for i, other := range list {
		if other == item {
			list[i] = list[len(list)-1]
			clear(list[len(list)-1:])
			return list[:len(list)-1]
		}
	}
	return list
}

func setOrDelete[K comparable, T any](m map[K][]T, key K, list []T) {
	if len(list) == 0 {
		delete(m, key)
		return
	}
	m[key] = list
}

// emptied is m without its entries. One that was large is given up: to look through it for a single entry would take as long as
// when it was full.
func emptied[K comparable, V any](m map[K]V) map[K]V {
	if len(m) > 64 {
		return map[K]V{}
	}
	clear(m)
	return m
}
