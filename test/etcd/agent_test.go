package etcd

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/internal/agent"
	"github.com/felid-net/felid/internal/config"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// until waits for a condition.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never " + what)
		}
	}
}

func policyOf(action v3.Action) *v3.GlobalNetworkPolicy {
	p := &v3.GlobalNetworkPolicy{Spec: v3.GlobalNetworkPolicySpec{PolicySpec: v3.PolicySpec{
		Tier: "default", Selector: "all()", Types: []v3.PolicyType{v3.PolicyTypeIngress}, Ingress: []v3.Rule{{Action: action}},
	}}}
	p.Name = "p"
	return p
}

// first is the action of the one rule of the policy, "" without any.
func first(kernel *dataplane.Fake) string {
	for id, p := range kernel.Held().Policies {
		if id.Name == "p" && len(p.Ingress) == 1 {
			return p.Ingress[0].Action.String()
		}
	}
	return ""
}

// TestAgentOnEtcd: an agent enforces what etcd has, goes on while etcd is away, and takes what changed when it is back.
func TestAgentOnEtcd(t *testing.T) {
	s := Start(t, Options{})
	c := config.Defaults()
	c.Node, c.Datastore = "n1", "etcd:"+s.Endpoint
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	store, err := config.OpenForNode(c, log)
	if err != nil {
		t.Fatal(err)
	}
	create(t, store, &v3.Tier{}, "default")
	create(t, store, policyOf(v3.Allow), "p")
	create(t, store, &v3.HostEndpoint{Spec: v3.HostEndpointSpec{Node: "n1", InterfaceName: "eth0"}}, "h")
	kernel := dataplane.NewFake(nil)
	a := agent.New(agent.Options{Host: agent.HostOf(c), Store: store, Dataplane: kernel, Log: log, Metrics: agent.NewMetrics(prometheus.NewRegistry())})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, store.Close()); err != nil {
			t.Error(err)
		}
	}()
	until(t, "ready", func() bool { return a.Ready() == nil })
	until(t, "Allow in force", func() bool { return first(kernel) == "Allow" })
	s.Kill()
	if _, err := store.Update(t.Context(), policyOf(v3.Deny)); !errors.Is(err, datastore.ErrUnreachable) {
		t.Errorf("Update while etcd is away: %v", err)
	}
	if got := first(kernel); got != "Allow" || a.Ready() != nil {
		t.Errorf("while etcd is away %q is in force, and ready is %v", got, a.Ready())
	}
	s.Restart()
	until(t, "written", func() bool {
		_, err := store.Update(t.Context(), policyOf(v3.Deny))
		return err == nil
	})
	until(t, "Deny in force", func() bool { return first(kernel) == "Deny" })
}

func create(t *testing.T, store datastore.Store, o v3.Object, name string) {
	t.Helper()
	o.SetName(name)
	if _, err := store.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}
