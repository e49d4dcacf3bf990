package linux

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/policy"
)

// lives is a cluster in which the client has connections to the server at TCP 80 (by its label), TCP 81 (by its address, in a network set) and
// UDP 80, and may not open any to 82. Port 9 is refused by a tier whose default is Pass.
const lives = `A client and a server
The resources, edited, are those of every change.
-- cluster --
pod a/client role=client ip:10.65.0.1 ip:fd00:65::1
pod a/server app=server ip:10.65.0.2 ip:fd00:65::2
-- resources.yaml --
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: trusted, labels: {trusted: "yes"}}, spec: {nets: [10.65.0.1/32, "fd00:65::1/128"]}}
---
{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: soft}, spec: {order: 1, defaultAction: Pass}}
---
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: soft}, spec: {tier: soft, selector: app == "server", ingress: [{action: Deny, protocol: TCP, destination: {ports: [9]}}]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: server}
spec:
  selector: app == "server"
  ingress:
  - {action: Allow, protocol: TCP, source: {selector: role == "client"}, destination: {ports: [80]}}
  - {action: Allow, protocol: UDP, source: {selector: role == "client"}, destination: {ports: [80]}}
  - {action: Allow, protocol: TCP, source: {selector: trusted == "yes"}, destination: {ports: [81]}}
-- flows --
pod/a/client -> pod/a/server TCP 80,81 : Allow
`

// change is something that happens while the connections stand.
type change struct {
	edits  []string           // of lives, as for strings.NewReplacer
	does   func(o *operation) // besides the edit; nil: apply it
	fate   fate               // of the connections that stood
	opened []int              // of TCP 80, 81 and 82, those that can be opened afterwards
}

var kindsOfChange = map[string]change{
	"nothing":        {opened: []int{80, 81}},
	"policy added":   {edits: []string{"-- flows", denyAll + "-- flows"}},
	"policy removed": {edits: []string{`selector: app == "server"` + "\n", `selector: app == "nobody"` + "\n"}, opened: []int{80, 81, 82}},
	"policy changed": {edits: []string{"ports: [80]", "ports: [82]"}, opened: []int{81, 82}},
	"policy unreadable": {edits: []string{`{action: Allow, protocol: TCP, source: {selector: role == "client"}`,
		`{action: Deny, protocol: TCP, source: {selector: role = "client"}`}},
	"label of the client changed": {edits: []string{"role=client", "role=other"}, opened: []int{81}},
	"label of the server changed": {edits: []string{"app=server", "app=other"}, opened: []int{80, 81, 82}},
	"set member removed":          {edits: []string{"10.65.0.1/32", "10.65.0.9/32", "fd00:65::1/128", "fd00:65::9/128"}, opened: []int{80}},
	"label of the set changed":    {edits: []string{`trusted: "yes"`, `trusted: "no"`}, opened: []int{80}},
	"tier default changed":        {edits: []string{"defaultAction: Pass", "defaultAction: Deny"}},
	"tier after the other":        {edits: []string{"order: 1, defaultAction: Pass", "order: 9000000, defaultAction: Deny"}, opened: []int{80, 81}},
	"egress of the client closed": {edits: []string{"-- flows", strings.Replace(denyAll, "app == \"server\", ingress", "role == \"client\", egress", 1) + "-- flows"}},
	"driver restarted":            {does: (*operation).restart, opened: []int{80, 81}},
	"drift repaired":              {does: (*operation).damage, opened: []int{80, 81}},
	"server deleted":              {edits: []string{"pod a/server", "#"}, fate: cut},
	"server restarted":            {does: (*operation).replug, fate: renewed, opened: []int{80, 81}},
	"address reused":              {edits: []string{"pod a/server app=server", "pod a/heir app=heir"}, does: (*operation).inherit, fate: cut},
}

// fate is what becomes of a connection.
type fate uint8

const (
	goesOn  fate = iota
	cut          // its packets reach nobody: were one refused, it would have reached whoever has the address now
	renewed      // its packets are judged like new ones, and so may reach whoever has the address now, who knows no such connection
)

const denyAll = `---
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: shut}, spec: {order: 1, selector: app == "server", ingress: [{action: Deny}]}}
`

