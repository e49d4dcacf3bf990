//go:build linux

package kube

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/felid-net/felid/internal/lab"
)

// crowd is how many pods come at once.
const crowd = 100

// BenchmarkCrowd: a hundred pods created at once on a node, until all are connected with their policies in force, and another node's kernel
// knows all their addresses. Bar: 3 s.
func BenchmarkCrowd(b *testing.B) {
	s := newBed(b, 2)
	if _, err := s.pod("node-2", "target", map[string]string{"app": "target"}); err != nil {
		b.Fatal(err)
	}
	if _, err := s.pod("node-1", "anchor", map[string]string{"crowd": "yes"}); err != nil {
		b.Fatal(err)
	}
	anchor, _ := s.Pod("pod/default/anchor")
	s.post("/apis/projectcalico.org/v3/globalnetworkpolicies", allowFrom("crowd", "app == 'target'", "crowd == 'yes'"))
	s.post("/apis/projectcalico.org/v3/globalnetworkpolicies", allowFrom("crowd-own", "crowd == 'yes'", "crowd == 'yes'"))
	set, err := setWith(s.NodeSpace("node-2"), anchor.Addr[0])
	if err != nil {
		b.Fatal(err)
	}
	sandboxes := make([]*sandbox, crowd)
	for i := range sandboxes {
		if sandboxes[i], err = s.sandbox(fmt.Sprintf("crowd-%d", i)); err != nil {
			b.Fatal(err)
		}
	}
	start := time.Now()
	err = each(crowd, crowd, func(i int) error {
		s.post("/api/v1/namespaces/default/pods", podObject("node-1", sandboxes[i].name, map[string]string{"crowd": "yes"}))
		return sandboxes[i].add(b, s)
	})
	connected := time.Since(start)
	if err != nil {
		b.Fatal(err)
	}
	known := start
	for _, x := range sandboxes {
		at, err := whenMember(s.NodeSpace("node-2"), set, x.addr.String(), true)
		if err != nil {
			b.Fatal(err)
		}
		if at.After(known) {
			known = at
		}
	}
	b.ReportMetric(connected.Seconds(), "connected-s")
	b.ReportMetric(known.Sub(start).Seconds(), "known-s")
}

// sandbox is the network namespace of a pod on node-1.
type sandbox struct {
	name, space string
	addr        net.IP
}

func (s *bed) sandbox(name string) (*sandbox, error) {
	x := &sandbox{name: name, space: s.Name + "-" + name}
	s.b.Cleanup(func() { _ = lab.RemoveSpace(x.space) })
	return x, lab.NewSpace(x.space)
}

// add connects it as a container runtime would.
func (x *sandbox) add(b *testing.B, s *bed) error {
	list, err := libcni.NetworkConfFromBytes([]byte(fmt.Sprintf(
		`{"cniVersion":"1.1.0","name":"felid-lab","plugins":[{"type":"felid-cni","socket":%q}]}`, s.Socket("node-1"))))
	if err != nil {
		return err
	}
	plugin := libcni.NewCNIConfigWithCacheDir([]string{s.Bin}, filepath.Join(s.Dir, "cni-cache"), nil)
	answer, err := plugin.AddNetworkList(b.Context(), list, &libcni.RuntimeConf{
		ContainerID: "c-" + x.name, NetNS: lab.SpacePath(x.space), IfName: "eth0",
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "default"}, {"K8S_POD_NAME", x.name}, {"K8S_POD_INFRA_CONTAINER_ID", "c-" + x.name}},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", x.name, err)
	}
	result, err := types100.GetResult(answer)
	if err != nil {
		return err
	}
	x.addr = result.IPs[0].Address.IP
	return nil
}
