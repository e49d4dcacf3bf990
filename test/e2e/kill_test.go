//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore/local"
	"github.com/felid-net/felid/internal/lab"
)

const killPolicies = `
apiVersion: v1
kind: Namespace
metadata: {name: ns}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: server, namespace: ns}
spec:
  selector: app == "server"
  types: [Ingress]
  ingress:
  - action: Allow
    protocol: TCP
    source: {selector: app == "friend"}
    destination: {ports: [80, 7000]}
`

// TestKilledAgentNeverOpens kills the agent at random points while resources change: what policy denies never passes, what is
// established goes on, and in the end the kernel is exactly as the resources say.
func TestKilledAgentNeverOpens(t *testing.T) {
	for _, backend := range []string{"nft", "legacy"} {
		t.Run(backend, func(t *testing.T) {
			c := newCluster(t, 1, "--iptables-backend", backend)
			c.apply(pools + "---" + killPolicies)
			server := c.addPod("node-1", "ns", "server", map[string]string{"app": "server"}, 80)
			friend := c.addPod("node-1", "ns", "friend", map[string]string{"app": "friend"})
			foe := c.addPod("node-1", "ns", "foe", map[string]string{"app": "foe"})
			waitFor(t, "the friend to reach the server", func() error { return reach(t.Context(), c, friend, server, 80) })

			ctx, stop := context.WithCancel(t.Context())
			var background sync.WaitGroup
			background.Go(func() { churn(ctx, t, c.store) })
			background.Go(func() { assault(ctx, t, c, foe, server) })
			talk := converse(ctx, t, c, friend, server)
			background.Go(talk)

			killAgent(t, c, 20)
			stop()
			background.Wait()
			waitFor(t, "the kernel to equal the state", func() error { return kernelEqualsState(t, c, "node-1", backend) })
		})
	}
}

// killAgent kills and restarts the agent n times.
func killAgent(t *testing.T, c *cluster, n int) {
	node := c.Nodes[0]
	for range n {
		time.Sleep(rand.N(600 * time.Millisecond)) // not a wait: the random point
		if err := syscall.Kill(node.PID, syscall.SIGKILL); err != nil {
			t.Fatalf("kill: %v", err)
		}
		waitFor(t, "the agent to end", func() error {
			if node.State() == "running" {
				return errors.New("still there")
			}
			return nil
		})
		time.Sleep(rand.N(200 * time.Millisecond)) // nobody is in charge for a while
		if err := c.Start(node, "--iptables-backend", t.Name()[len("TestKilledAgentNeverOpens/"):]); err != nil {
			t.Fatalf("restart: %v", err)
		}
		if rand.N(2) == 0 { // else it is killed while it starts
			if err := c.WaitReady(t.Context(), node); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.WaitReady(t.Context(), node); err != nil {
		t.Fatal(err)
	}
}

// churn changes labels of remote endpoints, policies and network sets until ctx ends.
func churn(ctx context.Context, t *testing.T, store *local.Store) {
	changes := 0
	for i := 0; ctx.Err() == nil; i++ {
		if err := churnOnce(ctx, store, i); err != nil && ctx.Err() == nil {
			t.Errorf("churn: %v", err)
			return
		}
		changes++
	}
	t.Logf("%d changes", changes)
}

func churnOnce(ctx context.Context, store *local.Store, i int) error {
	app := "friend"
	if i/100%2 == 1 {
		app = "stranger"
	}
	wep := &v3.WorkloadEndpoint{ObjectMeta: metav1.ObjectMeta{
		Name: fmt.Sprintf("r-%d", i%100), Namespace: "ns", Labels: map[string]string{"app": app, "round": fmt.Sprint(i)},
	}}
	wep.Spec = v3.WorkloadEndpointSpec{
		Orchestrator: "k8s", Node: "elsewhere", Pod: wep.Name, Endpoint: "eth0", ContainerID: wep.Name, IPNetworks: []string{fmt.Sprintf("10.99.0.%d/32", i%100)},
	}
	if err := put(ctx, store, wep); err != nil || i%5 != 0 {
		return err
	}
	policy := &v3.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("churn-%d", i%35), Namespace: "ns"}}
	policy.Spec.Selector = "has(app)"
	policy.Spec.Types = []v3.PolicyType{v3.PolicyTypeIngress}
	policy.Spec.Ingress = []v3.Rule{{Action: v3.Allow, Source: v3.EntityRule{Nets: []string{fmt.Sprintf("10.98.%d.0/24", i%250)}}}}
	if i%10 == 0 {
		err := store.Delete(ctx, v3.KeyOf(policy), "")
		if err == nil || errors.Is(err, errNotFound) {
			return nil
		}
		return err
	}
	return put(ctx, store, policy)
}

// assault tries what policy denies, all the time, in both families. Nothing of it may ever pass.
func assault(ctx context.Context, t *testing.T, c *cluster, foe, server *lab.Pod) {
	var attempts atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := reachAddr(ctx, c, foe, server.Addr[i%len(server.Addr)], 80, 300*time.Millisecond); err == nil {
					t.Errorf("the foe reached the server")
					return
				}
				attempts.Add(1)
			}
		})
	}
	wg.Wait()
	t.Logf("%d denied attempts", attempts.Load())
}

// converse opens a connection now, and returns what keeps talking on it until ctx ends.
func converse(ctx context.Context, t *testing.T, c *cluster, friend, server *lab.Pod) func() {
	t.Helper()
	var listener net.Listener
	err := lab.Within(c.PodSpace(server), func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(server.Addr[0], "7000"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_, _ = io.Copy(conn, conn)
		}
	}()
	var conn net.Conn
	err = lab.Within(c.PodSpace(friend), func() (err error) {
		conn, err = net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second)
		return err
	})
	if err != nil {
		t.Fatalf("the friend's connection: %v", err)
	}
	return func() {
		defer listener.Close()
		defer conn.Close()
		echoes := 0
		for ; ctx.Err() == nil; echoes++ {
			if err := echo(conn); err != nil {
				t.Errorf("the established connection broke after %d echoes: %v", echoes, err)
				return
			}
			time.Sleep(5 * time.Millisecond) // a pace, not a wait
		}
		t.Logf("%d echoes on one connection", echoes)
	}
}

func echo(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}