// TestEstablishedConnections goes through the kinds of change, with connections of both families that stood before: a change of policy leaves
// them alone and decides about new ones; when an endpoint goes, or its interface, or somebody else gets its address, nothing is left of them.
func TestEstablishedConnections(t *testing.T) {
	for _, backend := range backends {
		for name, c := range kindsOfChange {
			t.Run(backend+"/"+name, func(t *testing.T) {
				t.Parallel()
				o := begin(t, backend)
				standing := o.connect()
				o.text = strings.NewReplacer(c.edits...).Replace(lives)
				if c.does == nil {
					c.does = (*operation).apply
				}
				c.does(o)
				o.check(standing, c)
			})
		}
	}
}

// operation is a host on which the client and the server live.
type operation struct {
	*lab
	t        *testing.T
	backend  string
	driver   *Dataplane
	resolver *policy.Resolver
	text     string // of the case that is to be in force
	objects  map[v3.Key]v3.Object
}

var serverAddrs = []string{"10.65.0.2", "fd00:65::2"}

func begin(t *testing.T, backend string) *operation {
	t.Helper()
	o := &operation{lab: newLab(t), t: t, backend: backend, text: lives, objects: map[v3.Key]v3.Object{}}
	o.pod("client", dptest.InterfaceName("a", "client"), "10.65.0.1", "fd00:65::1")
	o.server("server", dptest.InterfaceName("a", "server"))
	o.driver = o.open(backend)
	o.resolver = policy.NewResolver(policy.Options{Node: "n1", Host: dptest.Options{}.Host("n1")})
	o.apply()
	return o
}

// server makes a pod that answers at the server's addresses.
func (o *operation) server(name, iface string) {
	o.t.Helper()
	o.pod(name, iface, serverAddrs...)
	for _, port := range []int{80, 81, 82} {
		o.listen(name, port)
	}
	must(o.t, o.in(name, func() error {
		c, err := net.ListenPacket("udp", ":80")
		if err != nil {
			return err
		}
		o.t.Cleanup(func() { c.Close() })
		go func() {
			buf := make([]byte, 64)
			for {
				n, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = c.WriteTo(buf[:n], from)
			}
		}()
		return nil
	}))
}

// apply puts the text in force, by way of the resolver.
func (o *operation) apply() {
	o.t.Helper()
	o.update()
	s, changes := o.resolver.Flush()
	apply(o.t, o.driver, s, changes)
}

func (o *operation) update() {
	o.t.Helper()
	text, _, _ := strings.Cut(o.text, "-- flows")
	c, err := dptest.ParseCase("lives", []byte(text+"-- flows --\npod/a/client -> 192.0.2.9 TCP 80 : Allow\n"), os.ReadFile)
	must(o.t, err)
	now := map[v3.Key]v3.Object{}
	for _, obj := range c.Objects {
		now[v3.KeyOf(obj)] = obj
	}
	for key := range o.objects {
		if now[key] == nil {
			o.resolver.Update(key, nil)
		}
	}
	for key, obj := range now {
		if !reflect.DeepEqual(obj, o.objects[key]) {
			o.resolver.Update(key, obj)
		}
	}
	o.objects = maps.Clone(now)
}

func (o *operation) restart() {
	must(o.t, o.driver.Close())
	o.driver = o.open(o.backend)
	s, _ := o.resolver.Flush()
	apply(o.t, o.driver, s, nil)
}

// damage takes the server's rules and the set's members away, and lets the driver notice.
func (o *operation) damage() {
	for _, program := range []string{"iptables-", "ip6tables-"} {
		o.run(program+o.backend, "-F", endpointChain(dataplane.Ingress, dptest.InterfaceName("a", "server")))
	}
	s, _ := o.resolver.Flush()
	for id := range s.IPSets {
		o.run("ipset", "flush", "felid4-"+string(id))
	}
	drifted, err := o.driver.CheckDrift(context.Background())
	must(o.t, err)
	if !drifted {
		o.t.Error("the damage is not noticed")
	}
	if res := apply(o.t, o.driver, s, dataplane.NewChanges()); res.Stats.Repairs == 0 {
		o.t.Error("nothing was repaired")
	}
}

// replug gives the server a new sandbox, with another interface and the same addresses, as a restart of the pod does.
func (o *operation) replug() {
	o.run("ip", "link", "del", dptest.InterfaceName("a", "server"))
	o.server("again", "fldagain")
	for key, obj := range o.objects {
		if e, ok := obj.(*v3.WorkloadEndpoint); ok && e.Spec.Pod == "server" {
			e = e.Copy().(*v3.WorkloadEndpoint)
			e.Spec.InterfaceName = "fldagain"
			o.resolver.Update(key, e)
		}
	}
	s, changes := o.resolver.Flush()
	apply(o.t, o.driver, s, changes)
}

