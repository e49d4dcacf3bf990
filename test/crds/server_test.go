package crds

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/test/kubernetes"
)

func TestMain(m *testing.M) { os.Exit(kubernetes.Main(m)) }

var installed sync.Once

// server is the shared API server with what deploy installs, in force.
func server(t *testing.T) *kubernetes.Server {
	t.Helper()
	s := kubernetes.Shared(t)
	s.InstallCRDs(t)
	installed.Do(func() {
		s.Apply(t, "../../deploy/policies")
		s.Namespace(t, "corpus")
		awaitPolicies(t, s)
	})
	return s
}

// awaitPolicies returns when the admission policies refuse what each of them refuses.
func awaitPolicies(t *testing.T, s *kubernetes.Server) {
	t.Helper()
	admin := newClient(t, s.Config)
	labelled := `{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkSet","metadata":{"name":"x","labels":{"projectcalico.org/namespace":"x"}}}`
	makeTier(t, admin, "awaited", 1)
	s.Apply(t, "testdata/rbac.yaml")
	nobody := newClient(t, s.As("awaited", nil))
	policy := `{"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy","metadata":{"name":"x","namespace":"corpus"}}`
	within(t, time.Minute, func() string {
		for _, try := range []answer{
			admin.do(t, http.MethodPost, "/apis/projectcalico.org/v3/globalnetworksets?dryRun=All", labelled),
			admin.do(t, http.MethodDelete, "/apis/projectcalico.org/v3/tiers/awaited?dryRun=All", ""),
			nobody.do(t, http.MethodPost, "/apis/projectcalico.org/v3/namespaces/corpus/networkpolicies?dryRun=All", policy),
		} {
			if !strings.Contains(try.message, "ValidatingAdmissionPolicy") {
				return "an admission policy is not in force: " + try.String()
			}
		}
		return ""
	})
}

// makeTier makes a tier whose status says that it has so many policies.
func makeTier(t *testing.T, c *client, name string, policies int) {
	t.Helper()
	tiers := collection(v3.KindTier, "")
	c.must(t, http.MethodPost, tiers, fmt.Sprintf(`{"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":%q}}`, name), 201, 409)
	c.must(t, http.MethodPatch, tiers+"/"+name+"/status", fmt.Sprintf(`{"status":{"policies":%d}}`, policies), 200)
}

// within waits until try says nothing.
func within(t *testing.T, limit time.Duration, try func() string) {
	t.Helper()
	end := time.Now().Add(limit)
	for {
		problem := try()
		if problem == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %s: %s", limit, problem)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// client makes calls as one user.
type client struct {
	host string
	http *http.Client
}

func newClient(t *testing.T, config *rest.Config) *client {
	t.Helper()
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return &client{config.Host, c}
}

// answer is what the API server says.
type answer struct {
	code    int
	message string // of a refusal
	body    []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.code, a.message) }

// do makes a call; a PATCH is a merge patch, or server-side apply where the path has a fieldManager.
func (c *client) do(t *testing.T, method, path, body string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, c.host+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		r.Header.Set("Content-Type", "application/merge-patch+json")
		if strings.Contains(path, "fieldManager=") {
			r.Header.Set("Content-Type", "application/apply-patch+yaml")
		}
	}
	response, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{code: response.StatusCode, body: data}
	if a.code >= 300 {
		var status struct{ Message string }
		if json.Unmarshal(data, &status) != nil {
			status.Message = string(data)
		}
		a.message = status.Message
	}
	return a
}

// must makes a call that has to be answered with one of the codes.
func (c *client) must(t *testing.T, method, path, body string, codes ...int) answer {
	t.Helper()
	a := c.do(t, method, path, body)
	for _, code := range codes {
		if a.code == code {
			return a
		}
	}
	t.Fatalf("%s %s %s: %s, not %v", method, path, body, a, codes)
	return a
}

// collection is the path of a kind's objects.
func collection(kind v3.Kind, namespace string) string {
	info, ok := v3.InfoOf(kind)
	if !ok {
		panic("no such kind: " + kind)
	}
	path := "/apis/" + v3.Group + "/" + v3.Version + "/"
	if info.Namespaced {
		path += "namespaces/" + namespace + "/"
	}
	return path + info.Plural
}
