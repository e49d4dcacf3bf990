package kube

import (
	"iter"

	v3 "github.com/felid-net/felid/api/v3"
)

// objects are views each of which is made of one object of one resource. Their revisions are equal only for equal content.
type objects struct {
	held map[v3.Key]*held
	keys map[origin]v3.Key // of the views
	// changed is called with each view that is another one now, or gone; it returns the number of the change.
	changed func(key v3.Key, gone bool) uint64
}

// origin is the object that a view is made of.
type origin struct {
	resource *resource
	name     objectName
}

type held struct {
	object v3.Object
	of     origin
	number uint64
}

func newObjects() *objects {
	return &objects{held: map[v3.Key]*held{}, keys: map[origin]v3.Key{}}
}

// set takes the view of an object; nil: it has none, or is gone.
func (s *objects) set(of origin, view v3.Object) {
	before, was := s.keys[of]
	if view == nil {
		if was {
			s.remove(of, before)
		}
		return
	}
	key := v3.KeyOf(view)
	if was && before != key {
		s.remove(of, before)
	}
	s.keys[of] = key
	if there := s.held[key]; there != nil && there.of == of && there.object.GetResourceVersion() == view.GetResourceVersion() {
		return
	}
	s.held[key] = &held{object: view, of: of, number: s.changed(key, false)}
}

func (s *objects) remove(of origin, key v3.Key) {
	delete(s.keys, of)
	if there := s.held[key]; there != nil && there.of == of {
		delete(s.held, key)
		s.changed(key, true)
	}
}

// object implements collection.
func (s *objects) object(key v3.Key) v3.Object {
	if there := s.held[key]; there != nil {
		return there.object
	}
	return nil
}

// numbers implements collection.
func (s *objects) numbers() iter.Seq2[v3.Key, uint64] {
	return func(yield func(v3.Key, uint64) bool) {
		for key, there := range s.held {
			if !yield(key, there.number) {
				return
			}
		}
	}
}
