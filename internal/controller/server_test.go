package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/kube"
	"github.com/felid-net/felid/ipam"
	"github.com/felid-net/felid/test/kubernetes"
)

func TestMain(m *testing.M) { os.Exit(kubernetes.Main(m)) }

// cluster is a real API server with felid's CRDs, roles and admission policies, as they are installed.
type cluster struct {
	t      *testing.T
	server *kubernetes.Server
	store  *kube.Store // the administrator's
}

func newCluster(t *testing.T) *cluster { return clusterOn(t, kubernetes.Shared(t)) }

func clusterOn(t *testing.T, server *kubernetes.Server) *cluster {
	t.Helper()
	c := &cluster{t: t, server: server}
	c.server.InstallCRDs(t)
	deploy := filepath.Join("..", "..", "deploy")
	c.server.Apply(t, filepath.Join(deploy, "namespace.yaml"))
	c.server.Apply(t, filepath.Join(deploy, "rbac-controller.yaml"), filepath.Join(deploy, "rbac-node.yaml"), filepath.Join(deploy, "policies"))
	c.store = c.open(c.server.Config)
	return c
}

// open opens the datastore as somebody.
func (c *cluster) open(config *rest.Config) *kube.Store {
	c.t.Helper()
	s, err := kube.Open(kube.Options{Config: config, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			c.t.Error(err)
		}
	})
	return s
}

func (c *cluster) controller() *kube.Store {
	return c.open(c.server.As("system:serviceaccount:felid-system:felid-controller", nil))
}

// agent is the datastore as the agent of a node has it.
func (c *cluster) agent(node string) *kube.Store {
	return c.open(c.server.As("system:serviceaccount:felid-system:felid-node", map[string][]string{"authentication.kubernetes.io/node-name": {node}}))
}

// apply writes YAML.
func (c *cluster) apply(text string) {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.server.Apply(c.t, file)
}

// start runs a controller until the returned function is called.
func (c *cluster) start(s *Service) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			c.t.Error(err)
		}
	}
	c.t.Cleanup(stop)
	return stop
}

