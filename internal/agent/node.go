package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni/server"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/ipam"
	"github.com/felid-net/felid/policy/selector"
)

// HostOf is what the configuration says of this host.
func HostOf(c *config.Config) dataplane.Host {
	h := dataplane.Host{
		Node: dataplane.NodeName(c.Node), Owner: c.Network == "owner", InterfacePrefix: c.InterfacePrefix,
		IPv6: c.IPv6, MTU: c.MTU, WorkloadToHost: dataplane.Pass,
	}
	switch c.HostToWorkload {
	case "Policy":
		h.HostToWorkload = dataplane.HostToWorkloadPolicy
	case "ProbePorts":
		h.HostToWorkload = dataplane.HostToWorkloadProbePorts
	}
	h.FailsafeInbound, h.FailsafeOutbound = failsafes(c.FailsafeInbound), failsafes(c.FailsafeOutbound)
	switch c.WorkloadToHost {
	case "Allow":
		h.WorkloadToHost = dataplane.Allow
	case "Deny":
		h.WorkloadToHost = dataplane.Deny
	}
	return h
}

// failsafes are the ports that a validated configuration names.
func failsafes(text string) []dataplane.Failsafe {
	ports, err := config.HostPorts(text)
	if err != nil {
		panic("agent: the configuration was not validated: " + err.Error())
	}
	out := make([]dataplane.Failsafe, len(ports))
	for i, p := range ports {
		out[i] = dataplane.Failsafe(p)
	}
	return out
}

// RunNode runs everything that a node needs until ctx ends: the loop, the CNI server once the loop is ready, the plugin's installation, health and
// metrics. The rules stay in place after it.
func RunNode(ctx context.Context, c *config.Config, store datastore.Store, dp dataplane.Dataplane, log *slog.Logger) error {
	cut := c.PolicyChangeAction == "CutDenied"
	if _, able := dp.(Cutter); cut && !able {
		return errNoCutter
	}
	if err := registerNode(ctx, store, c); errors.Is(err, datastore.ErrUnsupported) {
		log.Warn("nodeAddress is not used: in this datastore nodes are what Kubernetes says of them", "nodeAddress", c.NodeAddress)
	} else if err != nil {
		return err
	}
	if _, able := dp.(Denier); c.DenyEvents && !able {
		return errNoDenier
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a := New(Options{
		Host: HostOf(c), Store: store, Dataplane: dp, Log: log, Metrics: NewMetrics(registry), DriftInterval: c.DriftInterval, CutDenied: cut,
		Reports: reportsOf(store), DenyEvents: c.DenyEvents, InterfaceTo: server.InterfaceTo,
	})
	group, ctx := errgroup.WithContext(ctx)
	// The loop ends after the CNI server: a request under way needs it, to finish or to be undone.
	loopCtx, stopLoop := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return a.Run(loopCtx) })
	group.Go(func() error { return keepSmall(ctx, a) })
	group.Go(func() error { return a.Report(ctx) })
	if c.Listen != "" {
		group.Go(func() error { return Serve(ctx, c.Listen, a.Handler(registry)) })
	}
	group.Go(func() error {
		defer stopLoop()
		return servePods(ctx, c, store, a, log)
	})
	return group.Wait()
}

// servePods answers the CNI plugin until ctx ends, and makes known when it does. Without a socket nobody waits for policy but the scheduler,
// for the taint to go.
func servePods(ctx context.Context, c *config.Config, store datastore.Store, a *Agent, log *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	if c.Socket != "" {
		plugin, err := newPlugin(c, store, a, log)
		if err != nil {
			return err
		}
		group.Go(func() error { return plugin.Serve(ctx) })
		group.Go(func() error { return rebuild(ctx, a, plugin, log) })
	}
	nodes, _ := store.(Untainter)
	known := &announcement{config: c, agent: a, nodes: nodes, log: log}
	group.Go(func() error { return known.run(ctx) })
	group.Go(func() error { <-ctx.Done(); return nil })
	return group.Wait()
}

func newPlugin(c *config.Config, store datastore.Store, a *Agent, log *slog.Logger) (*server.Server, error) {
	views := storeViews{store, c.Node}
	allocator := ipam.New(store, c.Node, ipam.Options{
		NodeSelected: views.nodeSelected, NamespaceSelected: views.namespaceSelected, Log: log,
		Handover: c.OnKubernetes(), // whose admission policy holds a node to its own blocks, and which has a controller
	})
	return server.New(server.Options{
		Socket: c.Socket, Node: c.Node, Guest: c.Network == "guest", InterfacePrefix: c.InterfacePrefix, MTU: c.MTU, IPv6: c.IPv6,
		Store: store, IPAM: allocator, Pods: views, Loop: a, Log: log,
	})
}

