package dptest

import (
	"embed"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

//go:embed testdata/*.txtar
var caseFiles embed.FS

// Case is one behaviour: a cluster, its policies, and what they say of some flows.
type Case struct {
	Name   string // of the file, without its ending
	Title  string
	Reason string
	// Objects are the resources as the core consumes them: Kubernetes' own are converted, pods have an interface and a node.
	Objects []v3.Object
	Flows   []Flow
	Options Options
	// ForeignRules are iptables-save lines that stand after felid's own in the filter table of IPv4.
	ForeignRules string

	files []txtar.File
	world *world // Objects, indexed for finding ends of flows
}

// Options of a case.
type Options struct {
	// Guest: felid is beside another CNI. Otherwise it owns the network.
	Guest bool `json:"guest"`
	// HostToWorkload is All (default) or Policy.
	HostToWorkload string `json:"hostToWorkload"`
	// WorkloadToHost is Allow (default), Deny or Pass.
	WorkloadToHost string `json:"workloadToHost"`
	// NoIPv6: the hosts do not route IPv6, and pods' IPv6 is dropped.
	NoIPv6 bool `json:"noIPv6"`
	// Skip names runners that can't take the case (iptables, acls, packets), each with the reason.
	Skip map[string]string `json:"skip"`
}

// Host is the host part of the State of one node under these options.
func (o Options) Host(node dataplane.NodeName) dataplane.Host {
	h := dataplane.Host{
		Node:            node,
		Owner:           !o.Guest,
		InterfacePrefix: InterfacePrefix,
		WorkloadToHost:  dataplane.Allow,
		IPv6:            !o.NoIPv6,
	}
	if o.HostToWorkload == "Policy" {
		h.HostToWorkload = dataplane.HostToWorkloadPolicy
	}
	switch o.WorkloadToHost {
	case "Deny":
		h.WorkloadToHost = dataplane.Deny
	case "Pass":
		h.WorkloadToHost = dataplane.Pass
	}
	return h
}

// Cases returns every shared case, in the order of their names. A case that can't be read fails the test.
func Cases(t testing.TB) []*Case {
	t.Helper()
	names, err := fs.Glob(caseFiles, "testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	cases := make([]*Case, 0, len(names))
	for _, name := range names {
		data, err := caseFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseCase(strings.TrimSuffix(path.Base(name), ".txtar"), data, readExample)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		cases = append(cases, c)
	}
	if len(cases) == 0 {
		t.Fatal("no shared case can be read")
	}
	return cases
}

// ParseCase reads a case; example returns the content of a file of the published examples.
func ParseCase(name string, data []byte, example func(string) ([]byte, error)) (*Case, error) {
	archive := txtar.Parse(data)
	c := &Case{Name: name, files: archive.Files}
	c.Title, c.Reason, _ = strings.Cut(strings.TrimSpace(string(archive.Comment)), "\n")
	if c.Title == "" || strings.TrimSpace(c.Reason) == "" {
		return nil, fmt.Errorf("the comment needs a title and, below it, the reason")
	}
	if err := c.checkFiles(); err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalStrict(c.file("options"), &c.Options); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	if err := c.Options.check(); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	c.ForeignRules = string(c.file("foreign-rules"))
	if err := c.load(example); err != nil {
		return nil, err
	}
	c.world = newWorld(c.Objects)
	var err error
	c.Flows, err = parseFlows(string(c.file("flows")), c.addresses())
	if err != nil {
		return nil, fmt.Errorf("flows: %w", err)
	}
	if len(c.Flows) == 0 {
		return nil, fmt.Errorf("flows: there is none")
	}
	return c, nil
}

func (c *Case) checkFiles() error {
	seen := map[string]bool{}
	for _, f := range c.files {
		switch f.Name {
		case "cluster", "resources.yaml", "flows", "options", "foreign-rules", "example":
		default:
			return fmt.Errorf("unknown file %q in the case", f.Name)
		}
		if seen[f.Name] {
			return fmt.Errorf("file %q is there twice", f.Name)
		}
		seen[f.Name] = true
	}
	return nil
}

func (c *Case) file(name string) []byte {
	for _, f := range c.files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func (o Options) check() error {
	if o.HostToWorkload != "" && o.HostToWorkload != "All" && o.HostToWorkload != "Policy" {
		return fmt.Errorf("hostToWorkload is %q, must be All or Policy", o.HostToWorkload)
	}
	switch o.WorkloadToHost {
	case "", "Allow", "Deny", "Pass":
	default:
		return fmt.Errorf("workloadToHost is %q, must be Allow, Deny or Pass", o.WorkloadToHost)
	}
	for runner, reason := range o.Skip {
		if runner != RunnerIPTables && runner != RunnerACLs && runner != RunnerPackets {
			return fmt.Errorf("skip names an unknown runner %q", runner)
		}
		if reason == "" {
			return fmt.Errorf("skip of %s needs a reason", runner)
		}
	}
	return nil
}

// The runners that a case may be kept from, with a reason.
const (
	RunnerIPTables = "iptables"
	RunnerACLs     = "acls"
	RunnerPackets  = "packets"
)

// Nodes are the nodes that endpoints of the case are on, sorted.
func (c *Case) Nodes() []dataplane.NodeName {
	return c.world.nodeNames()
}

// addresses maps "pod/NS/NAME" and "node/NAME" to their addresses.
func (c *Case) addresses() map[string][]netip.Addr {
	m := map[string][]netip.Addr{}
	for _, e := range c.world.endpoints {
		m[string(e.id)] = e.addrs
	}
	for name, addrs := range c.world.nodes {
		m["node/"+name] = addrs
	}
	return m
}
