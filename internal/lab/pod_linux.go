package lab

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

const network = "felid-lab"

// netConf is the plugin's configuration on a node.
func (l *Lab) netConf(node string) json.RawMessage {
	data, err := json.Marshal(map[string]any{
		"cniVersion": "1.1.0", "name": network, "type": "felid-cni", "socket": l.Socket(node),
	})
	if err != nil {
		panic(err) // strings only
	}
	return data
}

func (l *Lab) runtime(p *Pod) (*libcni.CNIConfig, *libcni.NetworkConfigList, *libcni.RuntimeConf, error) {
	list, err := libcni.NetworkConfFromBytes([]byte(fmt.Sprintf(
		`{"cniVersion":"1.1.0","name":%q,"plugins":[%s]}`, network, l.netConf(p.Node))))
	if err != nil {
		return nil, nil, nil, err
	}
	return libcni.NewCNIConfigWithCacheDir([]string{l.Bin}, filepath.Join(l.Dir, "cni-cache"), nil), list, &libcni.RuntimeConf{
		ContainerID: p.Container, NetNS: SpacePath(l.PodSpace(p)), IfName: "eth0",
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", p.Namespace}, {"K8S_POD_NAME", p.Name}, {"K8S_POD_INFRA_CONTAINER_ID", p.Container}},
	}, nil
}

// AddPod makes a sandbox on a node, connects it through the plugin, and starts a server on the ports in it. The Pod object, with the
// labels, is the caller's to put into the store, before.
func (l *Lab) AddPod(ctx context.Context, node, namespace, name string, ports []uint16) (*Pod, error) {
	sum := sha1.Sum([]byte(l.Dir + namespace + "/" + name))
	p := &Pod{Namespace: namespace, Name: name, Node: node, Container: hex.EncodeToString(sum[:]), Ports: ports}
	l.Pods = append(l.Pods, p)
	if err := errors.Join(l.save(), NewSpace(l.PodSpace(p))); err != nil {
		return nil, fmt.Errorf("%s: %w", p.ID(), err)
	}
	if err := l.connect(ctx, p); err != nil {
		return nil, fmt.Errorf("%s: %w", p.ID(), err)
	}
	if err := l.serve(p); err != nil {
		return nil, fmt.Errorf("%s: server: %w", p.ID(), err)
	}
	return p, l.save()
}

func (l *Lab) connect(ctx context.Context, p *Pod) error {
	plugin, list, rt, err := l.runtime(p)
	if err != nil {
		return err
	}
	result, err := plugin.AddNetworkList(ctx, list, rt)
	if err != nil {
		return err
	}
	r, err := types100.GetResult(result)
	if err != nil {
		return err
	}
	p.Addr = nil
	for _, ip := range r.IPs {
		p.Addr = append(p.Addr, ip.Address.IP.String())
	}
	return nil
}

// serve starts the pod's server.
func (l *Lab) serve(p *Pod) error {
	if len(p.Ports) == 0 {
		return nil
	}
	ports := make([]string, len(p.Ports))
	for i, port := range p.Ports {
		ports[i] = strconv.Itoa(int(port))
	}
	cmd := exec.Command(filepath.Join(l.Bin, "felid"), "lab", "serve", "--name", p.ID(), strings.Join(ports, ","))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	ready, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := Within(l.PodSpace(p), cmd.Start); err != nil {
		return err
	}
	p.PID = cmd.Process.Pid
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("it did not start: %w", errors.Join(err, cmd.Wait()))
	}
	go func() { _ = cmd.Wait() }()
	return nil
}

// RemovePod disconnects a pod and removes its sandbox.
func (l *Lab) RemovePod(ctx context.Context, p *Pod) error {
	kill(p.PID)
	plugin, list, rt, err := l.runtime(p)
	if err == nil {
		err = plugin.DelNetworkList(ctx, list, rt)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.ID(), err)
	}
	l.Pods = slices.DeleteFunc(l.Pods, func(other *Pod) bool { return other == p })
	return errors.Join(RemoveSpace(l.PodSpace(p)), l.save())
}

// Down removes the lab: agents, servers, namespaces, folder. Whatever is missing already is no error.
func (l *Lab) Down(context.Context) error {
	var errs []error
	for _, p := range l.Pods {
		kill(p.PID)
		errs = append(errs, RemoveSpace(l.PodSpace(p)))
	}
	for _, n := range l.Nodes {
		kill(n.PID)
		errs = append(errs, RemoveSpace(l.NodeSpace(n.Name)))
	}
	errs = append(errs, RemoveSpace(l.fabric()), os.RemoveAll(l.Dir))
	return errors.Join(errs...)
}

// kill ends a process of ours at once; agents leave their rules to the namespace, which goes too.
func kill(pid int) {
	if pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
