//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/internal/lab"
)

const (
	sequential = 100 // ADDs one after the other
	parallel   = 20  // at once
	rounds     = 5   // of those
)

// sandbox is a container with a network namespace, and a pod of the store.
type sandbox struct{ space, namespace, pod, container string }

// cni measures the plugin's whole process: an ADD ends with policy in force.
func (b *bench) cni(objects []v3.Object) error {
	w, err := b.newWorld(objects)
	if err != nil {
		return err
	}
	sandboxes, err := w.sandboxes(sequential)
	if err == nil {
		err = b.cniRun(w, sandboxes)
	}
	for _, s := range sandboxes {
		err = errors.Join(err, lab.RemoveSpace(s.space))
	}
	return errors.Join(err, w.close(), b.cniSize())
}

func (b *bench) cniRun(w *world, sandboxes []sandbox) error {
	p, err := w.start()
	if err != nil {
		return err
	}
	if _, err = p.readyUsage(); err == nil {
		err = w.cniReady()
	}
	if err == nil {
		err = b.cniSequential(w, p, sandboxes)
	}
	if err == nil {
		err = b.cniParallel(w, sandboxes[:parallel])
	}
	return errors.Join(err, p.stop())
}

// cniReady waits until the agent takes requests.
func (w *world) cniReady() (err error) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err = w.call("STATUS", sandbox{}); err == nil {
			return nil
		}
	}
	return err
}

// sandboxes makes n, and their Pod objects: such that policies of W1 apply to them.
func (w *world) sandboxes(n int) (all []sandbox, err error) {
	pods, ok := w.store.(directory)
	if !ok {
		return nil, errors.New("cni needs -store local: no other store here has Pods")
	}
	for i := range n {
		s := sandbox{
			space: fmt.Sprintf("%sc%03d", prefix, i), namespace: fmt.Sprintf("ns-%03d", i%10), pod: fmt.Sprintf("bench-%d", i),
			container: fmt.Sprintf("%064x", i+1),
		}
		all = append(all, s)
		pod := fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":%q,"labels":{"app":"app-%d","role":"role-%d"}},`+
			`"spec":{"nodeName":"peer-node0","containers":[{"name":"c","image":"i"}]}}`, s.pod, s.namespace, i%20, i%7)
		if err := errors.Join(lab.NewSpace(s.space), pods.writeFile([]byte(pod), "Pod", s.namespace, s.pod+".json")); err != nil {
			return all, err
		}
	}
	return all, nil
}

// call runs the plugin in the node's namespace, and returns how long its process took.
func (w *world) call(verb string, s sandbox) (time.Duration, error) {
	var out, failure bytes.Buffer
	cmd := exec.Command(filepath.Join(w.bin, "felid-cni"))
	cmd.Stdout, cmd.Stderr = &out, &failure
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"cniVersion":"1.1.0","name":"bench","type":"felid-cni","socket":%q}`, w.socket()))
	cmd.Env = []string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + s.container, "CNI_NETNS=" + lab.SpacePath(s.space), "CNI_IFNAME=eth0", "CNI_PATH=" + w.bin,
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=" + s.namespace + ";K8S_POD_NAME=" + s.pod + ";K8S_POD_INFRA_CONTAINER_ID=" + s.container,
	}
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if err != nil {
		err = fmt.Errorf("%s of %s/%s: %w: %s%s", verb, s.namespace, s.pod, err, out.String(), failure.String())
	}
	return took, err
}

func (b *bench) cniSequential(w *world, p *process, sandboxes []sandbox) error {
	var adds, dels []time.Duration
	before, err := p.usage()
	if err != nil {
		return err
	}
	for _, s := range sandboxes {
		took, err := w.call("ADD", s)
		if err != nil {
			return err
		}
		adds = append(adds, took)
	}
	after, err := p.usage()
	if err != nil {
		return err
	}
	if err := b.enforced(sandboxes); err != nil {
		return err
	}
	for _, s := range sandboxes {
		took, err := w.call("DEL", s)
		if err != nil {
			return err
		}
		dels = append(dels, took)
	}
	b.figure("W1 CNI ADD, one at a time: p50", "ms", milliseconds(percentile(adds, 50)), b.barsOf("nft", 241, 30))
	b.figure("W1 CNI ADD, one at a time: p99", "ms", milliseconds(percentile(adds, 99)), none)
	b.figure("W1 CNI DEL, one at a time: p50", "ms", milliseconds(percentile(dels, 50)), none)
	b.note("the agent's CPU an ADD: %.1f ms, programs it ran included; load %s", milliseconds(after.cpu-before.cpu)/float64(len(adds)), load())
	return nil
}

func (b *bench) cniParallel(w *world, sandboxes []sandbox) error {
	var adds []time.Duration
	for range rounds {
		took := make([]time.Duration, len(sandboxes))
		var group errgroup.Group
		for i, s := range sandboxes {
			group.Go(func() (err error) {
				took[i], err = w.call("ADD", s)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		adds = append(adds, took...)
		if err := b.enforced(sandboxes); err != nil {
			return err
		}
		for _, s := range sandboxes {
			if _, err := w.call("DEL", s); err != nil {
				return err
			}
		}
	}
	b.figure(fmt.Sprintf("W1 CNI ADD, %d at once: p50", parallel), "ms", milliseconds(percentile(adds, 50)), none)
	b.figure(fmt.Sprintf("W1 CNI ADD, %d at once: p99", parallel), "ms", milliseconds(percentile(adds, 99)), b.barsOf("nft", 2500, 300))
	return nil
}

// enforced looks in the kernel, past the agent, for the chains of every sandbox's interface.
func (b *bench) enforced(sandboxes []sandbox) error {
	var rules []byte
	err := lab.Within(nodeSpace, func() (err error) {
		rules, err = exec.Command("iptables-"+b.backend+"-save", "-t", "filter").Output()
		return err
	})
	if err != nil {
		return err
	}
	names, err := hostNames()
	if err != nil {
		return err
	}
	for _, s := range sandboxes {
		if name := names[s.container]; name == "" || !bytes.Contains(rules, []byte(" "+name+" ")) {
			return fmt.Errorf("%s/%s: ADD has returned, and no rule names its interface %q", s.namespace, s.pod, name)
		}
	}
	return nil
}

// cniSize is what the plugin takes on disk.
func (b *bench) cniSize() error {
	info, err := os.Stat(filepath.Join(b.bin, "felid-cni"))
	if err == nil {
		b.figure("felid-cni on disk", "MB", float64(info.Size())/1e6, b.barsOf("nft", 126, 5))
	}
	return err
}

// hostNames are the names of the host's ends, by container: the last but one word of their alias.
func hostNames() (names map[string]string, err error) {
	names = map[string]string{}
	err = lab.Within(nodeSpace, func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			if words := strings.Fields(l.Attrs().Alias); len(words) == 4 {
				names[words[2]] = l.Attrs().Name
			}
		}
		return err
	})
	return names, err
}
