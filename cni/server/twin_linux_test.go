package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni/server"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
	"github.com/felid-net/felid/datastore/local"
	"github.com/felid-net/felid/ipam"
	"github.com/felid-net/felid/test/cnitest"
)

const (
	envDir   = "FELID_TEST_TWIN" // set: this process is a twin's agent, and this is its folder
	envStore = "FELID_TEST_STORE"
	envWait  = "FELID_TEST_TIMEOUT"
	envGuest = "FELID_TEST_GUEST" // set: another plugin connects the pods
	node     = "node-1"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		fmt.Fprintln(os.Stderr, runTwin(dir))
		os.Exit(1)
	}
	os.Exit(cnitest.Main(m))
}

func TestPlugin(t *testing.T) {
	cnitest.Run(t, func(t *testing.T) cnitest.World { return newTwin(t, lent) })
}

// TestPluginLocal is the same on a directory, which the agent and the test open each for itself.
func TestPluginLocal(t *testing.T) {
	cnitest.Run(t, func(t *testing.T) cnitest.World { return newTwin(t, inFolder) })
}

func TestPluginFaults(t *testing.T) {
	cnitest.RunFaults(t, func(t *testing.T) cnitest.Faulty { return newTwin(t, lent) })
}

// TestBrokenRecord: an interface whose record can't be read may be a running pod's, and stays.
func TestBrokenRecord(t *testing.T) {
	w := newTwin(t, inFolder)
	cnitest.RunBroken(t, w, func(t *testing.T, rec *v3.WorkloadEndpoint) {
		found, err := filepath.Glob(filepath.Join(w.dir, "store", "*", rec.Namespace, rec.Name+".*"))
		if err != nil || len(found) != 1 {
			t.Fatalf("the record's file: %v, %v", found, err)
		}
		if err := os.WriteFile(found[0], []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
}

// twin is a node whose agent is this package's server with a loop in memory, in a process of its own that can be killed.
type twin struct {
	dir     string
	netns   string
	kind    string
	store   datastore.Store
	look    func() datastore.Store // the store as it is now: one in a folder hears of others' changes a little later
	timeout string
	guest   string // "" for the owner of the network
	agent   *exec.Cmd
	log     *bytes.Buffer
}

// Where a twin's store is.
const (
	lent     = "lent"     // in the test's memory
	inFolder = "inFolder" // in the folder "store"
)

func newTwin(t testing.TB, kind string) *twin {
	t.Helper()
	w := &twin{dir: t.TempDir(), kind: kind, timeout: "10s"}
	if len(w.dir) > 90 { // a socket's path has at most 107 bytes
		w.dir = shortDir(t)
	}
	w.openStore(t)
	w.netns = cnitest.NewNetns(t, "node")
	for name, cidr := range map[string]string{"pool-4": cnitest.Pool4, "pool-6": cnitest.Pool6} {
		pool := &v3.IPPool{Spec: v3.IPPoolSpec{CIDR: cidr}}
		pool.Kind, pool.APIVersion, pool.Name = string(v3.KindIPPool), v3.APIVersion, name
		if _, err := w.store.Create(context.Background(), pool); err != nil {
			t.Fatal(err)
		}
	}
	w.start(t)
	t.Cleanup(func() {
		w.kill(t)
		if strings.Contains(w.log.String(), "DATA RACE") {
			t.Error("the agent has a data race")
		}
		if t.Failed() {
			t.Logf("agent:\n%s", w.log)
		}
	})
	return w
}

func (w *twin) openStore(t testing.TB) {
	t.Helper()
	if w.kind == inFolder {
		w.look = func() datastore.Store { return openLocal(t, filepath.Join(w.dir, "store")) }
		w.store = w.look()
		return
	}
	w.store = dstest.NewMemory()
	w.look = func() datastore.Store { return w.store }
	l, err := net.Listen("unix", filepath.Join(w.dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := lend(l, w.store); err != nil {
		t.Fatal(err)
	}
}

func openLocal(t testing.TB, dir string) datastore.Store {
	t.Helper()
	store, err := local.Open(dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "felid")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (w *twin) Start(t *testing.T) { w.start(t) }

func (w *twin) start(t testing.TB) {
	t.Helper()
	if w.log == nil {
		w.log = new(bytes.Buffer)
	}
	w.agent = exec.Command("ip", "netns", "exec", w.netns, os.Args[0])
	w.agent.Env = append(os.Environ(), envDir+"="+w.dir, envStore+"="+w.kind, envWait+"="+w.timeout, envGuest+"="+w.guest)
	w.agent.Stdout, w.agent.Stderr = w.log, w.log
	if err := w.agent.Start(); err != nil {
		t.Fatal(err)
	}
	cnitest.Eventually(t, func() error { return cnitest.Serving(w) })
}

func (w *twin) Kill(t *testing.T) { w.kill(t) }

func (w *twin) kill(t testing.TB) {
	t.Helper()
	if w.agent == nil {
		return
	}
	_ = w.agent.Process.Kill()
	_ = w.agent.Wait()
	w.agent = nil
}

func (w *twin) Netns() string          { return w.netns }
func (w *twin) Socket() string         { return filepath.Join(w.dir, "cni.sock") }
func (w *twin) Node() string           { return node }
func (w *twin) Store() datastore.Store { return w.look() }

func (w *twin) Hold(t *testing.T, hold bool) { w.flag(t, "hold", hold) }

func (w *twin) OutOfSync(t *testing.T, out bool) { w.flag(t, "unready", out) }

// flag makes or removes a file that the agent looks for.
func (w *twin) flag(t *testing.T, name string, on bool) {
	t.Helper()
	path := filepath.Join(w.dir, name)
	err := os.Remove(path)
	if on {
		err = os.WriteFile(path, nil, 0o600)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func (w *twin) SetTimeout(_ *testing.T, d string) { w.timeout = d }

// runTwin is the agent's process: it is in the node's network namespace.
func runTwin(dir string) error {
	store, err := openTwinStore(filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	timeout, err := time.ParseDuration(os.Getenv(envWait))
	if err != nil {
		return err
	}
	for _, sysctl := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/net/"+sysctl, []byte("1"), 0o644); err != nil {
			return err
		}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	s, err := server.New(server.Options{
		Socket: filepath.Join(dir, "cni.sock"), Node: node, Guest: os.Getenv(envGuest) != "", InterfacePrefix: "fld", IPv6: true, Timeout: timeout,
		Store: store, IPAM: ipam.New(store, node, ipam.Options{Log: log}), Pods: pods{store},
		Loop: &twinLoop{hold: filepath.Join(dir, "hold"), unready: filepath.Join(dir, "unready"), inForce: map[v3.Key]*v3.WorkloadEndpoint{}}, Log: log,
	})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	list, err := store.List(context.Background(), v3.KindWorkloadEndpoint, "")
	if err != nil {
		return err
	}
	var records []*v3.WorkloadEndpoint
	for _, o := range list.Objects {
		records = append(records, o.(*v3.WorkloadEndpoint))
	}
	if err := s.Rebuild(context.Background(), records, len(list.Faults) == 0); err != nil {
		return err
	}
	return <-served
}

func openTwinStore(path string) (datastore.Store, error) {
	if os.Getenv(envStore) == inFolder {
		return local.Open(path, local.Options{})
	}
	return borrow(path)
}

// pods finds pods in the store.
type pods struct{ store datastore.Store }

func (p pods) Pod(ctx context.Context, namespace, name string) (*v3.WorkloadEndpoint, error) {
	o, err := p.store.Get(ctx, v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	return o.(*v3.WorkloadEndpoint), nil
}

// twinLoop is a node loop in memory. An endpoint is in force when the host has its routes: without them no answer reaches the pod.
type twinLoop struct {
	hold    string // nothing comes in force while this file is there
	unready string // not ready while this file is there
	mu      sync.Mutex
	inForce map[v3.Key]*v3.WorkloadEndpoint
}

func (l *twinLoop) Ready() error {
	if _, err := os.Stat(l.unready); err == nil {
		return errors.New("not in sync")
	}
	return nil
}

func (l *twinLoop) Add(ctx context.Context, wep *v3.WorkloadEndpoint) error {
	for {
		if _, err := os.Stat(l.hold); err != nil {
			break
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inForce[v3.KeyOf(wep)] = wep
	return eachRoute(wep, netlink.RouteReplace)
}

func (l *twinLoop) Remove(_ context.Context, wep *v3.WorkloadEndpoint) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := v3.KeyOf(wep)
	if now := l.inForce[key]; now != nil && now.Spec.ContainerID != wep.Spec.ContainerID {
		return nil
	}
	delete(l.inForce, key)
	_ = eachRoute(wep, netlink.RouteDel) // gone with the interface, perhaps
	return nil
}

func eachRoute(wep *v3.WorkloadEndpoint, do func(*netlink.Route) error) error {
	link, err := netlink.LinkByName(wep.Spec.InterfaceName)
	if err != nil {
		return err
	}
	for _, n := range wep.Spec.IPNetworks {
		p := netip.MustParsePrefix(n)
		dst := &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
		if err := do(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK}); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}
