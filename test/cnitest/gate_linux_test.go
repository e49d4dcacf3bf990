package cnitest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni/server"
)

// otherPlugin is a network plugin that is not felid's: it connects pods of the network namespace that its configuration names, with the
// address it names, and says no more of that in its result than some plugins do.
const otherPlugin = `#!/bin/bash
set -e
conf=$(cat)
get() { sed -E "s/.*\"$1\":\"([^\"]*)\".*/\1/" <<<"$conf"; }
pod=${CNI_NETNS##*/} node=$(get node) addr=$(get address)
[[ $CNI_ARGS =~ K8S_POD_NAMESPACE=([^;]*) ]] && ns=${BASH_REMATCH[1]}
[[ $CNI_ARGS =~ K8S_POD_NAME=([^;]*) ]] && name=${BASH_REMATCH[1]}
host=azv$(printf %s "$ns.$name" | sha1sum | cut -c1-11)
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0"]}' ;;
ADD)
	ip -n "$node" link add "$host" address ee:ee:ee:ee:ee:ee type veth peer name "$CNI_IFNAME" netns "$pod"
	ip -n "$pod" addr add "$addr/32" dev "$CNI_IFNAME"
	ip -n "$pod" link set "$CNI_IFNAME" up
	ip -n "$pod" neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev "$CNI_IFNAME" nud permanent
	ip -n "$pod" route add default via 169.254.1.1 dev "$CNI_IFNAME" onlink
	ip -n "$node" link set "$host" up
	ip -n "$node" route add "$addr" dev "$host"
	ip netns exec "$node" sysctl -qw net.ipv4.ip_forward=1
	echo "{\"cniVersion\":\"$(get cniVersion)\",\"interfaces\":[{\"name\":\"$CNI_IFNAME\"}],\"ips\":[{\"version\":\"4\",\"address\":\"$addr/16\"}]}" ;;
DEL) ip -n "$node" link del "$host" 2>/dev/null || true ;;
esac
`

// beside is a runtime on a node whose network is another plugin's, with a felid agent as its guest.
type beside struct {
	*agent
	bin, conf string
	cni       *libcni.CNIConfig
}

func newBeside(t *testing.T) *beside {
	t.Helper()
	program := buildAgent(t)
	if err := os.Link(filepath.Join(Plugin(t), "felid-cni"), filepath.Join(filepath.Dir(program), "felid-cni")); err != nil {
		Command(t, "cp", filepath.Join(Plugin(t), "felid-cni"), filepath.Dir(program)) // another file system
	}
	b := &beside{bin: t.TempDir(), conf: t.TempDir()}
	if err := os.WriteFile(filepath.Join(b.bin, "other"), []byte(otherPlugin), 0o755); err != nil {
		t.Fatal(err)
	}
	b.agent = newAgent(t, program, "--network", "guest", "--interface-prefix", "azv", "--cni-bin-dir", b.bin, "--cni-conf-dir", b.conf)
	exec := &invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: os.Stderr}, PluginDecoder: version.PluginDecoder{}}
	b.cni = libcni.NewCNIConfigWithCacheDir([]string{b.bin}, t.TempDir(), exec)
	return b
}

