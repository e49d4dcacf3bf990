package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/felid-net/felid/test/kubernetes"
)

func TestMain(m *testing.M) { os.Exit(kubernetes.Main(m)) }

const (
	top     = "../.."
	account = "system:serviceaccount:felid-system:felid-node"
)

var prepared sync.Once

// server has the CRDs, the agents' rights and their limits.
func server(t *testing.T) *kubernetes.Server {
	t.Helper()
	s := kubernetes.Shared(t)
	prepared.Do(func() {
		s.InstallCRDs(t)
		s.Namespace(t, "felid-system")
		s.Namespace(t, "default")
		deploy := filepath.Join(top, "deploy")
		s.Apply(t, filepath.Join(deploy, "rbac-node.yaml"), filepath.Join(deploy, "policies", "node-writes.yaml"))
		as := agentOf(t, s, "elsewhere")
		// Rights and policies take effect a little after they are written.
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			status, answer := as.call(http.MethodPost, "/apis/events.k8s.io/v1/namespaces/default/events", event("Node", "elsewhere"))
			if status == http.StatusUnprocessableEntity && strings.Contains(answer, "felid-node-events") {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the policies do not take effect: %d %s", status, answer)
			}
		}
	})
	return s
}

// caller is somebody who calls the API server.
type caller struct {
	t      *testing.T
	config *rest.Config
	client *http.Client
}

func callAs(t *testing.T, config *rest.Config) *caller {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return &caller{t, config, client}
}

// agentOf is the agent of a node, as the API server knows it by a token that is bound to its pod; "" for a token that is bound to none.
func agentOf(t *testing.T, s *kubernetes.Server, node string) *caller {
	t.Helper()
	extra := map[string][]string{}
	if node != "" {
		extra["authentication.kubernetes.io/node-name"] = []string{node}
	}
	return callAs(t, s.As(account, extra, "system:serviceaccounts", "system:serviceaccounts:felid-system", "system:authenticated"))
}

func (c *caller) call(method, path, body string) (status int, answer string) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.config.Host+path, bytes.NewReader([]byte(body)))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	response, err := c.client.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// merge is a PUT of the object as it is, with a merge patch (RFC 7386) of at most two levels of keys: agents write whole objects.
func (c *caller) merge(path, patch string) (status int, answer string) {
	c.t.Helper()
	var change map[string]map[string]any
	_, now := c.call(http.MethodGet, path, "")
	var whole map[string]any
	for _, err := range []error{json.Unmarshal([]byte(now), &whole), json.Unmarshal([]byte(patch), &change)} {
		if err != nil {
			c.t.Fatal(err)
		}
	}
	for part, keys := range change {
		object := whole[part].(map[string]any)
		for key, value := range keys {
			if value == nil {
				delete(object, key)
			} else {
				object[key] = value
			}
		}
	}
	text, err := json.Marshal(whole)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.call(http.MethodPut, path, string(text))
}

// do calls; "MERGE" is merge.
func (c *caller) do(method, path, body string) (status int, answer string) {
	c.t.Helper()
	if method == "MERGE" {
		return c.merge(path, body)
	}
	return c.call(method, path, body)
}

func short(text string) string { return text[:min(len(text), 600)] }

// may calls, which must succeed.
func (c *caller) may(method, path, body string) {
	c.t.Helper()
	if status, answer := c.do(method, path, body); status >= 300 {
		c.t.Errorf("%s %s %s: %d %s", method, path, short(body), status, short(answer))
	}
}

// mayNot calls, which must be refused for the reason that says gives, and by nothing else.
func (c *caller) mayNot(method, path, body, says string) {
	c.t.Helper()
	if status, answer := c.do(method, path, body); status < 300 || !strings.Contains(answer, says) {
		c.t.Errorf("%s %s %s: %d %s\nwant a refusal that says %q", method, path, short(body), status, short(answer), says)
	}
}

const calico = "/apis/projectcalico.org/v3"

// block is an IPAMBlock of four addresses; node "" for no affinity, of for the node in an attribute.
func block(name, cidr, node, of string) string {
	affinity := ""
	if node != "" {
		affinity = fmt.Sprintf(`"affinity":"host:%s",`, node)
	}
	attributes, allocations := `[]`, `[null,null,null,null]`
	if of != "" {
		attributes = fmt.Sprintf(`[{"handle_id":"h.%[1]s","secondary":{"node":"%[1]s","pod":"p","namespace":"ns"}}]`, of)
		allocations = `[0,null,null,null]`
	}
	return fmt.Sprintf(`{"apiVersion":"projectcalico.org/v3","kind":"IPAMBlock","metadata":{"name":"%s"},"spec":{"cidr":"%s",%s
		"allocations":%s,"unallocated":[1,2,3],"attributes":%s,"sequenceNumber":1}}`, name, cidr, affinity, allocations, attributes)
}

