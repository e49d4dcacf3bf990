package kube

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/datastore"
)

func TestRefused(t *testing.T) {
	tiers := &resource{group: "projectcalico.org", version: "v3", plural: "tiers"}
	get := &call{verb: "get", resource: tiers, name: "a"}
	create := &call{verb: "create", resource: tiers, name: "a"}
	tests := []struct {
		name string
		call *call
		code int
		body string
		want error
		text string
	}{
		{"unknown path", get, 404, "404 page not found\n", datastore.ErrNotServed, "the CustomResourceDefinition tiers.projectcalico.org with version v3 is not installed"},
		{"no object", get, 404, `{"kind":"Status","message":"tiers \"a\" not found","reason":"NotFound"}`, datastore.ErrNotFound, `tiers "a" not found`},
		{"no namespace", create, 404, `{"kind":"Status","message":"namespaces \"x\" not found","reason":"NotFound"}`, datastore.ErrInvalid, `namespaces "x" not found`},
		{"there already", create, 409, `{"kind":"Status","message":"it is","reason":"AlreadyExists"}`, datastore.ErrExists, "it is"},
		{"changed", get, 409, `{"kind":"Status","message":"it has","reason":"Conflict"}`, datastore.ErrConflict, "it has"},
		{"forgotten", get, 410, `{"kind":"Status","message":"too old","reason":"Expired"}`, datastore.ErrExpired, "too old"},
		{"not valid", create, 422, `{"kind":"Status","message":"is wrong","details":{"causes":[{"field":"spec.order","message":"must be a number"}]}}`,
			datastore.ErrInvalid, "is wrong; spec.order: must be a number"},
		{"denied by RBAC", get, 403, `{"kind":"Status","message":"User \"u\" cannot get resource \"tiers\""}`, datastore.ErrForbidden,
			`missing: a rule with apiGroups ["projectcalico.org"], resources ["tiers"], verbs ["get"]`},
		{"no credentials", get, 401, `{"kind":"Status","message":"Unauthorized"}`, datastore.ErrForbidden, "Unauthorized"},
		{"busy", get, 429, "slow down", datastore.ErrUnreachable, "HTTP status 429: slow down"},
		{"broken", get, 500, "", datastore.ErrUnreachable, "HTTP status 500"},
		{"behind a gateway", get, 502, "<html>", datastore.ErrUnreachable, "HTTP status 502: <html>"},
		{"method", get, 405, "", datastore.ErrUnsupported, "405"},
	}
	for _, test := range tests {
		err := refused(test.call, test.code, nil, []byte(test.body))
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), test.call.verb+" tiers.projectcalico.org a") {
			t.Errorf("%s: %v; want %v with %q", test.name, err, test.want, test.text)
		}
	}
}

func TestStatusInProtobuf(t *testing.T) {
	status := statusOf(enveloped(t, &metav1.Status{Message: "too old", Reason: metav1.StatusReasonExpired, Code: 410}))
	if status == nil || status.Code != 410 || status.Message != "too old" {
		t.Errorf("got %+v", status)
	}
	if statusOf([]byte("k8s\x00\x12\x03\xff\xff\xff")) != nil || statusOf([]byte(`{"kind":"Pod"}`)) != nil {
		t.Error("what is no Status was taken for one")
	}
}

func TestRetryDelay(t *testing.T) {
	busy := refused(&call{verb: "get", resource: &resource{}}, 429, http.Header{"Retry-After": {"3"}}, nil)
	for attempt := range 100 {
		plain := retryDelay(attempt, datastore.ErrUnreachable)
		least := min(firstDelay<<min(attempt, 20), lastDelay)
		if plain < least || plain > least+least/2 {
			t.Fatalf("attempt %d waits %s, want %s to half more", attempt, plain, least)
		}
		if asked := retryDelay(attempt, busy); asked < 3*time.Second {
			t.Fatalf("attempt %d waits %s though the server asks for 3 s", attempt, asked)
		}
	}
}
