package crds

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/test/kubernetes"
)

// inForce bounds the time until the API server's authorizer has seen a new role.
const inForce = time.Minute

// permission is a rule of a role for the group projectcalico.org.
type permission struct {
	Resources []string `json:"resources"`
	Names     []string `json:"resourceNames,omitempty"`
	Verbs     []string `json:"verbs"`
	Groups    []string `json:"apiGroups"`
}

func may(resource, name string, verbs ...string) permission {
	p := permission{Resources: []string{resource}, Verbs: verbs, Groups: []string{v3.Group}}
	if name != "" {
		p.Names = []string{name}
	}
	return p
}

// seesTier lets get a tier.
func seesTier(name string) permission { return may("tiers", name, "get") }

// user is one who may do all with policies, and what is granted besides. A namespace limits the grants on namespaced resources to it.
func user(t *testing.T, s *kubernetes.Server, name, namespace string, grants ...permission) *client {
	t.Helper()
	admin := newClient(t, s.Config)
	var local, everywhere []permission
	for _, g := range grants {
		if namespace != "" && g.Resources[0] != "tiers" {
			local = append(local, g)
		} else {
			everywhere = append(everywhere, g)
		}
	}
	bind(t, admin, "", name, everywhere)
	if namespace != "" {
		bind(t, admin, namespace, name, local)
	}
	return newClient(t, s.As(name, nil, "writers"))
}

