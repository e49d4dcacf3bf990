//go:build linux

package cnitest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/felid-net/felid/cni"
)

const network = "felid-pods"

// containers is a container runtime, as far as networks go.
type containers struct {
	cni     *libcni.CNIConfig
	world   World
	version string
	extra   map[string]any // further keys of the plugin's configuration
}

func newContainers(t testing.TB, w World) *containers {
	t.Helper()
	return &containers{cni: newLibCNI(t), world: w, version: "1.1.0"}
}

// newLibCNI is libcni with nothing in its cache. Left to itself, it makes its exec at the first call, which is a race if that is two.
func newLibCNI(t testing.TB) *libcni.CNIConfig {
	t.Helper()
	exec := &invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: os.Stderr}, PluginDecoder: version.PluginDecoder{}}
	return libcni.NewCNIConfigWithCacheDir([]string{Plugin(t)}, t.TempDir(), exec)
}

// speaking is the same runtime with a configuration of another version.
func (c *containers) speaking(version string) *containers {
	other := *c
	other.version = version
	return &other
}

// with is the same runtime with a further key in the plugin's configuration.
func (c *containers) with(key string, value any) *containers {
	other := *c
	other.extra = map[string]any{key: value}
	for k, v := range c.extra {
		other.extra[k] = v
	}
	return &other
}

func (c *containers) list(t testing.TB) *libcni.NetworkConfigList {
	t.Helper()
	plugin := map[string]any{"type": "felid-cni", "socket": c.world.Socket(), "ipam": map[string]any{"type": "felid-ipam"}}
	for k, v := range c.extra {
		plugin[k] = v
	}
	text, err := json.Marshal(map[string]any{"cniVersion": c.version, "name": network, "plugins": []any{plugin}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := libcni.NetworkConfFromBytes(text)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// sandbox is a container with its network namespace.
type sandbox struct {
	id     string
	netns  string // name
	ifName string
	args   [][2]string
}

var serial atomic.Int64

// newSandbox makes a network namespace and a container id; pod is "NS/NAME", or "" for a container without a pod.
func newSandbox(t testing.TB, pod string) *sandbox {
	t.Helper()
	n := serial.Add(1)
	s := &sandbox{id: fmt.Sprintf("%064x", int64(os.Getpid())<<20+n), netns: NewNetns(t, "pod"), ifName: "eth0"}
	if ns, name, ok := strings.Cut(pod, "/"); ok {
		s.args = [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", ns}, {"K8S_POD_NAME", name}, {"K8S_POD_INFRA_CONTAINER_ID", s.id}}
	}
	return s
}

// second is a further interface of the same container.
func (s *sandbox) second(ifName string) *sandbox {
	other := *s
	other.ifName = ifName
	return &other
}

func (s *sandbox) runtime() *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: s.id, NetNS: "/run/netns/" + s.netns, IfName: s.ifName, Args: s.args}
}

func (c *containers) add(t testing.TB, s *sandbox) (*current.Result, error) {
	t.Helper()
	result, err := c.cni.AddNetworkList(context.Background(), c.list(t), s.runtime())
	if err != nil {
		return nil, err
	}
	return current.NewResultFromResult(result)
}

func (c *containers) mustAdd(t testing.TB, s *sandbox) []netip.Addr {
	t.Helper()
	result, err := c.add(t, s)
	if err != nil {
		t.Fatalf("ADD %s: %v", s.ifName, describe(err))
	}
	return addrsOf(result)
}

func (c *containers) del(t testing.TB, s *sandbox) error {
	t.Helper()
	return c.cni.DelNetworkList(context.Background(), c.list(t), s.runtime())
}

func (c *containers) mustDel(t testing.TB, s *sandbox) {
	t.Helper()
	if err := c.del(t, s); err != nil {
		t.Fatalf("DEL %s: %v", s.ifName, describe(err))
	}
}

func (c *containers) check(t *testing.T, s *sandbox) error {
	t.Helper()
	return c.cni.CheckNetworkList(context.Background(), c.list(t), s.runtime())
}

// gc calls the plugin's GC alone: libcni's own would send a DEL first for each attachment that it remembers.
func (c *containers) gc(t *testing.T, valid ...*sandbox) error {
	t.Helper()
	fresh := newLibCNI(t)
	args := &libcni.GCArgs{}
	for _, s := range valid {
		args.ValidAttachments = append(args.ValidAttachments, types.GCAttachment{ContainerID: s.id, IfName: s.ifName})
	}
	return fresh.GCNetworkList(context.Background(), c.list(t), args)
}

func (c *containers) status(t *testing.T) error {
	t.Helper()
	return c.cni.GetStatusNetworkList(context.Background(), c.list(t))
}

func addrsOf(result *current.Result) []netip.Addr {
	var addrs []netip.Addr
	for _, ip := range result.IPs {
		addr, _ := netip.AddrFromSlice(ip.Address.IP)
		addrs = append(addrs, addr.Unmap())
	}
	return addrs
}

// codeOf is the CNI error code in err; 0 if it has none.
func codeOf(err error) uint {
	var e *types.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func wantCode(t *testing.T, what string, err error, code uint) {
	t.Helper()
	if err == nil || codeOf(err) != code {
		t.Errorf("%s: %v, want an error of code %d", what, describe(err), code)
	}
}

func describe(err error) string {
	if code := codeOf(err); code != 0 {
		return fmt.Sprintf("code %d: %v", code, err)
	}
	return fmt.Sprint(err)
}

// Serving says why the agent of w takes no pods, if it doesn't.
func Serving(w World) error {
	config := json.RawMessage(`{"cniVersion":"1.1.0","name":"` + network + `"}`)
	_, err := cni.Call(context.Background(), w.Socket(), &cni.Request{Verb: cni.Status, Config: config})
	return err
}

// NewNetns makes a network namespace that lasts as long as the test, and returns its name.
func NewNetns(t testing.TB, what string) string {
	t.Helper()
	name := fmt.Sprintf("felid-%d-%s-%d", os.Getpid(), what, serial.Add(1))
	Command(t, "ip", "netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	return name
}

// Command runs a program, which must succeed, and returns what it printed.
func Command(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// in runs a program in a network namespace.
func in(t *testing.T, netns, name string, args ...string) string {
	t.Helper()
	return Command(t, "ip", append([]string{"netns", "exec", netns, name}, args...)...)
}

// Eventually waits until what returns nil.
func Eventually(t testing.TB, what func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

var pluginDir string

// Main builds the plugin, runs the tests of m, and returns the exit status.
func Main(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces and need root")
		return 1
	}
	dir, err := os.MkdirTemp("", "felid-cni")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "felid-cni"), "github.com/felid-net/felid/cmd/felid-cni")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building felid-cni: %v\n%s", err, out)
		return 1
	}
	pluginDir = dir
	return m.Run()
}

// Plugin is the folder of the plugin that Main built.
func Plugin(t testing.TB) string {
	t.Helper()
	if pluginDir == "" {
		t.Fatal("TestMain does not call cnitest.Main")
	}
	return pluginDir
}
