package cli

import (
	"encoding/json"
	"testing"

	"github.com/felid-net/felid/api/v1alpha1"
)

const statusYAML = `{apiVersion: v1, kind: Namespace, metadata: {name: st}}
---
apiVersion: v1
kind: Node
metadata: {name: win, labels: {kubernetes.io/os: windows}}
status: {addresses: [{type: InternalIP, address: 172.18.0.9}]}
---
apiVersion: v1
kind: Pod
metadata: {name: w, namespace: st, labels: {app: w}}
spec: {nodeName: win, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.66.0.1}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: partners, labels: {kind: partner}}
spec: {nets: [192.0.2.0/24]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: p, namespace: st}
spec:
  tier: none-such
  selector: app == 'w'
  types: [Ingress, Egress]
  ingress:
  - {action: Log}
  - {action: Allow, protocol: TCP, http: {methods: [GET]}}
  - {action: Allow, source: {selector: kind == 'partner', namespaceSelector: global(), notSelector: app == 'w'}}
  egress:
  - {action: Allow, destination: {domains: [example.com]}}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: nodes}
spec:
  tier: Admin
  priority: 1
  subject: {pods: {podSelector: {matchLabels: {app: none}}}}
  egress:
  - {action: Accept, to: [{nodes: {matchLabels: {kubernetes.io/os: windows}}}, {namespaces: {matchLabels: {kubernetes.io/metadata.name: st}}}]}
`

func TestPolicyStatus(t *testing.T) {
	file := writeFile(t, statusYAML)
	golden(t, "policy-status.txt", call(t).ok("policy", "status", "-f", file).out)
	var reports []v1alpha1.PolicyReport
	o := call(t).ok("policy", "status", "st/p", "-f", file, "-o", "json")
	if err := json.Unmarshal([]byte(o.out), &reports); err != nil {
		t.Fatal(err)
	}
	if len(reports) != 1 || *reports[0].Selected != 1 || reports[0].Tier != "none-such" || reports[0].NotExpressed[0].Rule != 1 {
		t.Errorf("got %s", o.out)
	}
	if o.err != "" {
		t.Errorf("what the answer says is said twice: %s", o.err)
	}
	if o := call(t).run("policy", "status", "st/none", "-f", file); o.status != exitNo {
		t.Errorf("status %d", o.status)
	}
}

func TestPolicyEndpointsRulesOfAllSorts(t *testing.T) {
	file := writeFile(t, statusYAML)
	wants(t, call(t).ok("policy", "endpoints", "st/p", "--rules", "-f", file).out,
		"ingress rule 2: from globalnetworkset/partners but not pod/st/w to any\n")
	wants(t, call(t).ok("policy", "endpoints", "nodes", "--rules", "-f", file).out, "egress rule 0: from any to node/win, pod/st/w\n")
}
