package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore"
)

// Denier is a Dataplane that tells of packets that it denies.
type Denier interface {
	// WatchDenials calls each, from a goroutine of its own, with what is denied from now on, until ctx ends. It returns when it listens.
	WatchDenials(ctx context.Context, each func(dataplane.Denial)) error
}

// errNoDenier says that nobody would tell of denied connections.
var errNoDenier = errors.New("denyEvents: this dataplane does not tell of what it denies; valid: false")

// Of denied connections that the same rule denies to the same pod, one in denyAgain becomes an event; of all on a node, no more than
// denyEventsPerMinute, and so many at once.
const (
	denyAgain           = 5 * time.Minute
	denyEventsPerMinute = 30
	denyBurst           = 30
	// maxDenials is how many pods and rules are remembered.
	maxDenials = 4096
	// maxDenialsWaiting is how many may wait to be written. What comes while so many do is dropped: the same will come again.
	maxDenialsWaiting = 64
)

// denialKey is what one event is about.
type denialKey struct {
	endpoint  dataplane.EndpointID
	direction dataplane.Direction
	policy    dataplane.PolicyID
	rule      int
}

// denyLimit decides which denials become events.
type denyLimit struct {
	told   map[denialKey]time.Time
	budget float64 // events that may be told now
	filled time.Time
}

func newDenyLimit(now time.Time) *denyLimit {
	return &denyLimit{told: map[denialKey]time.Time{}, budget: denyBurst, filled: now}
}

// take tells whether it is to become an event, and counts it if so.
func (l *denyLimit) take(d denialKey, now time.Time) bool {
	if at, ok := l.told[d]; ok && now.Sub(at) < denyAgain {
		return false
	}
	l.budget = min(denyBurst, l.budget+now.Sub(l.filled).Minutes()*denyEventsPerMinute)
	l.filled = now
	if l.budget < 1 {
		return false
	}
	if len(l.told) >= maxDenials {
		l.prune(now)
	}
	l.budget--
	l.told[d] = now
	return true
}

// prune forgets what may be told again; where that is nothing, all: the budget still holds.
func (l *denyLimit) prune(now time.Time) {
	for d, at := range l.told {
		if now.Sub(at) >= denyAgain {
			delete(l.told, d)
		}
	}
	if len(l.told) >= maxDenials {
		clear(l.told)
	}
}

// denials turns what the dataplane denies into events of pods, beside the loop.
type denials struct {
	a     *Agent
	heard chan dataplane.Denial
	limit *denyLimit
}

// watchDenials tells of denied connections until ctx ends.
func (a *Agent) watchDenials(ctx context.Context) error {
	if a.o.Reports == nil {
		return errors.New("denyEvents: this datastore has no place for events")
	}
	denier, ok := a.o.Dataplane.(Denier)
	if !ok {
		return errNoDenier
	}
	d := &denials{a: a, heard: make(chan dataplane.Denial, maxDenialsWaiting), limit: newDenyLimit(time.Now())}
	if err := denier.WatchDenials(ctx, d.hear); err != nil {
		return fmt.Errorf("denyEvents: %w", err)
	}
	d.run(ctx)
	return nil
}

// hear never waits.
func (d *denials) hear(denial dataplane.Denial) {
	select {
	case d.heard <- denial:
	default:
	}
}

func (d *denials) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case denial := <-d.heard:
			if err := d.tell(ctx, denial); err != nil && ctx.Err() == nil {
				d.a.o.Metrics.reportErrors.Inc()
				d.a.o.Log.Debug("an event of a denied connection could not be written", "error", err)
			}
		}
	}
}

// tell writes the event of a denial, if it is one of a pod, and nobody has been told of late.
func (d *denials) tell(ctx context.Context, denial dataplane.Denial) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	var endpoint dataplane.EndpointID
	var tier string
	err := d.a.do(ctx, func(l *loop) {
		if l.state != nil {
			endpoint, tier = deniedAt(l.state, &denial)
		}
	})
	namespace, pod, ok := podOf(endpoint)
	if err != nil || !ok || !d.limit.take(denialKey{endpoint, denial.Direction, denial.Policy, denial.Rule}, time.Now()) {
		return err
	}
	e := &datastore.PodEvent{
		Namespace: namespace, Pod: pod, Node: string(d.a.o.Host.Node), Warning: true, Time: time.Now(),
		Reason: "Denied" + capital(denial.Direction.String()), Action: "Deny", Message: denialText(&denial, tier),
	}
	if err := d.a.o.Reports.PodEvent(ctx, e); err != nil {
		return err
	}
	d.a.o.Metrics.events.Inc()
	return nil
}

// deniedAt is the local workload at which it was denied, and the tier of the policy; "" where it is none.
func deniedAt(s *dataplane.State, d *dataplane.Denial) (id dataplane.EndpointID, tier string) {
	address := d.Dst.Addr()
	if d.Direction == dataplane.Egress {
		address = d.Src.Addr()
	}
	if p := s.Policies[d.Policy]; p != nil {
		tier = p.Tier
	}
	for _, ep := range s.Endpoints {
		if ep.Host == nil && hasAddress(ep, address) && (id == "" || ep.ID < id) {
			id = ep.ID
		}
	}
	return id, tier
}

func hasAddress(ep *dataplane.Endpoint, a netip.Addr) bool {
	for _, own := range ep.Addresses {
		if own == a {
			return true
		}
	}
	return false
}

// podOf reads "pod/NS/NAME", with or without an interface.
func podOf(id dataplane.EndpointID) (namespace, name string, ok bool) {
	parts := strings.Split(string(id), "/")
	if len(parts) < 3 || parts[0] != "pod" {
		return "", "", false
	}
	return parts[1], parts[2], true
}

func capital(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// protocols that people know by a name; the others are numbers.
var protocols = map[uint8]string{
	dataplane.ProtoICMP: "ICMP", dataplane.ProtoTCP: "TCP", dataplane.ProtoUDP: "UDP", dataplane.ProtoICMPv6: "ICMPv6", dataplane.ProtoSCTP: "SCTP",
	dataplane.ProtoUDPLite: "UDP-Lite",
}

// denialText is one line: "Denied egress TCP 10.0.0.5:80 by NetworkPolicy web/allow-db rule 2".
func denialText(d *dataplane.Denial, tier string) string {
	protocol := protocols[d.Protocol]
	if protocol == "" {
		protocol = fmt.Sprintf("protocol %d", d.Protocol)
	}
	where := ""
	switch to := d.Dst; {
	case d.Direction == dataplane.Egress && to.Port() == 0:
		where = to.Addr().String()
	case d.Direction == dataplane.Egress:
		where = to.String()
	case to.Port() == 0:
		where = "from " + d.Src.Addr().String()
	default:
		where = fmt.Sprintf("port %d from %s", to.Port(), d.Src.Addr())
	}
	return fmt.Sprintf("Denied %s %s %s by %s", d.Direction, protocol, where, denierText(d, tier))
}

func denierText(d *dataplane.Denial, tier string) string {
	switch {
	case d.Policy == dataplane.PolicyID{}:
		return "the end of all tiers: no profile allows it"
	case d.Rule >= 0:
		return fmt.Sprintf("%s rule %d", d.Policy, d.Rule)
	case tier == "":
		return fmt.Sprintf("the end of its tier: %s selects the pod, and no rule allows it", d.Policy)
	}
	return fmt.Sprintf("the end of tier %s: %s selects the pod, and no rule allows it", tier, d.Policy)
}
