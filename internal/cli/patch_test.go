package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPatch(t *testing.T) {
	eachStore(t, func(t *testing.T, c caller) {
		c.in = "apiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {name: s, namespace: web-ns, labels: {a: b, c: d}}\nspec: {nets: [10.0.0.0/8, fd00::/8]}\n"
		c.ok("apply", "-f", "-")
		patch := func(text string) outcome { return c.run("patch", "netset", "-n", "web-ns", "s", "-p", text) }
		if o := patch("metadata: {labels: {a: null, e: f}}\nspec: {nets: [10.1.0.0/16]}"); o.status != 0 || o.out != "NetworkSet web-ns/s patched\n" {
			t.Fatalf("%+v", o)
		}
		if o := patch(`{"spec": {"nets": ["10.1.0.0/16"]}}`); o.status != 0 || o.out != "NetworkSet web-ns/s patched (no change)\n" {
			t.Errorf("%+v", o)
		}
		got := c.ok("get", "netset", "-n", "web-ns", "s", "-o", "yaml").out
		wants(t, got, "    c: d\n    e: f\n", "  nets:\n  - 10.1.0.0/16\n")
		if strings.Contains(got, "a: b") || strings.Contains(got, "fd00") {
			t.Errorf("after the patch:\n%s", got)
		}
		for text, want := range map[string]string{
			`{"spec": {"nets": ["10.0.0.0/33"]}}`: "spec.nets[0]", `{"spec": {"mood": 1}}`: "spec.mood: unknown field", `{"spec": 7}`: "spec",
			`{"metadata": {"name": "other"}}`: "it would be NetworkSet web-ns/other; valid: changes of other fields than name and namespace",
		} {
			if o := patch(text); o.status != exitNo || !strings.Contains(o.err, "NetworkSet web-ns/s: ") || !strings.Contains(o.err, want) {
				t.Errorf("%s: %+v", text, o)
			}
		}
		if after := c.ok("get", "netset", "-n", "web-ns", "s", "-o", "yaml").out; after != got {
			t.Errorf("what was refused was written:\n%s", cmp.Diff(got, after))
		}
	})
}

func TestPatchThatIsNone(t *testing.T) {
	c, _ := storeCaller(t)
	for _, text := range []string{"", "7", "[1]", "{", "null"} {
		if o := c.run("patch", "tier", "a", "-p", text); o.status != exitUsage || !strings.Contains(o.err, "-p") {
			t.Errorf("%q: %+v", text, o)
		}
	}
	if o := c.run("patch", "tier", "a", "-p", "{}"); o.status != exitNo || !strings.Contains(o.err, "Tier a: not found") {
		t.Errorf("%+v", o)
	}
}

// TestMergePatch are the examples of RFC 7386, appendix A.
func TestMergePatch(t *testing.T) {
	m := func(pairs ...any) map[string]any {
		out := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i].(string)] = pairs[i+1]
		}
		return out
	}
	for _, c := range []struct{ target, patch, want any }{
		{m("a", "b"), m("a", "c"), m("a", "c")},
		{m("a", "b"), m("b", "c"), m("a", "b", "b", "c")},
		{m("a", "b"), m("a", nil), m()},
		{m("a", "b", "b", "c"), m("a", nil), m("b", "c")},
		{m("a", []any{"b"}), m("a", "c"), m("a", "c")},
		{m("a", "c"), m("a", []any{"b"}), m("a", []any{"b"})},
		{m("a", m("b", "c")), m("a", m("b", "d", "c", nil)), m("a", m("b", "d"))},
		{m("a", []any{m("b", "c")}), m("a", []any{1}), m("a", []any{1})},
		{[]any{"a", "b"}, []any{"c", "d"}, []any{"c", "d"}},
		{m("a", "foo"), "bar", "bar"},
		{m("e", nil), m("a", 1), m("e", nil, "a", 1)},
		{[]any{1, 2}, m("a", "b", "c", nil), m("a", "b")},
		{m(), m("a", m("bb", m("ccc", nil))), m("a", m("bb", m()))},
	} {
		if diff := cmp.Diff(c.want, mergePatch(c.target, c.patch)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
