package crds

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
)

// manifest is an object of a kind; spec is JSON.
func manifest(kind v3.Kind, namespace, name, spec string) string {
	return fmt.Sprintf(`{"apiVersion":"projectcalico.org/v3","kind":%q,"metadata":{"name":%q,"namespace":%q},"spec":%s}`, kind, name, namespace, spec)
}

// forbidden holds that a call is refused, by what says text.
func (c *client) forbidden(t *testing.T, method, path, body, text string) {
	t.Helper()
	if a := c.do(t, method, path, body); a.code != http.StatusForbidden || !strings.Contains(a.message, text) {
		t.Errorf("%s %s %s: %s; want 403 with %q", method, path, body, a, text)
	}
}

// invalid holds that a call is refused by a CRD, by what says text.
func (c *client) invalid(t *testing.T, method, path, body, text string) {
	t.Helper()
	if a := c.do(t, method, path, body); a.code != http.StatusUnprocessableEntity || !strings.Contains(a.message, text) {
		t.Errorf("%s %s %s: %s; want 422 with %q", method, path, body, a, text)
	}
}

func TestBuiltInTiersStay(t *testing.T) {
	admin := newClient(t, server(t).Config)
	tiers := collection(v3.KindTier, "")
	for _, name := range []string{"default", "kube-admin", "kube-baseline"} {
		data, err := v3.Encode(v3.BuiltInTier(name))
		if err != nil {
			t.Fatal(err)
		}
		admin.must(t, http.MethodPost, tiers, string(data), 201)
		path := tiers + "/" + name
		admin.forbidden(t, http.MethodDelete, path, "", "the tier "+name+" is built in")
		admin.forbidden(t, http.MethodDelete, tiers+"?fieldSelector=metadata.name="+name, "", "the tier "+name+" is built in")
		for _, spec := range []string{`{"order":5}`, `{"defaultAction":"Deny","order":1}`, `{"defaultAction":"` + other(name) + `"}`} {
			admin.invalid(t, http.MethodPatch, path, `{"spec":`+spec+`}`, "the built-in tier "+name+" has order")
			admin.invalid(t, http.MethodPatch, path+"?fieldManager=test&force=true", manifest(v3.KindTier, "", name, spec), "the built-in tier "+name+" has order")
		}
		admin.must(t, http.MethodPatch, path, `{"metadata":{"labels":{"a":"b"}}}`, 200)
		got := decoded[v3.Tier](t, admin, v3.KindTier, "", name)
		want := v3.BuiltInTier(name)
		if *got.Spec.Order != *want.Spec.Order || got.Spec.DefaultAction != want.Spec.DefaultAction {
			t.Errorf("%s is now %+v", name, got.Spec)
		}
	}
}

// other is the default action that a built-in tier does not have.
func other(name string) string {
	if v3.BuiltInTier(name).Spec.DefaultAction == v3.Deny {
		return string(v3.Pass)
	}
	return string(v3.Deny)
}

func TestTierInUseStays(t *testing.T) {
	admin := newClient(t, server(t).Config)
	path := collection(v3.KindTier, "") + "/used"
	makeTier(t, admin, "used", 3)
	admin.forbidden(t, http.MethodDelete, path, "", "the tier used is in use by 3 policies")
	admin.forbidden(t, http.MethodDelete, collection(v3.KindTier, "")+"?fieldSelector=metadata.name=used", "", "in use by 3 policies")
	// A write of the tier itself leaves its status alone.
	admin.must(t, http.MethodPatch, path, `{"spec":{"order":7},"status":{"policies":0}}`, 200)
	admin.forbidden(t, http.MethodDelete, path, "", "the tier used is in use by 3 policies")
	makeTier(t, admin, "used", 0)
	admin.must(t, http.MethodDelete, path, "", 200)
	makeTier(t, admin, "unknown", 0)
	admin.must(t, http.MethodPatch, collection(v3.KindTier, "")+"/unknown/status", `{"status":null}`, 200)
	admin.must(t, http.MethodDelete, collection(v3.KindTier, "")+"/unknown", "", 200)
}

func TestPoolsKeepTheirRange(t *testing.T) {
	admin := newClient(t, server(t).Config)
	pools := collection(v3.KindIPPool, "")
	admin.must(t, http.MethodPost, pools, manifest(v3.KindIPPool, "", "p", `{"cidr":"10.9.0.0/16"}`), 201)
	defer admin.do(t, http.MethodDelete, pools+"/p", "")
	admin.invalid(t, http.MethodPatch, pools+"/p", `{"spec":{"cidr":"10.8.0.0/16"}}`, "can't be changed; make another pool and delete this one")
	admin.invalid(t, http.MethodPatch, pools+"/p", `{"spec":{"blockSize":27}}`, "blockSize can't be changed; make another pool and delete this one")
	admin.must(t, http.MethodPatch, pools+"/p", `{"spec":{"blockSize":26,"disabled":true}}`, 200)
	admin.must(t, http.MethodPatch, pools+"/p", `{"spec":{"blockSize":null}}`, 200)
}

// Status is written apart, by who may write it.
func TestStatusIsApart(t *testing.T) {
	s := server(t)
	admin := newClient(t, s.Config)
	condition := `{"status":{"conditions":[{"type":"Accepted","status":"False","reason":"Invalid","message":"m","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`
	for kind, spec := range map[v3.Kind]string{
		v3.KindNetworkPolicy: `{}`, v3.KindGlobalNetworkPolicy: `{}`, v3.KindNetworkSet: `{}`, v3.KindGlobalNetworkSet: `{}`,
		v3.KindHostEndpoint: `{"node":"n1","interfaceName":"eth0"}`, v3.KindIPPool: `{"cidr":"10.7.0.0/16"}`, v3.KindTier: `{}`,
	} {
		path := collection(kind, "corpus")
		object := manifest(kind, map[bool]string{true: "corpus"}[strings.Contains(path, "/namespaces/")], "apart", spec)
		admin.must(t, http.MethodPost, path, object, 201)
		admin.must(t, http.MethodPatch, path+"/apart", condition, 200)
		if got := admin.must(t, http.MethodGet, path+"/apart", "", 200); strings.Contains(string(got.body), "Accepted") {
			t.Errorf("%s: a write of the object wrote its status", kind)
		}
		admin.must(t, http.MethodPatch, path+"/apart/status", condition, 200)
		if got := admin.must(t, http.MethodGet, path+"/apart", "", 200); !strings.Contains(string(got.body), "Accepted") {
			t.Errorf("%s: a write of the status is lost: %s", kind, got.body)
		}
		writer := newClient(t, s.As("writer", nil, "writers"))
		writer.forbidden(t, http.MethodPatch, path+"/apart/status", condition, "cannot patch resource")
		if out := s.Kubectl(t, "get", strings.TrimPrefix(path[strings.LastIndex(path, "/"):], "/")+".projectcalico.org", "-n", "corpus", "apart"); !strings.Contains(out, "AGE") {
			t.Errorf("%s is printed as %s", kind, out)
		}
		admin.must(t, http.MethodDelete, path+"/apart", "", 200)
	}
}
