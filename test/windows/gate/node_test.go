// Package gate_test runs the gate of a Windows node under Wine: felid-cni.exe, felid.exe, the pipe between them, and HNS emulated.
package gate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/datastore/local"
	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// node is a Windows node whose network is another plugin's, with felid's programs, and a datastore in a folder.
type node struct {
	*wine.Node
	hns   *hns.Client
	net   string // the other plugin's network
	dir   string
	pipe  string
	agent *wine.Container
}

var pipes atomic.Int32

// others is the other plugin's list, as PowerShell writes it.
const others = "\ufeff{\r\n\"cniVersion\": \"0.3.0\",\r\n\"name\": \"azure\",\r\n\"plugins\": [{\"type\": \"azure-vnet\", \"mode\": \"tunnel\"}]\r\n}\r\n"

var built struct {
	sync.Mutex
	felid, plugin string
}

// programs are built once: go takes its time to find that there is nothing to do.
func programs(t *testing.T) (p struct{ felid, plugin string }) {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.plugin == "" {
		built.felid, built.plugin = wine.Program(t, "./cmd/felid", wine.Options{}), wine.Program(t, "./cmd/felid-cni", wine.Options{})
	}
	p.felid, p.plugin = built.felid, built.plugin
	return p
}

func newNode(t *testing.T, build int) *node {
	t.Helper()
	n := &node{Node: wine.NewNode(t, emulator.Options{Build: build}), dir: t.TempDir()}
	n.hns = hns.NewClient(n.Calls())
	n.pipe = fmt.Sprintf(`\\.\pipe\felid-gate-%d-%d`, os.Getpid(), pipes.Add(1))
	for _, folder := range []string{"image", "bin", "net.d", "store", "state"} {
		if err := os.Mkdir(n.path(folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, path := range map[string]string{"felid.exe": programs(t).felid, "felid-cni.exe": programs(t).plugin} {
		program, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(n.path("image", name), program, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	n.makeNetwork(t)
	n.setOthers(t, others)
	n.create(t, policies()...)
	return n
}

// policies are of namespace web: pods may send anywhere, and nobody may send to them but one.
func policies() []v3.Object {
	policy := &v3.NetworkPolicy{Spec: v3.NetworkPolicySpec{PolicySpec: v3.PolicySpec{Tier: "default", Selector: "all()",
		Types: []v3.PolicyType{v3.PolicyTypeIngress}, Ingress: []v3.Rule{{Action: v3.Allow, Source: v3.EntityRule{Nets: []string{friend + "/32"}}}}}}}
	policy.Kind, policy.APIVersion, policy.Namespace, policy.Name = string(v3.KindNetworkPolicy), v3.APIVersion, "web", "friend"
	profile := &v3.Profile{Spec: v3.ProfileSpec{Ingress: []v3.Rule{{Action: v3.Allow}}, Egress: []v3.Rule{{Action: v3.Allow}}}}
	profile.Kind, profile.APIVersion, profile.Name = string(v3.KindProfile), v3.APIVersion, "kns.web"
	return []v3.Object{policy, profile}
}

const (
	nodeName = "win-1"
	friend   = "10.240.0.1"
	stranger = "10.240.0.2"
)

func (n *node) path(parts ...string) string {
	return filepath.Join(append([]string{n.dir}, parts...)...)
}

func (n *node) makeNetwork(t *testing.T) {
	t.Helper()
	n.net = azureNetwork(t, n.hns)
}

// azureNetwork is the other plugin's; its ID.
func azureNetwork(t *testing.T, client *hns.Client) string {
	t.Helper()
	network, err := client.CreateNetwork(hns.NewNetwork{Name: "azure", Type: "L2Bridge",
		Subnets: []hns.Subnet{{Prefix: netip.MustParsePrefix("10.224.0.0/16"), Gateway: netip.MustParseAddr("10.224.0.1")}}})
	if err != nil {
		t.Fatal(err)
	}
	return network.ID
}

// setOthers writes the other plugin's list, as that does it.
func (n *node) setOthers(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(n.path("net.d", "10-azure.conflist"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// create puts objects into the datastore, while no agent runs.
func (n *node) create(t *testing.T, objects ...v3.Object) {
	t.Helper()
	store, err := local.Open(n.path("store"), local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, o := range objects {
		if _, err := store.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// record of a pod, as it is stored; nil: there is none.
func (n *node) record(t *testing.T, pod string) *v3.WorkloadEndpoint {
	t.Helper()
	store, err := local.Open(n.path("store"), local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	list, err := store.List(t.Context(), v3.KindWorkloadEndpoint, "web")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Objects {
		if o.GetName() == pod {
			return o.(*v3.WorkloadEndpoint)
		}
	}
	return nil
}

// run starts an agent that answers on the node's pipe.
func (n *node) run(t *testing.T, flags ...string) *wine.Container {
	t.Helper()
	args := []string{"agent", "--node", nodeName, "--datastore", "local:" + wine.Path(n.path("store")), "--socket", n.pipe, "--state-dir", wine.Path(n.path("state")),
		"--listen", ""}
	return n.Start(t, n.path("image", "felid.exe"), append(args, flags...)...)
}

// start starts the agent, and returns when runtimes may use it: it has installed the plugin and the list, which it does when it enforces and answers.
func (n *node) start(t *testing.T) {
	t.Helper()
	n.agent = n.run(t, "--cni-bin-dir", wine.Path(n.path("bin")), "--cni-conf-dir", wine.Path(n.path("net.d")))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("agent:\n%s", n.agent.Output())
		}
	})
	eventually(t, func() error {
		select {
		case <-n.agent.Ended():
			t.Fatal("the agent has ended")
		default:
		}
		_, err := n.felids()
		return err
	})
}

// felids is felid's entry of the list that the runtime would use, which is the last.
func (n *node) felids() (map[string]any, error) {
	text, err := os.ReadFile(n.path("net.d", "00-felid.conflist"))
	if err != nil {
		return nil, err
	}
	var list struct {
		Name, CNIVersion string
		Plugins          []map[string]any
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	own := list.Plugins[len(list.Plugins)-1]
	if len(list.Plugins) < 2 || own["type"] != "felid-cni" {
		return nil, fmt.Errorf("felid is not the last of several plugins: %s", text)
	}
	own["name"], own["cniVersion"] = list.Name, list.CNIVersion
	return own, nil
}

// pod is a container with its endpoint, as containerd and the other plugin make them.
type pod struct{ name, namespace, endpoint, addr string }

func (n *node) connect(t *testing.T, name, addr string) pod {
	t.Helper()
	return connect(t, n.hns, n.net, name, addr)
}

func connect(t *testing.T, client *hns.Client, network, name, addr string) pod {
	t.Helper()
	p := pod{name: name, addr: addr}
	ep, err := client.CreateEndpoint(hns.NewEndpoint{Name: name + "_azure", Network: network, Addresses: []netip.Prefix{netip.MustParsePrefix(addr + "/16")}})
	if err != nil {
		t.Fatal(err)
	}
	p.endpoint = ep.ID
	ns, err := client.CreateNamespace("")
	if err == nil {
		err = client.Attach(ns.ID, ep.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.namespace = ns.ID
	return p
}

func (p pod) result() string {
	return fmt.Sprintf(`{"cniVersion":"0.3.0","interfaces":[{"name":"%s_azure"}],"ips":[{"version":"4","address":"%s/16","interface":0}],"other":"kept"}`, p.name, p.addr)
}

// started is a plugin that runs.
type started struct {
	verb   string
	out    bytes.Buffer
	ended  chan struct{}
	failed error // after ended
}

// begin starts the plugin, as a runtime does.
func (n *node) begin(t *testing.T, verb string, p pod) *started {
	t.Helper()
	config, err := n.felids()
	if err != nil {
		t.Fatal(err)
	}
	return n.exec(t, n.path("bin", "felid-cni.exe"), config, verb, p, time.Minute)
}

// exec starts the plugin with a configuration, and kills it after a while.
func (n *node) exec(t *testing.T, program string, config map[string]any, verb string, p pod, patience time.Duration) *started {
	t.Helper()
	config["prevResult"] = json.RawMessage(p.result())
	if verb == cni.Check || verb == cni.Status { // which older versions have not
		config["cniVersion"] = "1.1.0"
	}
	in, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cmd := n.Command(ctx, program)
	cmd.Env = append(cmd.Env, "CNI_COMMAND="+verb, "CNI_CONTAINERID="+p.name, "CNI_NETNS="+p.namespace, "CNI_IFNAME=eth0", "CNI_PATH="+wine.Path(n.path("bin")),
		"CNI_ARGS=K8S_POD_NAMESPACE=web;K8S_POD_NAME="+p.name)
	s := &started{verb: verb, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout = bytes.NewReader(in), &s.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer cancel()
		s.failed = cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() { <-s.ended })
	return s
}

// wait gives the result, or the plugin's error.
func (s *started) wait(t *testing.T) (json.RawMessage, *cni.Error) {
	t.Helper()
	<-s.ended
	if s.failed == nil {
		return s.out.Bytes(), nil
	}
	var exit *exec.ExitError
	fault := new(cni.Error)
	if !errors.As(s.failed, &exit) || json.Unmarshal(s.out.Bytes(), fault) != nil || fault.Code == 0 {
		t.Fatalf("%s: %v; it wrote %q", s.verb, s.failed, s.out.String())
	}
	return nil, fault
}

func (n *node) call(t *testing.T, verb string, p pod) (json.RawMessage, *cni.Error) {
	t.Helper()
	return n.begin(t, verb, p).wait(t)
}

func (n *node) mustCall(t *testing.T, verb string, p pod) {
	t.Helper()
	if _, err := n.call(t, verb, p); err != nil {
		t.Fatalf("%s of %s: %v", verb, p.name, err)
	}
}

// reaches tells whether a packet from somewhere else comes to a pod.
func reaches(t *testing.T, em *emulator.Server, from string, p pod) bool {
	t.Helper()
	ports.Add(1)
	v, err := em.Verdict(emulator.Packet{To: p.endpoint, Tuple: dptest.Tuple{Protocol: dataplane.ProtoTCP, Src: netip.MustParseAddr(from), Dst: netip.MustParseAddr(p.addr),
		SrcPort: uint16(40000 + ports.Load()%20000), DstPort: 80}})
	if err != nil {
		t.Fatal(err)
	}
	return v.Action == dataplane.Allow
}

var ports atomic.Uint32 // each packet is of a connection of its own

// policed tells whether the policy of namespace web decides of what comes to a pod.
func policed(t *testing.T, em *emulator.Server, p pod) bool {
	t.Helper()
	return reaches(t, em, friend, p) && !reaches(t, em, stranger, p)
}

func eventually(t *testing.T, what func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func wantCode(t *testing.T, what string, err *cni.Error, code uint) {
	t.Helper()
	if err == nil || err.Code != code {
		t.Errorf("%s: %v; want code %d", what, err, code)
	}
}