// serveAddress has the other plugin give the next pod an address, and returns the list that the runtime uses once the agent has followed.
func (b *beside) serveAddress(t *testing.T, cniVersion, address string) *libcni.NetworkConfigList {
	t.Helper()
	text := fmt.Sprintf(`{"cniVersion":"%s","name":"other","plugins":[{"type":"other","node":"%s","address":"%s"}]}`, cniVersion, b.netns, address)
	if err := os.WriteFile(filepath.Join(b.conf, "10-other.conflist"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var list *libcni.NetworkConfigList
	Eventually(t, func() error {
		names, err := libcni.ConfFiles(b.conf, []string{".conflist"})
		if err != nil || len(names) == 0 {
			return fmt.Errorf("configuration files: %v, %w", names, err)
		}
		slices.Sort(names)
		if list, err = libcni.NetworkConfFromFile(names[0]); err != nil {
			return err
		}
		if !strings.Contains(string(list.Bytes), address) || !strings.Contains(string(list.Bytes), `"gate"`) {
			return fmt.Errorf("the first list is %s: %s", names[0], list.Bytes)
		}
		return nil
	})
	return list
}

func (b *beside) add(list *libcni.NetworkConfigList, s *sandbox) (*current.Result, error) {
	result, err := b.cni.AddNetworkList(context.Background(), list, s.runtime())
	if err != nil {
		return nil, err
	}
	return current.NewResultFromResult(result)
}

// TestGate: the agent puts itself into another plugin's list; pods get what the other plugin gives them, and run when policy is in force.
func TestGate(t *testing.T) {
	b := newBeside(t)
	closed := &v3.NetworkPolicy{Spec: v3.NetworkPolicySpec{PolicySpec: v3.PolicySpec{
		Tier: "default", Selector: "projectcalico.org/orchestrator == 'k8s'", Types: []v3.PolicyType{v3.PolicyTypeIngress},
		Ingress: []v3.Rule{{Action: v3.Allow, Source: v3.EntityRule{Nets: []string{"10.9.0.1"}}}}}}}
	closed.Kind, closed.APIVersion, closed.Namespace, closed.Name = string(v3.KindNetworkPolicy), v3.APIVersion, "web", "closed"
	b.create(t, closed)
	pods := map[string]*sandbox{}
	for i, cniVersion := range []string{"1.0.0", "0.3.0", "0.4.0"} {
		addr := fmt.Sprintf("10.9.0.%d", i+1)
		s := newSandbox(t, fmt.Sprintf("web/p%d", i))
		result, err := b.add(b.serveAddress(t, cniVersion, addr), s)
		if err != nil {
			t.Fatalf("ADD, %s: %v", cniVersion, describe(err))
		}
		if len(result.Interfaces) != 1 || result.Interfaces[0].Name != "eth0" || result.IPs[0].Address.String() != addr+"/16" {
			t.Errorf("%s: the other plugin's result became %v", cniVersion, result)
		}
		rec := records(t, b)[s.id+" eth0"]
		if rec == nil || rec.Spec.IPNetworks[0] != addr+"/32" || rec.Spec.InterfaceName != server.InterfaceName("azv", "web", fmt.Sprintf("p%d", i), "", "eth0") {
			t.Fatalf("record %+v", rec)
		}
		pods[addr] = s
	}
	for _, path := range []struct {
		from, to string
		open     bool
	}{{"10.9.0.1", "10.9.0.2", true}, {"10.9.0.1", "10.9.0.3", true}, {"10.9.0.2", "10.9.0.1", false}, {"10.9.0.2", "10.9.0.3", false}} {
		err := reach(pods[path.from], pods[path.to], netip.MustParseAddr(path.to))
		if (err == nil) != path.open {
			t.Errorf("%s to %s: %v; open should be %v", path.from, path.to, err, path.open)
		}
	}
}

// TestGateWithoutAgent: no pod starts while nobody enforces, and every pod can be taken away. The agent after it knows who is there.
func TestGateWithoutAgent(t *testing.T) {
	b := newBeside(t)
	list := b.serveAddress(t, "1.0.0", "10.9.0.1")
	stays, goes := newSandbox(t, "web/stays"), newSandbox(t, "web/goes")
	if _, err := b.add(list, stays); err != nil {
		t.Fatal(describe(err))
	}
	second := b.serveAddress(t, "1.0.0", "10.9.0.2")
	if _, err := b.add(second, goes); err != nil {
		t.Fatal(describe(err))
	}
	b.kill()
	third := b.withAddress(t, second, "10.9.0.3")
	late := newSandbox(t, "web/late")
	_, err := b.add(third, late)
	wantCode(t, "ADD without an agent", err, 11)
	for _, s := range []*sandbox{late, goes} {
		if err := b.cni.DelNetworkList(context.Background(), third, s.runtime()); err != nil {
			t.Errorf("DEL without an agent: %v", describe(err))
		}
	}
	b.start(t)
	if err := b.cni.CheckNetworkList(context.Background(), list, stays.runtime()); err != nil {
		t.Errorf("CHECK after a restart: %v", describe(err))
	}
	if left := records(t, b); len(left) != 1 || left[stays.id+" eth0"] == nil {
		t.Errorf("records: %v", left)
	}
	if _, err := b.add(third, late); err != nil {
		t.Errorf("ADD again: %v", describe(err))
	}
	if err := b.cni.DelNetworkList(context.Background(), list, stays.runtime()); err != nil {
		t.Errorf("DEL: %v", describe(err))
	}
	if left := records(t, b); len(left) != 1 || left[late.id+" eth0"] == nil {
		t.Errorf("records: %v", left)
	}
}

// withAddress is a list like another with another address, without an agent that follows.
func (b *beside) withAddress(t *testing.T, like *libcni.NetworkConfigList, address string) *libcni.NetworkConfigList {
	t.Helper()
	var text map[string]any
	if err := json.Unmarshal(like.Bytes, &text); err != nil {
		t.Fatal(err)
	}
	text["plugins"].([]any)[0].(map[string]any)["address"] = address
	data, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestGateRefuses: a guest connects nobody, and polices no interface that it can't tell.
func TestGateRefuses(t *testing.T) {
	b := newBeside(t)
	list := b.serveAddress(t, "1.0.0", "10.9.0.1")
	own := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"own","plugins":[{"type":"felid-cni","socket":"%s"}]}`, b.Socket())
	network, err := libcni.NetworkConfFromBytes([]byte(own))
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.add(network, newSandbox(t, "web/a"))
	wantCode(t, "ADD as the network of a guest's node", err, 7)
	alone, err := libcni.NetworkConfFromBytes([]byte(strings.Replace(own, `"socket"`, `"mode":"gate","socket"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.add(alone, newSandbox(t, "web/b"))
	wantCode(t, "ADD of a gate with no plugin before it", err, 7)
	if _, err := b.add(list, newSandbox(t, "web/c")); err != nil {
		t.Errorf("ADD: %v", describe(err))
	}
}