// eventually waits until a condition holds.
func eventually(t *testing.T, within time.Duration, holds func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %v", within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

const patience = 30 * time.Second

// read reads an object.
func read[T v3.Object](c *cluster, kind v3.Kind, name string) (T, error) {
	o, err := c.store.Get(c.t.Context(), v3.Key{Kind: kind, Name: name})
	if err != nil {
		var none T
		return none, err
	}
	return o.(T), nil
}

// condition says whether a list has a condition, "TYPE STATUS REASON".
func hasCondition(o *v3.IPPool, want string) error {
	for _, c := range o.Status.Conditions {
		if fmt.Sprint(c.Type, " ", c.Status, " ", c.Reason) == want {
			return nil
		}
	}
	return fmt.Errorf("%s: %+v; want %s", v3.KeyOf(o), o.Status.Conditions, want)
}

const twoNodes = `
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {zone: a}}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: default}
`

const settingsOfUsers = `
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: mine}
spec: {order: 50}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: p}
spec: {tier: mine, selector: all()}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: first}
spec: {cidr: 10.77.0.0/29, blockSize: 31}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: disabled}
spec: {cidr: 10.78.0.0/24, disabled: true}
`

const alivePod = `
apiVersion: v1
kind: Pod
metadata: {name: alive, namespace: default}
spec:
  nodeName: n1
  automountServiceAccountToken: false
  containers: [{name: c, image: none}]
`

// TestTwoControllersAtOnce lets two controllers work at the same time, each believing to lead, while users and nodes write, and looks at the end.
func TestTwoControllersAtOnce(t *testing.T) {
	c := newCluster(t)
	c.apply(twoNodes)
	settings := Settings{Status: true, Owner: true, AutoHostEndpoints: "Enabled", LeakGracePeriod: 3 * time.Second, claimSettles: 5 * time.Second}
	for i := range 2 {
		c.start(&Service{Store: c.controller(), Settings: settings, Name: fmt.Sprint("c", i), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	}
	c.apply(settingsOfUsers)
	c.apply(alivePod)
	n1 := ipam.New(c.agent("n1"), "n1", ipam.Options{Handover: true})
	assignTo(t, n1, "alive")
	assignTo(t, n1, "gone")

	eventually(t, patience, func() error { return c.tierIs("mine", 1, true) })
	for _, name := range builtin {
		eventually(t, patience, func() error { return c.tierIs(name, 0, false) })
	}
	eventually(t, patience, func() error { return c.poolIs("first", "Allocatable True OK", true) })
	eventually(t, patience, func() error { return c.poolIs("disabled", "Allocatable False PoolDisabled", false) })
	for _, node := range []string{"n1", "n2"} {
		eventually(t, patience, func() error {
			h, err := read[*v3.HostEndpoint](c, v3.KindHostEndpoint, node+"-auto-hep")
			if err == nil && (h.Spec.Node != node || node == "n1" && h.Labels["zone"] != "a") {
				err = fmt.Errorf("%+v, labels %v", h.Spec, h.Labels)
			}
			return err
		})
	}
	eventually(t, patience, func() error { return c.heldAre("alive") })
	c.staysAsItIs(3 * time.Second)
	c.goesAgain(n1)
}

// goesAgain takes away what was in use, and proves that it then goes.
func (c *cluster) goesAgain(n1 *ipam.Allocator) {
	t := c.t
	if out, err := c.deleteTier("mine"); err == nil {
		t.Errorf("a tier in use was deleted: %s", out)
	}
	c.server.Kubectl(t, "delete", "globalnetworkpolicy", "p")
	eventually(t, patience, func() error { return c.tierIs("mine", 0, false) })
	if out, err := c.deleteTier("mine"); err != nil {
		t.Errorf("an empty tier: %v: %s", err, out)
	}
	c.server.Kubectl(t, "delete", "ippool", "first", "--wait=false")
	eventually(t, patience, func() error { return c.poolIs("first", "Allocatable False Terminating", true) })
	c.server.Kubectl(t, "delete", "pod", "alive", "--grace-period=0", "--force")
	if _, err := n1.Release(t.Context(), "alive"); err != nil {
		t.Fatal(err)
	}
	c.server.Kubectl(t, "delete", "node", "n1", "n2")
	for _, kind := range []v3.Kind{v3.KindIPAMBlock, v3.KindHostEndpoint} {
		eventually(t, patience, func() error { return c.empty(kind) })
	}
	eventually(t, patience, func() error { return c.empty(v3.KindBlockAffinity) })
	eventually(t, patience, func() error {
		if _, err := read[*v3.IPPool](c, v3.KindIPPool, "first"); !errors.Is(err, datastore.ErrNotFound) {
			return fmt.Errorf("pool first: %w", err)
		}
		return nil
	})
	c.server.Kubectl(t, "delete", "ippool", "disabled")
}

func (c *cluster) deleteTier(name string) (string, error) {
	err := c.store.Delete(c.t.Context(), tierKey(name), "")
	if err != nil {
		return err.Error(), err
	}
	return "", nil
}

func assignTo(t *testing.T, a *ipam.Allocator, pod string) {
	t.Helper()
	attrs := map[string]string{ipam.AttrPod: pod, ipam.AttrNamespace: "default", ipam.AttrInterface: "eth0"}
	eventually(t, patience, func() error { // the pool may be new to the allocator
		_, err := a.Assign(t.Context(), ipam.Request{Handle: pod, IPv4: true, Attrs: attrs})
		return err
	})
}

func (c *cluster) tierIs(name string, policies int, held bool) error {
	tier, err := read[*v3.Tier](c, v3.KindTier, name)
	if err == nil && (tier.Status.Policies != policies || (len(tier.Finalizers) > 0) != held || len(tier.Status.Conditions) == 0) {
		err = fmt.Errorf("tier %s: finalizers %v, status %+v; want %d policies, held: %v", name, tier.Finalizers, tier.Status, policies, held)
	}
	return err
}

func (c *cluster) poolIs(name, condition string, held bool) error {
	pool, err := read[*v3.IPPool](c, v3.KindIPPool, name)
	if err == nil && (len(pool.Finalizers) > 0) != held {
		err = fmt.Errorf("pool %s: finalizers %v; want held: %v", name, pool.Finalizers, held)
	}
	if err != nil {
		return err
	}
	return hasCondition(pool, condition)
}

// heldAre compares the handles that addresses are held under.
func (c *cluster) heldAre(want string) error {
	list, err := c.store.List(c.t.Context(), v3.KindIPAMBlock, "")
	if err != nil {
		return err
	}
	got := ""
	for _, o := range list.Objects {
		b, err := ipam.ReadBlock(o.(*v3.IPAMBlock))
		if err != nil {
			return err
		}
		for _, a := range b.Allocations() {
			got += a.Handle
		}
	}
	if got != want {
		return fmt.Errorf("held are %q; want %q", got, want)
	}
	return nil
}

// empty says what there still is of a kind. (A Store would doubt it.)
func (c *cluster) empty(kind v3.Kind) error {
	if left := c.server.Kubectl(c.t, "get", string(kind), "-o", "name"); strings.TrimSpace(left) != "" {
		return fmt.Errorf("there is still %s", left)
	}
	return nil
}

// staysAsItIs proves that nothing is written any more.
func (c *cluster) staysAsItIs(d time.Duration) {
	c.t.Helper()
	before := c.revisions()
	time.Sleep(d)
	for key, revision := range c.revisions() {
		if before[key] != revision {
			c.t.Errorf("%s is still being written", key)
		}
	}
}

func (c *cluster) revisions() map[v3.Key]string {
	c.t.Helper()
	out := map[v3.Key]string{}
	for _, kind := range []v3.Kind{v3.KindTier, v3.KindIPPool, v3.KindHostEndpoint, v3.KindIPAMBlock, v3.KindBlockAffinity, v3.KindGlobalNetworkPolicy} {
		list, err := c.store.List(c.t.Context(), kind, "")
		if err != nil {
			c.t.Fatal(err)
		}
		for _, o := range list.Objects {
			out[v3.KeyOf(o)] = o.GetResourceVersion()
		}
	}
	return out
}

// TestNodesAskForBlocksOnARealServer: an agent that may write nothing but its own gets a block of another node.
func TestNodesAskForBlocksOnARealServer(t *testing.T) {
	c := newCluster(t)
	c.apply("apiVersion: v1\nkind: Node\nmetadata: {name: m1}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: m2}\n---\n" +
		"apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: small}\nspec: {cidr: 10.79.0.0/31, blockSize: 31}\n")
	stop := c.start(&Service{Store: c.controller(), Settings: Settings{Status: true, Owner: true, AutoHostEndpoints: "Disabled"}, Name: "c", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	defer stop()
	one, two := ipam.New(c.agent("m1"), "m1", ipam.Options{Handover: true}), ipam.New(c.agent("m2"), "m2", ipam.Options{Handover: true})
	assignTo(t, one, "a")
	c.ageBlocks()
	answer := make(chan error, 1)
	go func() {
		_, err := two.Assign(t.Context(), ipam.Request{Handle: "b", IPv4: true})
		answer <- err
	}()
	eventually(t, patience, func() error {
		_, err := read[*v3.BlockAffinity](c, v3.KindBlockAffinity, "m2-10-79-0-0-31.wanted")
		return err
	})
	if _, err := one.Release(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("after %s; want a second", took)
	} else {
		t.Logf("a block was handed over, and an address taken from it, within %s", took)
	}
	if _, err := two.Release(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	c.server.Kubectl(t, "delete", "ippool", "small")
	c.server.Kubectl(t, "delete", "node", "m1", "m2")
}

// ageBlocks makes blocks be those of their nodes for long, so that they may be handed over.
func (c *cluster) ageBlocks() {
	c.t.Helper()
	list, err := c.store.List(c.t.Context(), v3.KindIPAMBlock, "")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, o := range list.Objects {
		b := o.Copy().(*v3.IPAMBlock)
		b.Spec.AffinityClaimTime.Time = b.Spec.AffinityClaimTime.Add(-time.Hour)
		if _, err := c.store.Update(c.t.Context(), b); err != nil {
			c.t.Fatal(err)
		}
	}
}

// TestElectionOnARealServer: of two one works, and the other at once after it has ended.
func TestElectionOnARealServer(t *testing.T) {
	c := newCluster(t)
	var stops []func()
	for i := range 2 {
		store := c.controller()
		stops = append(stops, c.start(&Service{
			Store: store, Lease: store.Lease("felid-system", "felid-controller"), Name: fmt.Sprint("c", i), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
			Settings: Settings{Status: true, AutoHostEndpoints: "Disabled"},
		}))
	}
	lease := c.store.Lease("felid-system", "felid-controller")
	var first datastore.Lease
	eventually(t, patience, func() (err error) {
		if first, err = lease.ReadLease(t.Context()); err == nil && first.Holder == "" {
			err = errors.New("nobody leads")
		}
		return err
	})
	stale := first
	stale.Revision = "1"
	if _, err := lease.WriteLease(t.Context(), stale); !errors.Is(err, datastore.ErrConflict) {
		t.Errorf("writing an outdated lease: %v; want ErrConflict", err)
	}
	stale.Revision = ""
	if _, err := lease.WriteLease(t.Context(), stale); !errors.Is(err, datastore.ErrConflict) {
		t.Errorf("creating it again: %v; want ErrConflict", err)
	}
	if _, err := c.store.Lease("felid-system", "nothing").ReadLease(t.Context()); !errors.Is(err, datastore.ErrNotFound) {
		t.Errorf("reading one that is not there: %v; want ErrNotFound", err)
	}
	stops[first.Holder[1]-'0']()
	eventually(t, 2*retryPeriod+time.Second, func() error {
		now, err := lease.ReadLease(t.Context())
		if err == nil && (now.Holder == "" || now.Holder == first.Holder) {
			err = fmt.Errorf("%q leads", now.Holder)
		}
		return err
	})
}

// TestOutage: while the API server is away nobody leads, and afterwards one does what there is to do.
func TestOutage(t *testing.T) {
	c := clusterOn(t, kubernetes.Start(t, kubernetes.Options{}))
	var services []*Service
	text := &logText{}
	for i := range 2 {
		store := c.controller()
		services = append(services, &Service{
			Store: store, Lease: store.Lease("felid-system", "felid-controller"), Name: fmt.Sprint("c", i), Log: slog.New(slog.NewTextHandler(text, nil)),
			Settings: Settings{Status: true, Owner: true, AutoHostEndpoints: "Enabled"},
		})
		c.start(services[i])
	}
	leaders := func(want int) func() error {
		return func() error {
			n := 0
			for _, s := range services {
				n += int(number(s.inSync.Load()))
			}
			if n != want {
				return fmt.Errorf("%d controllers lead and are in sync; want %d", n, want)
			}
			return nil
		}
	}
	eventually(t, patience, leaders(1))
	text.lines("")
	c.server.Kill()
	eventually(t, patience, leaders(0))
	if err := c.server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, leaders(1))
	// Each controller tells of a cause once: of a server that can't be reached, and of one that has just started and permits nothing yet.
	told := map[string]int{}
	for _, line := range text.lines("level=WARN") {
		_, what, _ := strings.Cut(line, "level=WARN")
		if told[what]++; told[what] > len(services) {
			t.Errorf("%d times for one outage: %s", told[what], what)
		}
	}
	if len(told) > 6 {
		t.Errorf("%d causes told of for one outage: %v", len(told), told)
	}
	c.apply(twoNodes)
	eventually(t, patience, func() error {
		_, err := read[*v3.HostEndpoint](c, v3.KindHostEndpoint, "n2-auto-hep")
		return err
	})
}
