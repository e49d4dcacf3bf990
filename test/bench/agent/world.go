//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/internal/lab"
	"github.com/felid-net/felid/test/bench/workload"
)

const (
	prefix    = "felid-bench-" // of every namespace and folder
	nodeSpace = prefix + "node"
	podSpace  = prefix + "pods"
	tmpfs     = "/dev/shm"
	listen    = "127.0.0.1:9199" // in the node's namespace
)

// world is the store and the namespaces of one measurement.
type world struct {
	dir   string // on tmpfs
	bin   string
	flags []string
	store backing
}

// newWorld writes the objects into a store on tmpfs and makes an interface for each local endpoint.
func (b *bench) newWorld(objects []v3.Object) (*world, error) {
	dir, err := os.MkdirTemp(tmpfs, prefix)
	if err != nil {
		return nil, err
	}
	w := &world{dir: dir, bin: b.bin, flags: b.flags()}
	if err = errors.Join(lab.NewSpace(nodeSpace), lab.NewSpace(podSpace)); err == nil {
		w.store, err = stores[b.store](dir)
	}
	if err == nil {
		err = w.store.fill(objects)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	var links []string
	for _, o := range objects {
		if wep, ok := o.(*v3.WorkloadEndpoint); ok && wep.Spec.Node == workload.Node {
			links = append(links, wep.Spec.InterfaceName)
		}
	}
	if err := w.addLinks(links); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// addLinks makes the veths, their other ends in the pods' namespace, all up.
func (w *world) addLinks(names []string) error {
	pods, err := os.Open(lab.SpacePath(podSpace))
	if err != nil {
		return err
	}
	defer pods.Close()
	return lab.Within(nodeSpace, func() error {
		for i, name := range names {
			veth := &netlink.Veth{
				LinkAttrs: netlink.LinkAttrs{Name: name, Flags: net.FlagUp}, PeerName: fmt.Sprintf("p%08d", i), PeerNamespace: netlink.NsFd(pods.Fd()),
			}
			if err := netlink.LinkAdd(veth); err != nil {
				return fmt.Errorf("veth %s: %w", name, err)
			}
		}
		return lab.Within(podSpace, allUp)
	})
}

func allUp() error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) close() (err error) {
	if w.store != nil {
		err = w.store.close()
	}
	return errors.Join(err, lab.RemoveSpace(nodeSpace), lab.RemoveSpace(podSpace), os.RemoveAll(w.dir))
}

func (w *world) socket() string { return filepath.Join(w.dir, "cni.sock") }

// command is an agent of this world, not started yet.
func (w *world) command() *exec.Cmd {
	args := slices.Concat([]string{
		"agent", "--node", workload.Node, "--datastore", w.store.flag(), "--socket", w.socket(),
		"--state-dir", w.dir, "--listen", listen, "--interface-prefix", "cali", "--log-level", "error",
		"--iptables-lock-file", filepath.Join(w.dir, "xtables.lock"),
	}, w.flags)
	cmd := exec.Command(filepath.Join(w.bin, "felid"), args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd
}

// takeOver makes sure that no other bench runs, and removes what one that was killed has left.
func takeOver() (unlock func(), err error) {
	lock, err := os.OpenFile("/run/felid-bench.lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another bench runs: %s: %w", lock.Name(), err), lock.Close())
	}
	return func() { _ = lock.Close() }, cleanUp()
}

// cleanUp ends the agents of benches and removes their namespaces and folders.
func cleanUp() error {
	spaces, _ := filepath.Glob(lab.SpacePath(prefix + "*"))
	dirs, _ := filepath.Glob(filepath.Join(tmpfs, prefix+"*"))
	var errs []error
	for _, dir := range dirs {
		kill("--state-dir", dir)
		kill("--data-dir", filepath.Join(dir, "etcd"))
	}
	for _, space := range spaces {
		errs = append(errs, lab.RemoveSpace(filepath.Base(space)))
	}
	for _, dir := range dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// kill ends the process that has this flag, if there is one.
func kill(flag, value string) {
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range processes {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), "\x00"+flag+"\x00"+value+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
