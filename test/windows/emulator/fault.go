package emulator

import (
	"time"

	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Fault is something that goes wrong with calls.
type Fault struct {
	// Op, Kind and ID are those of the calls that it strikes; "" for any.
	Op   Op
	Kind hns.Kind
	ID   string
	// Nth strikes only this one of the calls that match, counted from 1; 0 strikes them all.
	Nth int
	// Code is the HRESULT that the call answers, 0 for none.
	Code uint32
	// Late: the call does its work, and only then fails.
	Late bool
	// Delay is how long the call takes. Other calls go on meanwhile.
	Delay time.Duration
	// Do is done before the call, without locks: it may use the server's other methods, as for an endpoint that vanishes just now.
	Do func()
}

// armed is a fault that has been injected.
type armed struct {
	Fault
	seen int
}

// Inject arms faults, beside those that are armed. The result disarms them.
func (s *Server) Inject(faults ...Fault) (disarm func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := map[*armed]bool{}
	for _, f := range faults {
		f.ID = upper(f.ID)
		a := &armed{Fault: f}
		mine[a] = true
		s.faults = append(s.faults, a)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		var keep []*armed
		for _, a := range s.faults {
			if !mine[a] {
				keep = append(keep, a)
			}
		}
		s.faults = keep
	}
}

// strike counts a request at every fault that it matches, and gives those that strike it.
func (s *Server) strike(r request) []*armed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var hit []*armed
	for _, a := range s.faults {
		if a.Op != "" && a.Op != r.op || a.Kind != "" && a.Kind != r.kind || a.ID != "" && a.ID != r.id {
			continue
		}
		a.seen++
		if a.Nth == 0 || a.Nth == a.seen {
			hit = append(hit, a)
		}
	}
	return hit
}

// before is what happens before the call is done.
func (a *armed) before() {
	if a.Do != nil {
		a.Do()
	}
	if a.Delay > 0 {
		time.Sleep(a.Delay)
	}
}

// refusal is the error of the first fault that has one and strikes at this time.
func refusal(hit []*armed, late bool) *failure {
	for _, a := range hit {
		if a.Code != 0 && a.Late == late {
			return fail(a.Code, "Injected.")
		}
	}
	return nil
}

// Stop makes every call fail as it does when the service is stopped; Start ends that. Objects stay.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

// Start is the end of Stop.
func (s *Server) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = false
}

// flagNonPersistent of networks: HNS keeps them in memory only. Azure's plugin and flannel ask for it.
const flagNonPersistent = 8

// Restart is one of the service: networks that are not persistent are gone with their endpoints; of the others, endpoints come back without
// their place in a namespace, and sets and ACLs, which HNS keeps in memory, are gone from them. Where H33 is false, networks and endpoints stay
// where they are, and lose their sets and ACLs alone.
func (s *Server) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	stay := s.model.False[dptest.H33]
	s.settle()
	for _, e := range s.shelves[hns.KindEndpoint].all() {
		if !stay {
			s.detach(e, hns.StateDetached)
		}
		s.forgetACLs(e)
	}
	for _, n := range s.shelves[hns.KindNetwork].all() {
		if number(n.fields, "Flags")&flagNonPersistent != 0 && !stay {
			s.remove(n)
			continue
		}
		s.forgetSets(n)
	}
}

func (s *Server) forgetACLs(e *object) {
	e.forget("ACL")
	s.mustSet(e, nil)
}

// forgetSets takes them from a network on which no ACL stands.
func (s *Server) forgetSets(n *object) {
	n.forget("SetPolicy")
	n.sets = s.model.NewNetwork()
	for _, e := range s.shelves[hns.KindEndpoint].all() {
		if e.network() == n.id {
			e.port = n.sets.NewPort()
		}
	}
}

// Forget makes an endpoint lose its ACLs, without anybody's asking (H30).
func (s *Server) Forget(endpoint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.shelves[hns.KindEndpoint].byID[upper(endpoint)]; e != nil {
		s.forgetACLs(e)
	}
}

// Reboot is one of the host: as Restart, and there are no namespaces left.
func (s *Server) Reboot() {
	s.Restart()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ns := range s.shelves[hns.KindNamespace].all() {
		s.remove(ns)
	}
}

// SetState makes an endpoint be in a state whatever becomes of it: 1 is one that is stuck in attaching.
func (s *Server) SetState(id string, state hns.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.shelves[hns.KindEndpoint].byID[upper(id)]; e != nil {
		e.state, e.stuck = state, true
	}
}

// Vanish takes an object away, as somebody else's call does. It says whether the object was there.
func (s *Server) Vanish(kind hns.Kind, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.shelves[kind].byID[upper(id)]
	if o != nil {
		s.remove(o)
	}
	return o != nil
}