// TestBlocks: a node writes blocks of its own, and neither takes nor gives one.
func TestBlocks(t *testing.T) {
	s := server(t)
	admin, n1, n2, nobody := callAs(t, s.Config), agentOf(t, s, "n1"), agentOf(t, s, "n2"), agentOf(t, s, "")
	const blocks = calico + "/ipamblocks"
	const mine, theirs, free = "10-1-0-0-30", "10-1-0-4-30", "10-1-0-8-30"
	const notYours = "may write no block but those"
	n1.may("POST", blocks, block(mine, "10.1.0.0/30", "n1", ""))
	n2.may("POST", blocks, block(theirs, "10.1.0.4/30", "n2", "n2"))
	admin.may("POST", blocks, block(free, "10.1.0.8/30", "", ""))
	n1.may("POST", blocks, block("fd00---126", "fd00::/126", "n1", "n1"))

	n1.may("MERGE", blocks+"/"+mine, `{"spec":{"sequenceNumber":2}}`)
	n1.mayNot("POST", blocks, block("10-1-0-12-30", "10.1.0.12/30", "n2", ""), notYours)
	n1.mayNot("POST", blocks, block("10-1-0-12-30", "10.1.0.12/30", "", ""), notYours)
	n1.mayNot("POST", blocks, strings.Replace(block("10-1-0-12-30", "10.1.0.12/30", "n1", ""), "host:n1", "virtual:n1", 1), notYours)
	n1.mayNot("POST", blocks, block("other-name", "10.1.0.4/30", "n1", ""), "a block's name must be its CIDR")
	n1.mayNot("MERGE", blocks+"/"+mine, `{"spec":{"cidr":"10.1.0.4/30"}}`, "a block's name must be its CIDR")

	// Others' blocks: as they are, taken, and taken after they were given up; and one's own given away.
	for _, name := range []string{theirs, free} {
		n1.mayNot("MERGE", blocks+"/"+name, `{"spec":{"sequenceNumber":9}}`, notYours)
		n1.mayNot("MERGE", blocks+"/"+name, `{"spec":{"affinity":"host:n1"}}`, notYours)
		n1.mayNot("MERGE", blocks+"/"+name, `{"metadata":{"labels":{"a":"b"}}}`, notYours)
		n1.mayNot("DELETE", blocks+"/"+name, "", notYours)
	}
	n1.mayNot("MERGE", blocks+"/"+mine, `{"spec":{"affinity":"host:n2"}}`, notYours)
	n1.mayNot("MERGE", blocks+"/"+mine, `{"spec":{"affinity":null}}`, notYours)
	n1.mayNot("DELETE", blocks, "", "deletecollection")

	// Who has an address: pods of this node, beside what others wrote.
	n1.mayNot("MERGE", blocks+"/"+mine, `{"spec":{"attributes":[{"handle_id":"h","secondary":{"node":"n2","pod":"victim","namespace":"prod"}}]}}`, "to no other node")
	admin.may("MERGE", blocks+"/"+mine, `{"spec":{"attributes":[{"handle_id":"h","secondary":{"node":"n2","pod":"borrower"}}]}}`)
	n1.may("MERGE", blocks+"/"+mine, `{"spec":{"attributes":[{"handle_id":"h","secondary":{"node":"n2","pod":"borrower"}},{"handle_id":"i","secondary":{"node":"n1"}}]}}`)
	n1.mayNot("MERGE", blocks+"/"+mine, `{"spec":{"attributes":[{"handle_id":"h","secondary":{"node":"n2","pod":"victim"}}]}}`, "to no other node")

	for method, body := range map[string]string{"POST": block("10-1-0-12-30", "10.1.0.12/30", "", ""), "MERGE": `{"spec":{"sequenceNumber":3}}`, "DELETE": ""} {
		path := blocks
		if method != "POST" {
			path += "/" + mine
		}
		nobody.mayNot(method, path, body, "no node is in the token")
	}
	n1.may("DELETE", blocks+"/"+mine, "")
}

