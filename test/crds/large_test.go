package crds

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
)

// Rules in CEL have a budget at run time besides the one that is estimated: what the API server can store at all must fit into it.
func TestLargeObjectsAreJudgedWithinTheBudget(t *testing.T) {
	admin := newClient(t, server(t).Config)
	nets := make([]string, 90_000)
	for i := range nets {
		nets[i] = fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)
	}
	long := "a in {'" + strings.Repeat("x", 400) + "'}"
	rule := func(i int) map[string]any {
		return map[string]any{
			"action": "Allow", "protocol": "tcp",
			"source":      map[string]any{"selector": long, "nets": nets[i*4 : i*4+4]},
			"destination": map[string]any{"namespaceSelector": long, "notNets": nets[:2], "ports": []any{80, "443", "8000:8010", "http"}},
		}
	}
	rules := make([]any, 512)
	for i := range rules {
		rules[i] = rule(i)
	}
	for kind, spec := range map[v3.Kind]map[string]any{
		v3.KindGlobalNetworkSet:    {"nets": nets},
		v3.KindGlobalNetworkPolicy: {"ingress": rules, "egress": rules},
		v3.KindNetworkPolicy:       {"ingress": []any{map[string]any{"action": "Deny", "source": map[string]any{"nets": nets[:256], "notNets": nets[:256]}}}},
	} {
		o := newObject(kind, "large", spec)
		data, err := json.Marshal(o.fields)
		if err != nil {
			t.Fatal(err)
		}
		if a := create(t, admin, kind, "corpus", string(data)); a.code != 201 {
			t.Errorf("%s of %d bytes: %.500s", kind, len(data), a)
		}
	}
}
