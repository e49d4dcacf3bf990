package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/felid-net/felid/cni"
)

// Options of a new lab.
type Options struct {
	Dir   string   // its folder; must not hold a lab already
	Name  string   // begins the names of its namespaces; "felid-lab" if empty
	Bin   string   // folder with felid and felid-cni
	Nodes int      // 1 to 9
	Agent []string // further flags for the agents
	IPv6  bool
	// Datastore is what the nodes share, as --datastore takes it; a folder of the lab's if empty.
	Datastore string
	// Outside are addresses of this machine, HOST:PORT of its loopback, that each node reaches under the same one, as long as this process lives.
	Outside []string
}

// Up makes the namespaces and starts the agents; it returns once all are ready to take pods. What it made is gone again if it fails.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("the lab makes network namespaces and needs root")
	}
	if exists(o.Dir) {
		return nil, fmt.Errorf("there is a lab in %s already; take it down first", o.Dir)
	}
	l := &Lab{Dir: o.Dir, Name: o.Name, Bin: o.Bin, Datastore: o.Datastore}
	if l.Name == "" {
		l.Name = "felid-lab"
	}
	if err := l.build(ctx, o); err != nil {
		return nil, errors.Join(err, l.Down(context.WithoutCancel(ctx)))
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context, o Options) error {
	if err := os.MkdirAll(l.storeDir(), 0o700); err != nil {
		return err
	}
	if err := l.makeFabric(); err != nil {
		return err
	}
	for i := 1; i <= o.Nodes; i++ {
		n := &Node{Name: "node-" + strconv.Itoa(i), Addr: []string{fmt.Sprintf("192.0.2.%d", i)}}
		if o.IPv6 {
			n.Addr = append(n.Addr, fmt.Sprintf("2001:db8::%d", i))
		}
		l.Nodes = append(l.Nodes, n)
		if err := errors.Join(l.save(), l.makeNode(n), l.reach(n, o.Outside), l.Start(n, o.Agent...), l.save()); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	for _, n := range l.Nodes {
		if err := l.WaitReady(ctx, n); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	return nil
}

// makeFabric makes the namespace whose bridge joins the nodes.
func (l *Lab) makeFabric() error {
	if err := errors.Join(l.save(), NewSpace(l.fabric())); err != nil {
		return err
	}
	return Within(l.fabric(), func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		if err := netlink.LinkAdd(bridge); err != nil {
			return fmt.Errorf("bridge: %w", err)
		}
		return netlink.LinkSetUp(bridge)
	})
}

// makeNode makes a node's namespace, joined to the bridge.
func (l *Lab) makeNode(n *Node) error {
	space := l.NodeSpace(n.Name)
	if err := errors.Join(NewSpace(space), os.MkdirAll(l.nodeDir(n.Name), 0o700)); err != nil {
		return err
	}
	if err := Within(l.fabric(), func() error { return plug(n.Name, space) }); err != nil {
		return err
	}
	return Within(space, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		for i, bits := range []int{24, 64}[:len(n.Addr)] {
			addr, err := netlink.ParseAddr(fmt.Sprintf("%s/%d", n.Addr[i], bits))
			if err != nil {
				return err
			}
			addr.Flags = syscall.IFA_F_NODAD
			if err := netlink.AddrAdd(link, addr); err != nil {
				return fmt.Errorf("address %s: %w", addr, err)
			}
		}
		return netlink.LinkSetUp(link)
	})
}

// plug adds a cable from the bridge of this namespace to eth0 of another.
func plug(port, space string) error {
	other, err := os.Open(SpacePath(space))
	if err != nil {
		return err
	}
	defer other.Close()
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port}, PeerName: "eth0", PeerNamespace: netlink.NsFd(other.Fd()),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	bridge, err := netlink.LinkByName("br0")
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetMaster(veth, bridge), netlink.LinkSetUp(veth))
}

// Start starts a node's agent. It goes on after this process ends.
func (l *Lab) Start(n *Node, flags ...string) error {
	log, err := os.OpenFile(l.Log(n.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	address := n.Addr[0]
	if len(n.Addr) > 1 {
		address += "," + n.Addr[1]
	}
	args := append([]string{
		"agent", "--node", n.Name, "--node-address", address, "--datastore", l.Store(), "--socket", l.Socket(n.Name),
		"--state-dir", l.nodeDir(n.Name), "--listen", "127.0.0.1:9199", "--iptables-lock-file", filepath.Join(l.nodeDir(n.Name), "xtables.lock"),
		"--ipv6=" + strconv.FormatBool(len(n.Addr) > 1),
	}, flags...)
	cmd := exec.Command(filepath.Join(l.Bin, "felid"), args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := Within(l.NodeSpace(n.Name), cmd.Start); err != nil {
		return err
	}
	n.PID = cmd.Process.Pid
	go func() { _ = cmd.Wait() }() // so that no zombie stays while this process lives
	return nil
}

// WaitReady waits until a node's agent takes pods.
func (l *Lab) WaitReady(ctx context.Context, n *Node) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := l.status(ctx, n)
		if err == nil {
			return nil
		}
		if !alive(n.PID) {
			return fmt.Errorf("the agent ended; see %s: %w", l.Log(n.Name), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the agent does not get ready; see %s: %w", l.Log(n.Name), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// status asks a node's agent, as the plugin does, whether it takes pods.
func (l *Lab) status(ctx context.Context, n *Node) error {
	answer, err := cni.Call(ctx, l.Socket(n.Name), &cni.Request{Verb: cni.Status, Config: l.netConf(n.Name)})
	if err == nil && answer.Error != nil {
		err = answer.Error
	}
	return err
}

func alive(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == nil }

// State is "running" or "ended", of the node's agent.
func (n *Node) State() string {
	if alive(n.PID) {
		return "running"
	}
	return "ended"
}
