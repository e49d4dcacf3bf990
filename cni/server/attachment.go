package server

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni"
	"github.com/felid-net/felid/ipam"
)

// NetworkAnnotation marks the records that this package wrote, and names the network of the endpoint.
const NetworkAnnotation = "cni.felid.dev/network"

// Labels that every pod's endpoint has, whatever its Pod object says.
const (
	labelNamespace    = "projectcalico.org/namespace"
	labelOrchestrator = "projectcalico.org/orchestrator"
)

// maxAlias is the longest interface alias: IFALIASZ of linux/if.h, less the final zero.
const maxAlias = 255

// attachment is an interface of a container on a network: what CNI adds and deletes.
type attachment struct {
	Network, ContainerID, IfName string
}

// handle is the owner that the addresses are assigned to. A dot in an interface's name or in a container id would make two
// attachments look alike; neither may have a colon.
func (a attachment) handle() string {
	undot := strings.NewReplacer(".", ":")
	return ipam.Handle(a.Network, undot.Replace(a.ContainerID), undot.Replace(a.IfName))
}

// alias is the mark on the host's interface, by which an agent without memory knows it.
func (a attachment) alias() string {
	return strings.Join([]string{"felid", a.Network, a.ContainerID, a.IfName}, " ")
}

// parseAlias reads what alias wrote.
func parseAlias(s string) (attachment, bool) {
	f := strings.Split(s, " ")
	if len(f) != 4 || f[0] != "felid" || f[1] == "" || f[2] == "" || f[3] == "" {
		return attachment{}, false
	}
	return attachment{Network: f[1], ContainerID: f[2], IfName: f[3]}, true
}

func (a attachment) String() string {
	return fmt.Sprintf("interface %s of container %s on network %s", a.IfName, a.ContainerID, a.Network)
}

// recordKey is the key of the record of an attachment: the pod's for its eth0, the pod's and the interface's for another one, the
// container's and the interface's without a pod.
func recordKey(a attachment, pod cni.PodArgs) v3.Key {
	switch {
	case pod.Name == "":
		return v3.Key{Kind: v3.KindWorkloadEndpoint, Name: "container+" + a.ContainerID + "+" + a.IfName}
	case a.IfName == "eth0":
		return v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: pod.Namespace, Name: pod.Name}
	default:
		return v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: pod.Namespace, Name: pod.Name + "+" + a.IfName}
	}
}

// InterfaceName is the host's interface of an endpoint: the prefix, and 11 hexadecimal digits of SHA-1 of what the endpoint is.
// ifName is "eth0", or a further interface of the same pod; namespace and pod are empty for a container without a pod.
func InterfaceName(prefix, namespace, pod, containerID, ifName string) string {
	what := namespace + "." + pod
	switch {
	case pod == "":
		what = containerID + "." + ifName
	case ifName != "eth0":
		what += "." + ifName
	}
	sum := sha1.Sum([]byte(what))
	return prefix + hex.EncodeToString(sum[:])[:11]
}

// newRecord is the endpoint of an attachment: what the Pod says of labels, ports and profiles, or, without a Pod object, what the
// configuration does.
func newRecord(e *entry, node string, view *v3.WorkloadEndpoint, labels map[string]string, addrs []netip.Addr, mac string) *v3.WorkloadEndpoint {
	rec := &v3.WorkloadEndpoint{
		TypeMeta: metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: string(v3.KindWorkloadEndpoint)},
		ObjectMeta: metav1.ObjectMeta{Namespace: e.key.Namespace, Name: e.key.Name,
			Annotations: map[string]string{NetworkAnnotation: e.Network}},
		Spec: v3.WorkloadEndpointSpec{
			Orchestrator: "k8s", Node: node, ContainerID: e.ContainerID, Pod: e.pod.Name, Endpoint: e.IfName,
			InterfaceName: e.host, MAC: mac,
		},
	}
	if e.pod.UID != "" {
		rec.Annotations[v3.PodUIDAnnotation] = e.pod.UID
	}
	for _, addr := range addrs {
		rec.Spec.IPNetworks = append(rec.Spec.IPNetworks, netip.PrefixFrom(addr, addr.BitLen()).String())
	}
	switch {
	case view != nil:
		rec.Labels = maps.Clone(view.Labels)
		rec.Spec.ServiceAccountName = view.Spec.ServiceAccountName
		rec.Spec.Profiles = slices.Clone(view.Spec.Profiles)
		rec.Spec.Ports = slices.Clone(view.Spec.Ports)
		rec.Spec.AllowSpoofedSourcePrefixes = slices.Clone(view.Spec.AllowSpoofedSourcePrefixes)
	case e.pod.Name != "":
		rec.Labels = withLabels(labels, labelNamespace, e.pod.Namespace, labelOrchestrator, "k8s")
		rec.Spec.Profiles = []string{"kns." + e.pod.Namespace}
	default:
		rec.Labels = withLabels(labels, labelOrchestrator, "cni")
		rec.Spec.Orchestrator = "cni"
		rec.Spec.Profiles = []string{e.Network}
	}
	return rec
}

// withLabels is labels with further pairs of key and value, which win.
func withLabels(labels map[string]string, pairs ...string) map[string]string {
	all := make(map[string]string, len(labels)+len(pairs)/2)
	maps.Copy(all, labels)
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

// entryOf reads a record back; ok is false if it is not one that this package wrote for this node.
func entryOf(rec *v3.WorkloadEndpoint, node string) (e *entry, ok bool) {
	network := rec.Annotations[NetworkAnnotation]
	if network == "" || rec.Spec.Node != node || rec.Spec.ContainerID == "" || rec.Spec.Endpoint == "" {
		return nil, false
	}
	return &entry{
		attachment: attachment{Network: network, ContainerID: rec.Spec.ContainerID, IfName: rec.Spec.Endpoint},
		key:        v3.KeyOf(rec), host: rec.Spec.InterfaceName, record: rec,
		pod: cni.PodArgs{Namespace: rec.Namespace, Name: rec.Spec.Pod, UID: rec.Annotations[v3.PodUIDAnnotation]},
	}, true
}

// addresses of a record; what can't be read is left out.
func addresses(rec *v3.WorkloadEndpoint) []netip.Addr {
	var addrs []netip.Addr
	for _, s := range rec.Spec.IPNetworks {
		if p, err := netip.ParsePrefix(s); err == nil {
			addrs = append(addrs, p.Addr())
		} else if a, err := netip.ParseAddr(s); err == nil {
			addrs = append(addrs, a)
		}
	}
	return addrs
}