// TestFullBlock: a block with as many attributes as addresses is within what the API server lets an expression cost.
func TestFullBlock(t *testing.T) {
	s := server(t)
	n1 := agentOf(t, s, "n1")
	type object = map[string]any
	attributes, allocations := []object{}, []int{}
	for i := range 256 {
		attributes = append(attributes, object{"handle_id": fmt.Sprintf("felid.%064d.eth0", i), "secondary": object{
			"node": "n1", "pod": fmt.Sprintf("pod-%d", i), "namespace": "default", "container": fmt.Sprintf("%064d", i), "timestamp": "2026-01-01 00:00:00 UTC"}})
		allocations = append(allocations, i)
	}
	spec := object{"cidr": "10.2.0.0/24", "affinity": "host:n1", "allocations": allocations, "unallocated": []int{}, "attributes": attributes, "sequenceNumber": 1}
	body := func(o object) string {
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	n1.may("POST", calico+"/ipamblocks", body(object{"apiVersion": "projectcalico.org/v3", "kind": "IPAMBlock", "metadata": object{"name": "10-2-0-0-24"}, "spec": spec}))
	const path = calico + "/ipamblocks/10-2-0-0-24"
	n1.may("MERGE", path, body(object{"spec": object{"sequenceNumber": 2}}))
	for _, a := range attributes { // the worst case: each is compared with all that there were
		a["secondary"].(object)["node"] = "n2"
	}
	callAs(t, s.Config).may("MERGE", path, body(object{"spec": object{"attributes": attributes}}))
	n1.may("MERGE", path, body(object{"spec": object{"sequenceNumber": 3}}))
	n1.may("DELETE", calico+"/ipamblocks/10-2-0-0-24", "")
}

func affinity(name, node, kind string) string {
	return fmt.Sprintf(`{"apiVersion":"projectcalico.org/v3","kind":"BlockAffinity","metadata":{"name":"%s"},
		"spec":{"state":"pending","node":"%s","type":"%s","cidr":"10.1.0.0/30"}}`, name, node, kind)
}

func TestAffinities(t *testing.T) {
	s := server(t)
	n1, n2, nobody := agentOf(t, s, "n1"), agentOf(t, s, "n2"), agentOf(t, s, "")
	const affinities = calico + "/blockaffinities"
	n1.may("POST", affinities, affinity("n1-10-1-0-0-30", "n1", "host"))
	n2.may("POST", affinities, affinity("n2-10-1-0-0-30", "n2", "host"))
	n1.may("MERGE", affinities+"/n1-10-1-0-0-30", `{"spec":{"state":"confirmed"}}`)
	const own = "may write no affinity but its own"
	n1.mayNot("POST", affinities, affinity("n1-10-1-0-4-30", "n2", "host"), own)
	n1.mayNot("POST", affinities, affinity("n1-10-1-0-4-30", "n1", "virtual"), own)
	n1.mayNot("POST", affinities, affinity("n2-10-1-0-4-30", "n1", "host"), "must begin with n1-")
	n1.mayNot("MERGE", affinities+"/n2-10-1-0-0-30", `{"spec":{"state":"confirmed"}}`, own)
	n1.mayNot("MERGE", affinities+"/n2-10-1-0-0-30", `{"spec":{"node":"n1"}}`, own)
	n1.mayNot("MERGE", affinities+"/n1-10-1-0-0-30", `{"spec":{"node":"n2"}}`, own)
	n1.mayNot("DELETE", affinities+"/n2-10-1-0-0-30", "", own)
	nobody.mayNot("POST", affinities, affinity("x", "n1", "host"), "no node is in the token")
	n1.may("DELETE", affinities+"/n1-10-1-0-0-30", "")
}

func TestReports(t *testing.T) {
	s := server(t)
	admin, n1, nobody := callAs(t, s.Config), agentOf(t, s, "n1"), agentOf(t, s, "")
	const reports = "/apis/felid.dev/v1alpha1/nodereports"
	report := func(name string) string {
		return fmt.Sprintf(`{"apiVersion":"felid.dev/v1alpha1","kind":"NodeReport","metadata":{"name":"%s"}}`, name)
	}
	n1.may("POST", reports, report("n1"))
	admin.may("POST", reports, report("n2"))
	n1.mayNot("POST", reports, report("n3"), "no report but the NodeReport n1")
	_, there := n1.call("GET", reports+"/n2", "")
	n1.mayNot("PUT", reports+"/n2", there, "no report but the NodeReport n1")
	_, there = n1.call("GET", reports+"/n1", "")
	n1.may("PUT", reports+"/n1", there)
	nobody.mayNot("POST", reports, report("n4"), "no node is in the token")
	n1.mayNot("DELETE", reports+"/n2", "", "forbidden")
	n1.mayNot("POST", "/apis/felid.dev/v1alpha1/namespaces/default/policyreports", `{"apiVersion":"felid.dev/v1alpha1","kind":"PolicyReport","metadata":{"name":"a"}}`, "forbidden")
}

func TestNodes(t *testing.T) {
	s := server(t)
	admin, n1, nobody := callAs(t, s.Config), agentOf(t, s, "n1"), agentOf(t, s, "")
	const nodes = "/api/v1/nodes"
	for _, name := range []string{"n1", "n2"} {
		admin.may("POST", nodes, fmt.Sprintf(`{"kind":"Node","apiVersion":"v1","metadata":{"name":"%s","labels":{"zone":"a"}},"spec":{"podCIDR":"10.9.0.0/24","podCIDRs":["10.9.0.0/24"],
			"taints":[{"key":"felid.dev/agent-not-ready","effect":"NoSchedule"},{"key":"dedicated","value":"x","effect":"NoSchedule"}]}}`, name))
	}
	const dedicated = `{"key":"dedicated","value":"x","effect":"NoSchedule"}`
	n1.mayNot("PATCH", nodes+"/n2", `{"spec":{"taints":[`+dedicated+`]}}`, "its own node")
	nobody.mayNot("PATCH", nodes+"/n1", `{"spec":{"taints":[`+dedicated+`]}}`, "its own node")
	const onlyOurs = "only take those off that begin felid.dev/"
	n1.mayNot("PATCH", nodes+"/n1", `{"spec":{"taints":[]}}`, onlyOurs)
	n1.mayNot("PATCH", nodes+"/n1", `{"spec":{"taints":[{"key":"dedicated","value":"y","effect":"NoSchedule"}]}}`, onlyOurs)
	n1.mayNot("PATCH", nodes+"/n1", `{"spec":{"taints":[`+dedicated+`,{"key":"evict","effect":"NoExecute"}]}}`, onlyOurs)
	for _, patch := range []string{
		`{"metadata":{"labels":{"zone":"b"}}}`, `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`, `{"metadata":{"annotations":{"a":"b"}}}`,
		`{"metadata":{"finalizers":["example.com/stay"]}}`, `{"spec":{"unschedulable":true}}`, `{"spec":{"providerID":"x://y"}}`,
		`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n2","uid":"u"}]}}`,
	} {
		n1.mayNot("PATCH", nodes+"/n1", patch, "nothing of its node but the start-up taint")
	}
	n1.mayNot("PATCH", nodes+"/n1/status", `{"status":{"conditions":[]}}`, "forbidden")
	n1.mayNot("DELETE", nodes+"/n1", "", "forbidden")
	// The API server itself has put a taint on a node that has never been ready.
	var node struct {
		Spec struct{ Taints []map[string]any }
	}
	_, text := n1.call("GET", nodes+"/n1", "")
	if err := json.Unmarshal([]byte(text), &node); err != nil {
		t.Fatal(err)
	}
	left, err := json.Marshal(slices.DeleteFunc(node.Spec.Taints, func(t map[string]any) bool { return t["key"] == "felid.dev/agent-not-ready" }))
	if err != nil {
		t.Fatal(err)
	}
	n1.may("PATCH", nodes+"/n1", `{"spec":{"taints":`+string(left)+`}}`)
}

func event(kind, instance string) string {
	return fmt.Sprintf(`{"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"generateName":"e-","namespace":"default"},"eventTime":"2026-01-01T00:00:00.000000Z","type":"Warning",
		"reason":"DeniedEgress","action":"Denied","reportingController":"felid.dev/agent","reportingInstance":"%s","regarding":{"kind":"%s","namespace":"default","name":"p"}}`, instance, kind)
}

func TestEvents(t *testing.T) {
	s := server(t)
	n1, nobody := agentOf(t, s, "n1"), agentOf(t, s, "")
	const events = "/apis/events.k8s.io/v1/namespaces/default/events"
	n1.may("POST", events, event("Pod", "n1"))
	n1.mayNot("POST", events, event("Pod", "n2"), "may only create events of pods")
	n1.mayNot("POST", events, event("Node", "n1"), "may only create events of pods")
	nobody.mayNot("POST", events, event("Pod", "n1"), "may only create events of pods")
}

// TestNothingElse: what an agent has no business with it can't write at all, nor read.
func TestNothingElse(t *testing.T) {
	s := server(t)
	n1 := agentOf(t, s, "n1")
	for _, path := range []string{"tiers", "globalnetworkpolicies", "hostendpoints", "ippools", "profiles", "ipamhandles", "felixconfigurations"} {
		n1.mayNot("POST", calico+"/"+path, `{"metadata":{"name":"x"}}`, "forbidden")
	}
	n1.mayNot("POST", calico+"/namespaces/default/networkpolicies", `{}`, "forbidden")
	n1.mayNot("GET", "/api/v1/secrets", "", "forbidden")
	n1.mayNot("GET", "/api/v1/configmaps", "", "forbidden")
	n1.mayNot("PATCH", "/api/v1/namespaces/default/pods/x", `{}`, "forbidden")
	n1.mayNot("POST", "/api/v1/namespaces/default/pods/x/exec", "", "forbidden")
	n1.mayNot("POST", "/api/v1/namespaces/felid-system/serviceaccounts/felid-controller/token", `{}`, "forbidden")
}