// rebuild lets the CNI server look at what was there before this agent, once the loop is ready. It is tried again until it works: the
// server answers "try again" meanwhile.
func rebuild(ctx context.Context, a *Agent, plugin *server.Server, log *slog.Logger) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := a.Ready()
		if err == nil {
			if err = rebuildOnce(ctx, a, plugin); err == nil {
				log.Info("ready to connect pods")
				return nil
			}
			log.Warn("can't take over what was there before; trying again", "error", err)
		} else {
			pause = min(pause, 50*time.Millisecond)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func rebuildOnce(ctx context.Context, a *Agent, plugin *server.Server) error {
	var records []*v3.WorkloadEndpoint
	complete := false
	err := a.do(ctx, func(l *loop) {
		records, complete = slices.Collect(maps.Values(l.records)), !unreadable(l.faults)
	})
	if err != nil {
		return err
	}
	if err := plugin.Rebuild(ctx, records, complete); err != nil {
		return err
	}
	return a.do(ctx, func(l *loop) { l.records = nil })
}

// registerNode makes sure that the Node object says what the configuration does of this node's addresses. A datastore whose nodes
// are somebody else's views is left alone.
func registerNode(ctx context.Context, store datastore.Store, c *config.Config) error {
	addresses, err := nodeAddresses(c.NodeAddress)
	if err != nil || len(addresses) == 0 {
		return err
	}
	for {
		err := putNode(ctx, store, c.Node, addresses)
		if !errors.Is(err, datastore.ErrConflict) && !errors.Is(err, datastore.ErrExists) {
			return err
		}
	}
}

func putNode(ctx context.Context, store datastore.Store, name string, addresses []v3.NodeAddress) error {
	old, err := store.Get(ctx, v3.Key{Kind: v3.KindNode, Name: name})
	if errors.Is(err, datastore.ErrNotFound) {
		n := &v3.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v3.NodeSpec{Addresses: addresses}}
		n.APIVersion, n.Kind = v3.APIVersion, string(v3.KindNode)
		_, err = store.Create(ctx, n)
		return err
	}
	if err != nil {
		return fmt.Errorf("reading the Node object of this node: %w", err)
	}
	if slices.Equal(old.(*v3.Node).Spec.Addresses, addresses) {
		return nil
	}
	n := old.(*v3.Node).DeepCopy()
	n.Spec.Addresses = addresses
	_, err = store.Update(ctx, n)
	return err
}

// nodeAddresses reads a comma-separated list.
func nodeAddresses(text string) ([]v3.NodeAddress, error) {
	if text == "" {
		return nil, nil
	}
	var out []v3.NodeAddress
	for part := range strings.SplitSeq(text, ",") {
		addr, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("nodeAddress: %q is not an address; valid: a comma-separated list of IPv4 and IPv6 addresses", part)
		}
		out = append(out, v3.NodeAddress{Address: addr.String(), Type: "InternalIP"})
	}
	return out, nil
}

// storeViews answers what CNI and IPAM ask of pods, nodes and namespaces, from the datastore.
type storeViews struct {
	store datastore.Store
	node  string
}

// Pod is the view of a pod's eth0.
func (v storeViews) Pod(ctx context.Context, namespace, name string) (*v3.WorkloadEndpoint, error) {
	o, err := v.store.Get(ctx, v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	return o.(*v3.WorkloadEndpoint), nil
}

func (v storeViews) nodeSelected(text string) bool {
	return v.selects(text, v3.Key{Kind: v3.KindNode, Name: v.node}, func(o v3.Object) map[string]string { return o.GetLabels() })
}

func (v storeViews) namespaceSelected(text, namespace string) bool {
	return v.selects(text, v3.Key{Kind: v3.KindProfile, Name: "kns." + namespace}, func(o v3.Object) map[string]string {
		labels := map[string]string{"projectcalico.org/name": namespace}
		for key, value := range o.(*v3.Profile).Spec.LabelsToApply {
			if own, ok := strings.CutPrefix(key, "pcns."); ok {
				labels[own] = value
			}
		}
		return labels
	})
}

// selects evaluates a selector on labels of an object. What can't be read is not selected.
func (v storeViews) selects(text string, key v3.Key, labels func(v3.Object) map[string]string) bool {
	s, err := selector.Parse(text)
	if err != nil || s.MatchesAll() {
		return err == nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	o, err := v.store.Get(ctx, key)
	return err == nil && s.Evaluate(selector.Map(labels(o)))
}
