package ipset

import (
	"context"
	"fmt"
	"iter"
	"maps"
)

// ReadBack is what the kernel's sets of ours were found to hold. It is plain data.
type ReadBack struct {
	Sets  []Listed
	epoch uint64 // writes before it was read
}

// ReadBack reads all sets of ours. It may run beside the goroutine that Sets belongs to: what it returns is handed to Reconcile.
func (s *Sets) ReadBack(ctx context.Context) (*ReadBack, error) {
	epoch := s.epoch.Load()
	sets, err := s.cfg.Kernel.List(ctx, true)
	if err != nil {
		return nil, fmt.Errorf("read ip sets: %w", err)
	}
	return &ReadBack{Sets: sets, epoch: epoch}, nil
}

// Drifted tells whether somebody else has changed sets of ours, by their names, types and numbers of members.
func (s *Sets) Drifted(ctx context.Context) (bool, error) {
	if !s.known {
		return false, nil
	}
	sets, err := s.cfg.Kernel.List(ctx, false)
	if err != nil {
		return false, fmt.Errorf("read headers of ip sets: %w", err)
	}
	there := 0
	for _, l := range sets {
		x := s.sets[l.Name]
		if x == nil {
			if _, unused := s.unused[l.Name]; !unused {
				return true, nil
			}
			continue
		}
		there++
		same := x.header.Type == l.Header.Type && x.header.Family == l.Header.Family
		if x.foreign == same || same && x.members.LenActual() != l.Count {
			return true, nil
		}
	}
	return there != s.actualSets(), nil
}

// actualSets is the number of desired sets that the kernel is known to hold, of whatever type.
func (s *Sets) actualSets() int {
	n := 0
	for _, x := range s.sets {
		if x.exists || x.foreign {
			n++
		}
	}
	return n
}

// Reconcile takes in what was read. It is false, and nothing is taken in, where sets were written meanwhile. What is no longer as it was
// written is put right, and counted as repairs, by the next Apply.
func (s *Sets) Reconcile(rb *ReadBack) bool {
	if rb.epoch != s.epoch.Load() {
		return false
	}
	listed := make(map[string]*Listed, len(rb.Sets))
	unused := map[string]*set{}
	for i := range rb.Sets {
		l := &rb.Sets[i]
		listed[l.Name] = l
		if s.sets[l.Name] == nil {
			unused[l.Name] = nil
		}
	}
	if s.known {
		for name := range unused {
			if _, was := s.unused[name]; !was {
				s.repairs++
			}
		}
	}
	s.unused = unused
	for name, x := range s.sets {
		if x.take(listed[name]) && s.known {
			s.repairs++
		}
		s.touch(name, x)
	}
	s.known = true
	return true
}

// take takes in what the kernel holds under the set's name, nil: nothing. It tells whether that is news.
func (x *set) take(l *Listed) (changed bool) {
	was := *x
	x.exists, x.foreign, x.rewrite = false, false, false
	switch {
	case l == nil:
	case l.Header.Type != x.header.Type || l.Header.Family != x.header.Family:
		x.foreign = true
	default:
		x.exists, x.rewrite, x.header = true, l.odd, l.Header
	}
	changed = was.exists != x.exists || was.foreign != x.foreign || !was.rewrite && x.rewrite
	if !x.exists {
		x.members.ReplaceActual(maps.All(map[element]struct{}{}))
		return changed
	}
	news := x.members.LenActual() != len(l.elements)
	for _, e := range l.elements {
		if _, ok := x.members.Actual(e); !ok {
			news = true
			break
		}
	}
	if news {
		x.members.ReplaceActual(all(l.elements))
	}
	return changed || news
}

func all(elements []element) iter.Seq2[element, struct{}] {
	return func(yield func(element, struct{}) bool) {
		for _, e := range elements {
			if !yield(e, struct{}{}) {
				return
			}
		}
	}
}
