package agent

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// Cutter is a Dataplane that knows the connections that its host tracks.
type Cutter interface {
	// CutConnections asks of each tracked connection whether it is denied, and deletes exactly those that are.
	CutConnections(denied func(dataplane.Connection) bool) (cut int, err error)
}

// errNoCutter says that a Dataplane can't do what policyChangeAction asks for.
var errNoCutter = errors.New("policyChangeAction CutDenied: this dataplane can't cut connections; valid: Continue")

// cutEvery is how often the tracked connections are read at most: where sets change all the time, each change is not worth reading them all.
const cutEvery = time.Second

// cuts is when connections are to be cut.
type cuts struct {
	wanted bool // what policy allows may have changed since the last time
	last   time.Time
	again  *time.Timer
}

// C fires when connections that had to wait are to be cut.
func (c *cuts) C() <-chan time.Time {
	if c.again == nil {
		return nil
	}
	return c.again.C
}

func (c *cuts) wait(d time.Duration) {
	if c.again != nil {
		c.again.Stop()
	}
	c.again = time.NewTimer(d)
}

// changesVerdicts tells whether connections may be judged otherwise than before.
func changesVerdicts(c *dataplane.Changes) bool {
	return c == nil || len(c.Endpoints)+len(c.Policies)+len(c.IPSets)+len(c.Nodes) > 0 || c.Host
}

// cut deletes the connections that policy denies by now, once the rules are in force by which they can't come again. Where not all are, it does
// what it can, and comes again.
func (l *loop) cut(s *dataplane.State, changes *dataplane.Changes, failed bool, err error) {
	if !l.o.CutDenied {
		return
	}
	l.cuts.wanted = l.cuts.wanted || changesVerdicts(changes)
	if err != nil || !l.cuts.wanted {
		return
	}
	if rest := cutEvery - time.Since(l.cuts.last); rest > 0 {
		l.cuts.wait(rest)
		return
	}
	l.cuts.last = time.Now()
	n, err := l.o.Dataplane.(Cutter).CutConnections(denied(s))
	if n > 0 {
		l.o.Log.Info("connections that policy denies by now were cut", "connections", n)
	}
	if err != nil {
		l.o.Log.Error("can't cut connections that policy denies; trying again", "error", err)
		l.cuts.wait(cutEvery)
		return
	}
	l.cuts.wanted = failed
}

// denied judges connections by a state, of which it is valid as long.
func denied(s *dataplane.State) func(dataplane.Connection) bool {
	e, sender := policy.NewExplainer(s), sendersByAddress(s)
	return func(c dataplane.Connection) bool {
		f := policy.Flow{
			Src: c.Src.Addr(), Dst: c.Dst.Addr(), Protocol: c.Protocol, SrcPort: c.Src.Port(), DstPort: c.Dst.Port(),
			ICMPType: c.ICMPType, ICMPCode: c.ICMPCode,
		}
		if c.SentTo != c.Dst {
			f.SentTo = c.SentTo
		}
		from := e.EndpointAt(f.Src)
		if from == "" {
			from = sender(f.Src)
		}
		return e.Between(from, e.EndpointAt(f.Dst), f).Verdict == dataplane.Deny
	}
}

// sendersByAddress finds those that may send from an address that is not their own; the first by id where several may.
func sendersByAddress(s *dataplane.State) func(netip.Addr) dataplane.EndpointID {
	var senders []*dataplane.Endpoint
	for _, ep := range s.Endpoints {
		if len(ep.AllowedSources) > 0 {
			senders = append(senders, ep)
		}
	}
	slices.SortFunc(senders, func(a, b *dataplane.Endpoint) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return func(a netip.Addr) dataplane.EndpointID {
		for _, ep := range senders {
			if slices.ContainsFunc(ep.AllowedSources, func(n netip.Prefix) bool { return n.Contains(a) }) {
				return ep.ID
			}
		}
		return ""
	}
}