// bind makes a role with its binding, and waits until the last rule of it holds.
func bind(t *testing.T, admin *client, namespace, user string, rules []permission) {
	t.Helper()
	if len(rules) == 0 {
		return
	}
	path, kind := "/apis/rbac.authorization.k8s.io/v1/", "ClusterRole"
	if namespace != "" {
		path, kind = path+"namespaces/"+namespace+"/", "Role"
	}
	data, err := json.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	plural := strings.ToLower(kind) + "s"
	admin.must(t, http.MethodPost, path+plural, fmt.Sprintf(`{"metadata":{"name":"test-%s"},"rules":%s}`, user, data), 201)
	admin.must(t, http.MethodPost, path+strings.TrimSuffix(plural, "s")+"bindings", fmt.Sprintf(
		`{"metadata":{"name":"test-%s"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":%q,"name":"test-%s"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":%q}]}`,
		user, kind, user, user), 201)
	last := rules[len(rules)-1]
	name := strings.Join(last.Names, "")
	review := fmt.Sprintf(`{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":%q,"resourceAttributes":{"group":%q,"resource":%q,"name":%q,"namespace":%q,"verb":%q}}}`,
		user, v3.Group, last.Resources[0], name, namespace, last.Verbs[0])
	within(t, inForce, func() string {
		a := admin.must(t, http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", review, 201)
		if strings.Contains(string(a.body), `"allowed":true`) {
			return ""
		}
		return "the role of " + user + " is not in force: " + string(a.body)
	})
}

// policies are the kinds that are in a tier, with their resources.
var policies = map[v3.Kind]string{
	v3.KindNetworkPolicy: "networkpolicies", v3.KindGlobalNetworkPolicy: "globalnetworkpolicies",
	v3.KindStagedNetworkPolicy: "stagednetworkpolicies", v3.KindStagedGlobalNetworkPolicy: "stagedglobalnetworkpolicies",
}

// place is the namespace for objects of a kind.
func place(kind v3.Kind, namespace string) string {
	if info, _ := v3.InfoOf(kind); !info.Namespaced {
		return ""
	}
	return namespace
}

// inTier is a policy; no tier is left out.
func inTier(kind v3.Kind, namespace, name, tier string) string {
	spec := `{"selector":"all()"}`
	if tier != "" {
		spec = fmt.Sprintf(`{"tier":%q}`, tier)
	}
	return manifest(kind, place(kind, namespace), name, spec)
}

const apply = "?fieldManager=test&force=true"

func TestTierPermissions(t *testing.T) {
	s := server(t)
	admin := newClient(t, s.Config)
	for kind, resource := range policies {
		t.Run(resource, func(t *testing.T) {
			namespace := "rbac-" + resource
			s.Namespace(t, namespace)
			path := collection(kind, namespace)
			all := "tier." + resource
			stranger := user(t, s, resource+"-stranger", "")
			member := user(t, s, resource+"-member", "", seesTier("app"), may(all, "app.*", "*"))
			tryWithout(t, stranger, kind, namespace)

			member.must(t, http.MethodPost, path, inTier(kind, namespace, "web", "app"), 201)
			member.must(t, http.MethodPatch, path+"/web", `{"spec":{"order":1}}`, 200)
			member.must(t, http.MethodPatch, path+"/web"+apply, inTier(kind, namespace, "web", "app"), 200)
			for _, tier := range []string{"", "default", "other"} {
				missing := "missing get on tiers.projectcalico.org " + or(tier, "default")
				member.forbidden(t, http.MethodPost, path, inTier(kind, namespace, "db", tier), missing)
				member.forbidden(t, http.MethodPatch, path+"/db"+apply, inTier(kind, namespace, "db", tier), missing)
			}
			tryMoves(t, admin, member, kind, namespace)
			member.must(t, http.MethodDelete, path+"/web", "", 200)
		})
	}
}

func or(text, absent string) string {
	if text == "" {
		return absent
	}
	return text
}

// tryWithout tries everything without a permission on any tier.
func tryWithout(t *testing.T, c *client, kind v3.Kind, namespace string) {
	t.Helper()
	path := collection(kind, namespace)
	for _, tier := range []string{"", "default", "app"} {
		missing := "missing get on tiers.projectcalico.org " + or(tier, "default")
		c.forbidden(t, http.MethodPost, path, inTier(kind, namespace, "x", tier), missing)
		c.forbidden(t, http.MethodPost, path+"?dryRun=All", inTier(kind, namespace, "x", tier), missing)
		c.forbidden(t, http.MethodPatch, path+"/x"+apply, inTier(kind, namespace, "x", tier), missing)
	}
	c.forbidden(t, http.MethodPost, path, manifest(kind, place(kind, namespace), "x", `{"tier":""}`), "tiers.projectcalico.org default")
	c.forbidden(t, http.MethodPost, path, strings.Replace(inTier(kind, namespace, "x", ""), `"name"`, `"generateName"`, 1), "missing get on tiers.projectcalico.org default")
}

// tryMoves tries to take a policy of tier app to another, and one of another to app.
func tryMoves(t *testing.T, admin, c *client, kind v3.Kind, namespace string) {
	t.Helper()
	path := collection(kind, namespace)
	for _, tier := range []string{`"default"`, `""`, "null", `"other"`} {
		to := "tiers.projectcalico.org other"
		if tier != `"other"` {
			to = "tiers.projectcalico.org default"
		}
		c.forbidden(t, http.MethodPatch, path+"/web", `{"spec":{"tier":`+tier+`}}`, to)
		c.forbidden(t, http.MethodPatch, path+"/web"+apply, manifest(kind, place(kind, namespace), "web", `{"tier":`+tier+`}`), to)
	}
	c.forbidden(t, http.MethodPatch, path+"/web", `{"spec":null}`, "tiers.projectcalico.org default")
	stored := admin.must(t, http.MethodGet, path+"/web", "", 200)
	c.forbidden(t, http.MethodPut, path+"/web", strings.Replace(string(stored.body), `"tier":"app"`, `"order":3`, 1), "tiers.projectcalico.org default")

	admin.must(t, http.MethodPost, path, inTier(kind, namespace, "theirs", ""), 201)
	from := "missing get on tiers.projectcalico.org default"
	c.forbidden(t, http.MethodPatch, path+"/theirs", `{"spec":{"tier":"app"}}`, from)
	c.forbidden(t, http.MethodPatch, path+"/theirs"+apply, inTier(kind, namespace, "theirs", "app"), from)
	c.forbidden(t, http.MethodPatch, path+"/theirs", `{"metadata":{"labels":{"a":"b"}}}`, from)
	c.forbidden(t, http.MethodDelete, path+"/theirs", "", from)
	c.forbidden(t, http.MethodDelete, path, "", from)
	if got := admin.do(t, http.MethodGet, path+"/theirs", ""); got.code != 200 || strings.Contains(string(got.body), `"tier":"app"`) {
		t.Errorf("the policy of tier default is %s %s", got, got.body)
	}
	admin.must(t, http.MethodDelete, path+"/theirs", "", 200)
	if admin.do(t, http.MethodGet, path+"/web", "").code == 404 {
		admin.must(t, http.MethodPost, path, inTier(kind, namespace, "web", "app"), 201) // the collection's deletion went as far as it might
	}
}

func TestPermissionOnOnePolicy(t *testing.T) {
	s := server(t)
	s.Namespace(t, "rbac-one")
	const kind, all = v3.KindNetworkPolicy, "tier.networkpolicies"
	path := collection(kind, "rbac-one")
	c := user(t, s, "one", "", seesTier("app"), may(all, "app.web", "create", "update"), may(all, "app.api", "*"))
	for name, good := range map[string]bool{"web": true, "api": true, "app.api": true, "app.web": true, "db": false, "app.db": false, "web.app": false} {
		object := inTier(kind, "rbac-one", name, "app")
		if good {
			c.must(t, http.MethodPost, path, object, 201)
		} else {
			c.forbidden(t, http.MethodPost, path, object, "missing create on tier.networkpolicies.projectcalico.org app.* or app."+name)
		}
	}
	c.forbidden(t, http.MethodPost, path, strings.Replace(inTier(kind, "rbac-one", "web", "app"), `"name"`, `"generateName"`, 1), "missing create")
	// A name that begins with a tier's is no key to it from another tier.
	c.forbidden(t, http.MethodPost, path, inTier(kind, "rbac-one", "app.api", "other"), "tiers.projectcalico.org other")
	c.must(t, http.MethodPatch, path+"/web", `{"spec":{"order":2}}`, 200)
	c.forbidden(t, http.MethodDelete, path+"/web", "", "missing delete on tier.networkpolicies.projectcalico.org app.* or app.web")
	c.must(t, http.MethodDelete, path+"/api", "", 200)
	// The permission is on networkpolicies: not on what is staged, or global.
	c.forbidden(t, http.MethodPost, collection(v3.KindStagedNetworkPolicy, "rbac-one"), inTier(v3.KindStagedNetworkPolicy, "rbac-one", "web", "app"), "tier.stagednetworkpolicies")
	c.forbidden(t, http.MethodPost, collection(v3.KindGlobalNetworkPolicy, ""), inTier(v3.KindGlobalNetworkPolicy, "", "web", "app"), "tier.globalnetworkpolicies")
}

func TestPermissionInOneNamespace(t *testing.T) {
	s := server(t)
	s.Namespace(t, "rbac-here")
	s.Namespace(t, "rbac-there")
	const kind = v3.KindNetworkPolicy
	c := user(t, s, "local", "rbac-here", seesTier("app"), may("tier.networkpolicies", "app.*", "*"))
	c.must(t, http.MethodPost, collection(kind, "rbac-here"), inTier(kind, "rbac-here", "web", "app"), 201)
	c.forbidden(t, http.MethodPost, collection(kind, "rbac-there"), inTier(kind, "rbac-there", "web", "app"), "missing create on tier.networkpolicies")
	// Without a look at the tier, the permission on its policies is none.
	blind := user(t, s, "blind", "", may("tier.networkpolicies", "", "*"))
	blind.forbidden(t, http.MethodPost, collection(kind, "rbac-here"), inTier(kind, "rbac-here", "db", "app"), "missing get on tiers.projectcalico.org app")
	// A role without names is for all tiers.
	everything := user(t, s, "everything", "", may("tiers", "", "get"), may("tier.networkpolicies", "", "*"))
	for _, tier := range []string{"", "app", "other"} {
		everything.must(t, http.MethodPost, collection(kind, "rbac-there"), inTier(kind, "rbac-there", "p"+tier, tier), 201)
	}
	everything.must(t, http.MethodPatch, collection(kind, "rbac-there")+"/papp", `{"spec":{"tier":"other"}}`, 200)
	everything.must(t, http.MethodDelete, collection(kind, "rbac-there"), "", 200)
}

// Those who clean up pass, and only they: it is the name of the account that counts, which nobody else has.
func TestCleanersPass(t *testing.T) {
	s := server(t)
	admin := newClient(t, s.Config)
	s.Namespace(t, "rbac-cleaned")
	const kind = v3.KindNetworkPolicy
	path := collection(kind, "rbac-cleaned")
	groups := []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"}
	for account, collectionToo := range map[string]bool{"namespace-controller": true, "generic-garbage-collector": false} {
		c := newClient(t, s.As("system:serviceaccount:kube-system:"+account, nil, groups...))
		admin.must(t, http.MethodPost, path, inTier(kind, "rbac-cleaned", "a", "app"), 201)
		admin.must(t, http.MethodPost, path, inTier(kind, "rbac-cleaned", "b", ""), 201)
		c.must(t, http.MethodDelete, path+"/a", "", 200)
		if collectionToo {
			c.must(t, http.MethodDelete, path, "", 200)
		} else {
			c.must(t, http.MethodDelete, path+"/b", "", 200)
		}
	}
	admin.must(t, http.MethodPost, path, inTier(kind, "rbac-cleaned", "a", "app"), 201)
	other := newClient(t, s.As("system:serviceaccount:web:namespace-controller", nil, "writers"))
	other.forbidden(t, http.MethodDelete, path+"/a", "", "missing get on tiers.projectcalico.org app")
	admin.must(t, http.MethodDelete, path+"/a", "", 200)
}

// A permission on the status of a policy is the controller's; it moves no policy.
func TestStatusMovesNoPolicy(t *testing.T) {
	s := server(t)
	admin := newClient(t, s.Config)
	s.Namespace(t, "rbac-status")
	const kind = v3.KindNetworkPolicy
	path := collection(kind, "rbac-status")
	admin.must(t, http.MethodPost, path, inTier(kind, "rbac-status", "a", "app"), 201)
	account := "system:serviceaccount:felid-system:felid-controller"
	bind(t, admin, "", "status-writer", []permission{may("networkpolicies/status", "", "patch", "update")})
	c := newClient(t, s.As("status-writer", nil))
	c.must(t, http.MethodPatch, path+"/a/status", `{"spec":{"tier":"default"},"metadata":{"labels":{"a":"b"}},"status":{"conditions":[]}}`, 200)
	got := decoded[v3.NetworkPolicy](t, admin, kind, "rbac-status", "a")
	if got.Spec.Tier != "app" || len(got.Labels) > 0 {
		t.Errorf("the status took the policy to tier %s, labels %v", got.Spec.Tier, got.Labels)
	}
	c.forbidden(t, http.MethodPatch, path+"/a", `{"spec":{"tier":"default"}}`, "cannot patch resource")
	controller := newClient(t, s.As(account, nil, "writers"))
	controller.must(t, http.MethodPatch, path+"/a", `{"metadata":{"finalizers":[]}}`, 200)
}