// inherit gives the server's addresses to another pod, which nobody may reach, in the same breath as the server goes.
func (o *operation) inherit() {
	o.text = strings.Replace(o.text, "-- flows", strings.Replace(denyAll, `app == "server"`, `app == "heir"`, 1)+"-- flows", 1)
	o.run("ip", "link", "del", dptest.InterfaceName("a", "server"))
	o.server("heir", dptest.InterfaceName("a", "heir"))
	o.apply()
}

// connect opens what may be opened, in both families, and sees that 82 is closed.
func (o *operation) connect() map[string]net.Conn {
	o.t.Helper()
	standing := map[string]net.Conn{}
	for _, a := range serverAddrs {
		for _, port := range []int{80, 81} {
			c, err := o.dial("client", "", a, port, patience)
			must(o.t, err)
			standing[fmt.Sprintf("%s TCP %d", a, port)] = c
		}
		standing[a+" UDP 80"] = o.udp(a)
	}
	return standing
}

func (o *operation) udp(to string) net.Conn {
	o.t.Helper()
	var c net.Conn
	must(o.t, o.in("client", func() (err error) {
		c, err = (&net.Dialer{}).DialContext(context.Background(), "udp", net.JoinHostPort(to, "80"))
		return err
	}))
	o.t.Cleanup(func() { c.Close() })
	must(o.t, say(c, patience))
	return c
}

// check tries all that stood and all that may be opened, at once, because each refusal takes its time.
func (o *operation) check(standing map[string]net.Conn, c change) {
	o.t.Helper()
	var all sync.WaitGroup
	for name, conn := range standing {
		all.Go(func() { o.checkStanding(name, conn, c.fate) })
	}
	opened := map[int]bool{}
	for _, port := range c.opened {
		opened[port] = true
	}
	for _, a := range serverAddrs {
		for _, port := range []int{80, 81, 82} {
			want := dataplane.Deny
			if opened[port] {
				want = dataplane.Allow
			}
			all.Go(func() { o.expect(want, "client", a, port) })
		}
	}
	all.Wait()
}

// checkStanding says something on a connection.
func (o *operation) checkStanding(name string, conn net.Conn, want fate) {
	wait := patience
	if want != goesOn {
		wait = denied
	}
	err := say(conn, wait)
	var timeout net.Error
	silent := errors.As(err, &timeout) && timeout.Timeout()
	switch {
	case want == goesOn && err != nil:
		o.t.Errorf("%s was cut: %v", name, err)
	case want == cut && !silent:
		o.t.Errorf("%s: %v, want silence", name, err)
	case want == renewed && err == nil && strings.Contains(name, "TCP"):
		o.t.Errorf("%s goes on", name)
	}
}

// TestHairpin: what a pod sends to its own service comes back to it, with its address translated before policy and its source masqueraded
// after it. Policy sees the pod at both ends; the answer finds its way back.
func TestHairpin(t *testing.T) {
	const to = "source: {selector: role == \"client\"}"
	for _, backend := range backends {
		for name, allows := range map[string]bool{"allowed": true, "denied": false} {
			t.Run(backend+"/"+name, func(t *testing.T) {
				t.Parallel()
				o := begin(t, backend)
				if allows { // the server's policy names those with the server's own label
					o.text = strings.ReplaceAll(o.text, to, "source: {selector: app == \"server\"}")
					o.apply()
				}
				o.service("10.96.0.1", "10.65.0.2", "iptables-"+backend)
				o.service("fd00:96::1", "fd00:65::2", "ip6tables-"+backend)
				want := dataplane.Deny
				if allows {
					want = dataplane.Allow
				}
				for _, service := range []string{"10.96.0.1", "fd00:96::1"} {
					o.expect(want, "server", service, 8000)
				}
			})
		}
	}
}

// service is port 8000 of an address, translated to port 80 of a pod as kube-proxy does: what comes from that very pod is masqueraded.
func (o *operation) service(address, pod, program string) {
	o.t.Helper()
	o.run(program, "-t", "nat", "-A", "PREROUTING", "-d", address, "-p", "tcp", "--dport", "8000", "-j", "DNAT", "--to-destination", net.JoinHostPort(pod, "80"))
	o.run(program, "-t", "nat", "-A", "POSTROUTING", "-s", pod, "-d", pod, "-j", "MASQUERADE")
}
