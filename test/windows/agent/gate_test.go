package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/felid-net/felid/cni"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// late is a pod that starts while the agent runs.
var late = netip.MustParseAddr("10.240.0.13")

const latePod = `apiVersion: v1
kind: Pod
metadata: {name: late, namespace: shop, labels: {run: late}}
spec: {nodeName: win-1, containers: [{name: c, image: x}]}
`

// azureList is the list of Azure's plugin.
const azureList = `{"cniVersion": "0.3.0", "name": "azure", "plugins": [{"type": "azure-vnet", "mode": "tunnel"}]}`

// TestClusterGate: over a real API server, with the rights of its service account alone, felid.exe has policy in force for a new pod before felid-cni.exe
// answers, while the Pod says no address yet; and what changes then is followed.
func TestClusterGate(t *testing.T) {
	n := newNode(t, emulator.Options{}, wine.Options{})
	s := cluster(t, n)
	inPod(t, n, s)
	apply := func(text string) {
		t.Helper()
		n.write(t, "late.yaml", text)
		s.Apply(t, n.path("late.yaml"))
	}
	defer s.Kubectl(t, "delete", "pod", "late", "--namespace", "shop", "--force", "--ignore-not-found") // other tests count the pods
	a := n.startGate(t)
	apply(latePod + "---\n" + fromWeb("late", 6379))
	namespace := n.connect(t, "late", late)
	if !n.fromPod(t, "web", web, 80) || !n.fromPod(t, "app", app, 6379) {
		t.Fatal("without a list everything should come through: this test would prove nothing")
	}
	n.judgeHeldAdd(t, namespace)
	if !n.fromPod(t, "web", web, 6379) || n.fromPod(t, "web", web, 80) || n.fromPod(t, "app", app, 6379) {
		t.Errorf("ADD has answered; HNS has\n%s", n.lists(t))
	}
	running(t, s, "late", late)
	n.mustCall(t, cni.Check, namespace)
	apply(fromWeb("late", 80))
	eventually(t, "the change of policy is in force", func() (bool, string) {
		return n.fromPod(t, "web", web, 80) && !n.fromPod(t, "web", web, 6379) && !n.fromPod(t, "app", app, 80), n.lists(t) + a.Output()
	})
	n.mustCall(t, cni.Check, namespace)
	s.Kubectl(t, "delete", "pod", "late", "--namespace", "shop", "--wait=false")
	n.mustCall(t, cni.Del, namespace)
	eventually(t, "after DEL the endpoint, which the other plugin has not deleted yet, is closed", func() (bool, string) {
		return !n.fromPod(t, "web", web, 80), n.lists(t) + a.Output()
	})
	n.mustCall(t, cni.Del, namespace)
	if _, err := n.plugin(t.Context(), cni.Check, namespace); err == nil {
		t.Error("CHECK after DEL finds nothing wrong")
	}
	if err := a.Stop(); err != nil {
		t.Errorf("%v\n%s", err, a.Output())
	}
}

// startGate starts an agent that installs the plugin, as it does when it enforces and answers, and returns then.
func (n *node) startGate(t *testing.T) *wine.Container {
	t.Helper()
	n.write(t, "conf/10-azure.conflist", azureList)
	for name, from := range map[string]string{"felid.exe": n.exe, "felid-cni.exe": wine.Program(t, "./cmd/felid-cni", wine.Options{})} {
		program, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		n.write(t, "image/"+name, string(program))
	}
	n.write(t, "bin/README", "the runtime's folder of plugins\n")
	a := n.Start(t, n.path("image/felid.exe"), append(n.flags("kube"), "--cni-bin-dir", wine.Path(n.path("bin")), "--cni-conf-dir", wine.Path(n.path("conf")))...)
	eventually(t, "the plugin is installed", func() (bool, string) {
		_, err := n.configuration()
		return err == nil, fmt.Sprint(err, "\n", a.Output())
	})
	n.awaitReady(t, a.Output)
	return a
}

// configuration is what a runtime gives to felid's plugin, the last of the list.
func (n *node) configuration() (map[string]any, error) {
	text, err := os.ReadFile(n.path("conf/00-felid.conflist"))
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
	if len(list.Plugins) != 2 || list.Plugins[1]["mode"] != "gate" {
		return nil, fmt.Errorf("felid is not the gate after the other plugin: %s", text)
	}
	own := list.Plugins[1]
	own["name"], own["cniVersion"] = list.Name, list.CNIVersion
	return own, nil
}

// result is what the other plugin has answered for late.
var result = fmt.Sprintf(`{"cniVersion":"0.3.0","interfaces":[{"name":"eth0"}],"ips":[{"version":"4","address":"%s/16","interface":0}]}`, late)

// plugin calls felid-cni.exe for late, as a runtime does, and gives what it answers.
func (n *node) plugin(ctx context.Context, verb, namespace string) (string, error) {
	config, err := n.configuration()
	if err != nil {
		return "", err
	}
	config["prevResult"] = json.RawMessage(result)
	if verb == cni.Check { // which the version of Azure's list has not
		config["cniVersion"] = "1.1.0"
	}
	in, err := json.Marshal(config)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := n.Command(ctx, n.path("bin/felid-cni.exe"))
	cmd.Env = append(cmd.Env, "CNI_COMMAND="+verb, "CNI_CONTAINERID=sandbox", "CNI_NETNS="+namespace, "CNI_IFNAME=eth0",
		"CNI_PATH="+wine.Path(n.path("bin")), "CNI_ARGS=K8S_POD_NAMESPACE=shop;K8S_POD_NAME=late")
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", verb, err, out)
	}
	return string(out), err
}

func (n *node) mustCall(t *testing.T, verb, namespace string) {
	t.Helper()
	if _, err := n.plugin(t.Context(), verb, namespace); err != nil {
		t.Fatal(err)
	}
}

// judgeHeldAdd calls ADD for late while HNS takes its time with the list, and returns as soon as it has answered.
func (n *node) judgeHeldAdd(t *testing.T, namespace string) {
	t.Helper()
	reached, release := make(chan struct{}, 100), make(chan struct{})
	disarm := n.Inject(emulator.Fault{Op: emulator.OpModify, Kind: hns.KindEndpoint, ID: n.endpoints["late"], Do: func() { reached <- struct{}{}; <-release }})
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := n.plugin(t.Context(), cni.Add, namespace)
		answered <- answer{text, err}
	}()
	var early *answer
	select {
	case <-reached:
		select {
		case got := <-answered:
			early = &got
		case <-time.After(300 * time.Millisecond):
		}
	case got := <-answered:
		early = &got
	}
	disarm()
	close(release)
	if early != nil {
		t.Fatalf("it answered before HNS had the list: %+v", *early)
	}
	if got := <-answered; got.err != nil || strings.Join(strings.Fields(got.text), "") != result {
		t.Errorf("%v: %s\nwant %s", got.err, got.text, result)
	}
}

// fromPod tells what becomes of a new connection from a pod to late.
func (n *node) fromPod(t *testing.T, pod string, from netip.Addr, port uint16) bool {
	t.Helper()
	return n.arrives(t, emulator.Packet{From: n.endpoints[pod], To: n.endpoints["late"]}, from, late, port)
}
