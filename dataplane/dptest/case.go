package dptest

import (
	"embed"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strconv"
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

	files   []txtar.File
	origins [][]byte           // the Kubernetes objects that Objects are views of
	stored  bool               // Objects has some that are no views
	devices map[string]devices // of nodes, beside Uplink
	world   *world             // Objects, indexed for finding ends of flows
}

// Options of a case.
type Options struct {
	// Guest: felid is beside another CNI. Otherwise it owns the network.
	Guest bool `json:"guest"`
	// HostToWorkload is All (default), Policy or ProbePorts.
	HostToWorkload string `json:"hostToWorkload"`
	// WorkloadToHost is Allow (default), Deny or Pass.
	WorkloadToHost string `json:"workloadToHost"`
	// NoIPv6: the hosts do not route IPv6, and pods' IPv6 is dropped.
	NoIPv6 bool `json:"noIPv6"`
	// FailsafeInbound and FailsafeOutbound are "PROTOCOL PORT" or "PROTOCOL PORT NET"; absent: the default ones.
	FailsafeInbound  []string `json:"failsafeInbound"`
	FailsafeOutbound []string `json:"failsafeOutbound"`
	// Skip names runners that can't take the case (iptables, acls, packets), each with the reason.
	Skip map[string]string `json:"skip"`

	// clusterPolicies are the case's ClusterNetworkPolicies as written, for the judge.
	clusterPolicies [][]byte
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
	h.FailsafeInbound, _ = readFailsafes(o.FailsafeInbound, defaultInbound) // Options are checked
	h.FailsafeOutbound, _ = readFailsafes(o.FailsafeOutbound, defaultOutbound)
	switch o.HostToWorkload {
	case "Policy":
		h.HostToWorkload = dataplane.HostToWorkloadPolicy
	case "ProbePorts":
		h.HostToWorkload = dataplane.HostToWorkloadProbePorts
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
	c.Flows, err = c.parseFlows(string(c.file("flows")))
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
	switch o.HostToWorkload {
	case "", "All", "Policy", "ProbePorts":
	default:
		return fmt.Errorf("hostToWorkload is %q, must be All, Policy or ProbePorts", o.HostToWorkload)
	}
	for _, list := range [][]string{o.FailsafeInbound, o.FailsafeOutbound} {
		if _, err := readFailsafes(list, nil); err != nil {
			return err
		}
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

// The failsafe ports where a case does not say.
var (
	defaultInbound  = []string{"TCP 22", "TCP 179", "TCP 2379", "TCP 2380", "TCP 5473", "TCP 6443", "TCP 6666", "TCP 6667", "UDP 68"}
	defaultOutbound = []string{"TCP 179", "TCP 2379", "TCP 2380", "TCP 5473", "TCP 6443", "TCP 6666", "TCP 6667", "UDP 53", "UDP 67"}
)

func readFailsafes(list, otherwise []string) ([]dataplane.Failsafe, error) {
	if list == nil {
		list = otherwise
	}
	var failsafes []dataplane.Failsafe
	for _, text := range list {
		words := strings.Fields(text)
		if len(words) < 2 || len(words) > 3 || portProtocols[words[0]] == 0 {
			return nil, fmt.Errorf("can't read the failsafe %q, want PROTOCOL PORT [NET]", text)
		}
		port, err := strconv.ParseUint(words[1], 10, 16)
		if err != nil {
			return nil, fmt.Errorf("failsafe %q: %w", text, err)
		}
		f := dataplane.Failsafe{Protocol: portProtocols[words[0]], Port: uint16(port)}
		if len(words) == 3 {
			if f.Net, err = netip.ParsePrefix(words[2]); err != nil {
				return nil, fmt.Errorf("failsafe %q: %w", text, err)
			}
		}
		failsafes = append(failsafes, f)
	}
	return failsafes, nil
}
