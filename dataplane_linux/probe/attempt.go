package probe

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/knock"
)

// patience is how long an answer may take inside one kernel.
const patience = 400 * time.Millisecond

// places are where the ends of connections are: pods by their first address, the node itself by none.
type places struct {
	pods   map[netip.Addr]func(do func() error) error
	noIPv6 bool // the kernel has none
}

func (p *places) at(owner, address netip.Addr) knock.Place {
	return knock.Place{In: p.pods[owner], Address: address}
}

// attempt is one go at a trial. After an error nothing more is done.
type attempt struct {
	ctx    context.Context
	dp     dataplane.Dataplane
	places *places
	err    error
	wrong  []string
}

// check is a connection, and whether it should be answered.
type check struct {
	from, to addresses // whose namespaces
	source   netip.Addr
	family   int
	protocol uint8
	port     uint16
	pass     bool
}

func (c check) of(a addresses) netip.Addr {
	if c.family == 6 {
		return a.v6
	}
	return a.v4
}

func (c check) String() string {
	source := c.source
	if !source.IsValid() {
		source = c.of(c.from)
	}
	who := source.String()
	if !source.IsValid() {
		who = "the node"
	}
	return fmt.Sprintf("%s from %s to %s port %d", map[uint8]string{tcp: "TCP", udp: "UDP"}[c.protocol], who, c.of(c.to), c.port)
}

// each is a check from A to B in each family.
func (a *attempt) each(protocol uint8, port uint16, pass bool) []check {
	four := check{from: addrA, to: addrB, family: 4, protocol: protocol, port: port, pass: pass}
	six := four
	six.family = 6
	if a.places.noIPv6 {
		return []check{four}
	}
	return []check{four, six}
}

// fromNode are checks from the node itself to B.
func (a *attempt) fromNode(pass bool) []check {
	checks := a.each(tcp, portQ, pass)
	for i := range checks {
		checks[i].from = addresses{}
	}
	return checks
}

func reversed(checks []check) []check {
	for i := range checks {
		checks[i].from, checks[i].to = checks[i].to, checks[i].from
	}
	return checks
}

// from has another source address, in the same namespace.
func from(checks []check, source addresses) []check {
	for i := range checks {
		checks[i].source = checks[i].of(source)
	}
	return checks
}

// apply enforces a State, compared as a whole.
func (a *attempt) apply(s *dataplane.State) { a.applyChanges(s, nil) }

// applyDelta enforces a State in which nothing but the members of the set "s" has moved.
func (a *attempt) applyDelta(s *dataplane.State, d *dataplane.SetDelta) {
	c := dataplane.NewChanges()
	c.IPSets["s"] = d
	a.applyChanges(s, c)
}

func (a *attempt) applyChanges(s *dataplane.State, c *dataplane.Changes) {
	if a.err != nil {
		return
	}
	r, err := a.dp.Apply(a.ctx, s, c)
	if err == nil && r.Failed() {
		err = fmt.Errorf("rules can't be written: %s", failures(&r))
	}
	a.err = err
}

func failures(r *dataplane.Result) string {
	var out []string
	for id, err := range r.Endpoints {
		out = append(out, fmt.Sprintf("%s: %v", id, err))
	}
	for id, err := range r.Policies {
		out = append(out, fmt.Sprintf("%s: %v", id, err))
	}
	for name, err := range r.Others {
		out = append(out, fmt.Sprintf("%s: %v", name, err))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// knock opens the connection of a check; nil where nobody answers.
func (a *attempt) knock(c check) (*knock.Conn, error) {
	source := c.of(c.from)
	near := a.places.at(source, source)
	if c.source.IsValid() {
		near.Address = c.source
	}
	return knock.Open(a.ctx, near, a.places.at(c.of(c.to), c.of(c.to)), c.protocol, c.port, patience)
}

// tries is how many chances a connection gets that should be answered: a machine may be busy.
const tries = 4

// expect makes connections beside each other, and notes those that do not fare as they should.
func (a *attempt) expect(lists ...[]check) {
	if a.err != nil {
		return
	}
	checks := slices.Concat(lists...)
	passed, errs := make([]bool, len(checks)), make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			for try := 0; try == 0 || c.pass && !passed[i] && errs[i] == nil && try < tries; try++ {
				passed[i], errs[i] = a.passes(c)
			}
		})
	}
	wg.Wait()
	for i, c := range checks {
		switch {
		case errs[i] != nil && a.err == nil:
			a.err = fmt.Errorf("%s: %w", c, errs[i])
		case passed[i] != c.pass:
			a.wrong = append(a.wrong, c.String()+map[bool]string{true: " was answered", false: " was not answered"}[passed[i]])
		}
	}
}

func (a *attempt) passes(c check) (bool, error) {
	conn, err := a.knock(c)
	if conn == nil || err != nil {
		return false, err
	}
	return true, conn.Close()
}

// open opens a connection that should be answered.
func (a *attempt) open(c check) *knock.Conn {
	var conn *knock.Conn
	for try := 0; conn == nil && a.err == nil && try < tries; try++ {
		conn, a.err = a.knock(c)
	}
	if conn == nil {
		a.wrong = append(a.wrong, c.String()+" was not answered")
		return &knock.Conn{}
	}
	return conn
}

// push sends from the far end of a connection, which should arrive.
func (a *attempt) push(conn *knock.Conn, c check) {
	if a.err != nil || len(a.wrong) > 0 {
		return
	}
	ok := false
	for try := 0; !ok && a.err == nil && try < tries; try++ {
		ok, a.err = conn.Push(a.ctx)
	}
	if !ok {
		a.wrong = append(a.wrong, c.String()+": what the far end sends does not arrive any more")
	}
}

// settled waits until packets arrive: an address of IPv6 takes a moment until it is of use.
func (a *attempt) settled() error {
	var checks []check
	for _, protocol := range []uint8{tcp, udp} {
		checks = slices.Concat(checks, a.each(protocol, portP, true), reversed(a.each(protocol, portP, true)))
	}
	for deadline := time.Now().Add(settleTime); ; {
		if a.expect(checks); a.err != nil || len(a.wrong) == 0 {
			return a.err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("packets do not arrive without any rule: %s", a.wrong[0])
		}
		a.wrong = nil
	}
}

// settleTime is how long that may take.
const settleTime = 15 * time.Second

// finding is what the attempt came to.
func (a *attempt) finding(t trial) Finding {
	f := Finding{Name: t.name, Text: t.text, Outcome: Proven}
	switch {
	case a.err != nil:
		f.Outcome, f.Detail = NotTried, a.err.Error()
	case len(a.wrong) > 0:
		f.Outcome, f.Detail = False, a.wrong[0]
	}
	return f
}
