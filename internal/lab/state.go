package lab

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Lab is a virtual cluster, as its state file keeps it.
type Lab struct {
	// Dir holds the store, the nodes' folders and the state file.
	Dir string `json:"dir"`
	// Name begins the names of all namespaces of the lab.
	Name string `json:"name"`
	// Bin is the folder with the programs felid and felid-cni.
	Bin   string  `json:"bin"`
	Nodes []*Node `json:"nodes"`
	Pods  []*Pod  `json:"pods"`
	// Datastore is what the nodes share where it is not a folder of the lab's.
	Datastore string `json:"datastore,omitempty"`
}

// Node is a node of the lab.
type Node struct {
	Name string   `json:"name"`
	Addr []string `json:"addr"` // IPv4, IPv6
	PID  int      `json:"pid"`  // of its agent
}

// Pod is a sandbox that felid-cni connected.
type Pod struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Node      string   `json:"node"`
	Container string   `json:"container"`
	Addr      []string `json:"addr"`
	Ports     []uint16 `json:"ports"` // TCP ports that its server listens on
	PID       int      `json:"pid"`   // of its server
}

// Open reads the lab in dir; fs.ErrNotExist if there is none.
func Open(dir string) (*Lab, error) {
	data, err := os.ReadFile(filepath.Join(dir, "lab.json"))
	if err != nil {
		return nil, err
	}
	l := &Lab{}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("%s/lab.json: %w", dir, err)
	}
	return l, nil
}

func (l *Lab) save() error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(l.Dir, "lab.json")
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Store is the datastore that all nodes share, as --datastore takes it.
func (l *Lab) Store() string { return cmp.Or(l.Datastore, "local:"+l.storeDir()) }

func (l *Lab) storeDir() string { return filepath.Join(l.Dir, "store") }

func (l *Lab) nodeDir(node string) string { return filepath.Join(l.Dir, node) }

// Socket is where a node's agent takes CNI calls.
func (l *Lab) Socket(node string) string { return filepath.Join(l.nodeDir(node), "cni.sock") }

// Log is the file that a node's agent logs to.
func (l *Lab) Log(node string) string { return filepath.Join(l.nodeDir(node), "agent.log") }

func (l *Lab) fabric() string { return l.Name + "-fabric" }

// NodeSpace is the network namespace of a node.
func (l *Lab) NodeSpace(node string) string { return l.Name + "-" + node }

// PodSpace is the network namespace of a pod.
func (l *Lab) PodSpace(p *Pod) string { return l.Name + "-" + p.Namespace + "-" + p.Name }

// Pod finds a pod by "pod/NS/NAME".
func (l *Lab) Pod(id string) (*Pod, error) {
	for _, p := range l.Pods {
		if id == p.ID() {
			return p, nil
		}
	}
	names := make([]string, len(l.Pods))
	for i, p := range l.Pods {
		names[i] = p.ID()
	}
	return nil, fmt.Errorf("no %s in the lab; there are: %s", id, strings.Join(names, ", "))
}

// ID is "pod/NS/NAME".
func (p *Pod) ID() string { return "pod/" + p.Namespace + "/" + p.Name }

// Node finds a node by name.
func (l *Lab) Node(name string) (*Node, error) {
	for _, n := range l.Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node %s in the lab", name)
}

// exists tells whether dir holds a lab.
func exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "lab.json"))
	return !errors.Is(err, fs.ErrNotExist)
}
