package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// attempt is one go at a trial. After an error nothing more is done.
type attempt struct {
	*session
	trial trial
	err   error
	wrong []string // what did not go as assumed
	leaks int      // how many of these were answered, and should not have been
	lists [2]string
}

func (a *attempt) skip(format string, args ...any) {
	if a.err == nil {
		a.err = errSkip{fmt.Sprintf(format, args...)}
	}
}

func (a *attempt) fault(format string, args ...any) {
	if a.err == nil {
		a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
	}
}

// named gives each ACL an ID, and the type Switch where it has none.
func (a *attempt) named(acls []hns.ACL) []hns.ACL {
	acls = slices.Clone(acls)
	for i := range acls {
		acls[i].ID = fmt.Sprintf("%s/%s/%d", mark, a.trial.of, i)
		if acls[i].RuleType == "" {
			acls[i].RuleType = hns.Switch
		}
	}
	return acls
}

// write writes the whole list of an end, and gives back what HNS says.
func (a *attempt) write(e *end, acls []hns.ACL) error {
	var raw []json.RawMessage
	for _, acl := range a.named(acls) {
		raw = append(raw, acl.Raw())
	}
	return a.HNS.PutACLs(e.id, raw)
}

// put writes the whole list of an end, which is to be taken.
func (a *attempt) put(e *end, acls ...hns.ACL) {
	if a.err != nil {
		return
	}
	a.err = a.write(e, acls)
	a.lists[slices.Index(a.site.ends, e)] = text(acls)
}

// both writes the lists of both ends.
func (a *attempt) both(atA, atB []hns.ACL) {
	a.put(a.a, atA...)
	a.put(a.b, atB...)
}

// inAtB has these rules judge what B gets; all else is allowed.
func (a *attempt) inAtB(acls ...hns.ACL) {
	a.both(opened, slices.Concat(pair, acls, []hns.ACL{allow(hns.Out, 3000)}))
}

// outAtA has these rules judge what A sends; all else is allowed.
func (a *attempt) outAtA(acls ...hns.ACL) {
	a.both(slices.Concat(pair, acls, []hns.ACL{allow(hns.In, 3000)}), opened)
}

func (a *attempt) putSets(added, changed []hns.Set) {
	if a.err == nil {
		a.err = a.HNS.PutSets(a.site.network, added, changed)
	}
}

// wait gives lists time to come into force, on a node that needs it.
func (a *attempt) wait() {
	if a.err != nil || !a.slow {
		return
	}
	if _, a.err = a.HNS.Version(); a.err != nil {
		return
	}
	select {
	case <-time.After(a.Settle):
	case <-a.ctx.Done():
		a.err = a.ctx.Err()
	}
}

// check is a connection and whether it should be answered.
type check struct {
	from, to End
	protocol uint8
	port     uint16
	pass     bool
}

func (c check) String() string {
	name := map[uint8]string{tcp: "TCP", udp: "UDP"}[c.protocol]
	from := c.from.Address.String()
	if c.from.Endpoint == "" {
		from = "the host"
	}
	return fmt.Sprintf("%s from %s to %s port %d", name, from, c.to.Address, c.port)
}

// expect makes connections beside each other, and notes those that do not fare as they should.
func (a *attempt) expect(checks ...check) {
	a.wait()
	if a.err != nil {
		return
	}
	passed, errs := make([]bool, len(checks)), make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { passed[i], errs[i] = a.passes(c) })
	}
	wg.Wait()
	for i, c := range checks {
		switch {
		case errs[i] != nil && a.err == nil:
			a.err = fmt.Errorf("%s: %w", c, errs[i])
		case passed[i] != c.pass:
			if passed[i] {
				a.leaks++
			}
			a.fault("%s %s; ACLs of A: %s; of B: %s", c, map[bool]string{true: "was answered", false: "was not answered"}[passed[i]], a.lists[0], a.lists[1])
		}
	}
}

func (a *attempt) passes(c check) (bool, error) {
	conn, err := a.Packets.Open(a.ctx, c.from, c.to, c.protocol, c.port)
	if conn == nil || err != nil {
		return false, err
	}
	return true, conn.Close()
}

// open opens a connection that should be answered.
func (a *attempt) open(c check) Conn {
	a.wait()
	if a.err != nil {
		return closedConn{}
	}
	conn, err := a.Packets.Open(a.ctx, c.from, c.to, c.protocol, c.port)
	a.err = err
	if conn == nil {
		a.fault("%s was not answered", c)
		return closedConn{}
	}
	return conn
}

// closedConn stands for one that could not be opened.
type closedConn struct{}

func (closedConn) Push(context.Context) (bool, error) { return false, nil }
func (closedConn) Close() error                       { return nil }

// push sends from the far end of a connection, which should arrive.
func (a *attempt) push(c Conn, when string) {
	a.wait()
	if a.err != nil {
		return
	}
	ok, err := c.Push(a.ctx)
	a.err = err
	if !ok {
		a.fault("what the far end of a connection sends does not arrive %s", when)
	}
}

// The directions of checks: from A to B, and back, by IPv4 unless said otherwise.
func (a *attempt) ab(protocol uint8, port uint16, pass bool) check {
	return check{a.a.at(4), a.b.at(4), protocol, port, pass}
}

func (a *attempt) ab6(protocol uint8, port uint16, pass bool) check {
	return check{a.a.at(6), a.b.at(6), protocol, port, pass}
}

func (a *attempt) ba(protocol uint8, port uint16, pass bool) check {
	return check{a.b.at(4), a.a.at(4), protocol, port, pass}
}

// each is a check of TCP and UDP, of each family that there is.
func (a *attempt) each(port uint16, pass bool) []check {
	out := []check{a.ab(tcp, port, pass), a.ab(udp, port, pass)}
	if a.site.dual {
		out = append(out, a.ab6(tcp, port, pass), a.ab6(udp, port, pass))
	}
	return out
}

const (
	tcp = 6
	udp = 17
)

// The same, as rules name them.
const (
	protoTCP = "6"
	protoUDP = "17"
)

func allow(d hns.Direction, priority uint16) hns.ACL {
	return hns.ACL{Action: hns.Allow, Direction: d, Priority: priority}
}

func block(d hns.Direction, priority uint16) hns.ACL {
	return hns.ACL{Action: hns.Block, Direction: d, Priority: priority}
}

// pair lets everything through the layer of the host's compartment, as every list of the renderer's does.
var pair = []hns.ACL{{Action: hns.Allow, Direction: hns.In, RuleType: hns.Host}, {Action: hns.Allow, Direction: hns.Out, RuleType: hns.Host}}

// opened lets everything through, shut nothing.
var (
	opened = slices.Concat(pair, []hns.ACL{allow(hns.In, 3000), allow(hns.Out, 3000)})
	shut   = slices.Concat(pair, []hns.ACL{block(hns.In, 3000), block(hns.Out, 3000)})
)

// text is a list for people, without the pair.
func text(acls []hns.ACL) string {
	var out []string
	for _, a := range acls {
		if a.RuleType == hns.Host {
			continue
		}
		s := fmt.Sprintf("%d %s %s", a.Priority, a.Action, a.Direction)
		for _, f := range []struct{ name, value string }{
			{"protocols", a.Protocols}, {"local", a.LocalAddresses}, {"remote", a.RemoteAddresses}, {"local ports", a.LocalPorts}, {"remote ports", a.RemotePorts},
		} {
			if f.value != "" {
				s += " " + f.name + " " + f.value
			}
		}
		out = append(out, s)
	}
	return "[" + strings.Join(out, "; ") + "]"
}
