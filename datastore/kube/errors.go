package kube

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/datastore"
)

// failure is what the API server says in place of an answer; it is one of the datastore's sentinels.
type failure struct {
	call     string
	sentinel error
	text     string
	after    time.Duration // how long the server asks to wait; 0: it does not say
}

func (f *failure) Error() string { return f.call + ": " + f.sentinel.Error() + ": " + f.text }
func (f *failure) Unwrap() error { return f.sentinel }

// refused makes the error of an answer that is no success.
func refused(c *call, code int, header http.Header, body []byte) error {
	status := statusOf(body)
	f := &failure{call: c.String(), sentinel: sentinelOf(c, code, status), text: textOf(code, status, body)}
	if f.sentinel == datastore.ErrNotServed {
		f.text = missingKind(c.resource)
	}
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && seconds > 0 {
		f.after = time.Duration(seconds) * time.Second
	}
	if f.sentinel == datastore.ErrForbidden && code == http.StatusForbidden {
		f.text += permission(c, status)
	}
	return f
}

func missingKind(r *resource) string {
	if r.group == "" {
		return "by this API server"
	}
	return fmt.Sprintf("the CustomResourceDefinition %s with version %s is not installed", r, r.version)
}

// sentinelOf says what an answer means to a caller of a Store.
func sentinelOf(c *call, code int, status *metav1.Status) error {
	switch {
	case code == http.StatusNotFound && status == nil:
		return datastore.ErrNotServed // the server's plain text for a path that it does not know
	case code == http.StatusNotFound && c.verb == "create":
		return datastore.ErrInvalid // its namespace is missing
	case code == http.StatusNotFound:
		return datastore.ErrNotFound
	case code == http.StatusConflict && status != nil && status.Reason == metav1.StatusReasonAlreadyExists:
		return datastore.ErrExists
	case code == http.StatusConflict:
		return datastore.ErrConflict
	case code == http.StatusGone:
		return datastore.ErrExpired
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return datastore.ErrForbidden
	case code == http.StatusMethodNotAllowed, code == http.StatusNotAcceptable, code == http.StatusUnsupportedMediaType:
		return datastore.ErrUnsupported
	case code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout:
		return datastore.ErrInvalid
	}
	return datastore.ErrUnreachable
}

// textOf is what the server says, with the fields that are wrong where it names any that the message does not.
func textOf(code int, status *metav1.Status, body []byte) string {
	if status == nil || status.Message == "" {
		text := strings.TrimSpace(string(body[:min(len(body), 300)]))
		return fmt.Sprintf("HTTP status %d: %s", code, text)
	}
	text := status.Message
	if status.Details != nil {
		for _, cause := range status.Details.Causes {
			if cause.Field != "" && !strings.Contains(text, cause.Field) {
				text += "; " + cause.Field + ": " + cause.Message
			}
		}
	}
	return text
}

// permission says which RBAC rule would allow a call that RBAC has refused; "" where something else, such as an admission policy, has.
func permission(c *call, status *metav1.Status) string {
	if status == nil || !strings.Contains(status.Message, " cannot ") {
		return ""
	}
	name := c.resource.plural
	if c.sub != "" {
		name += "/" + c.sub
	}
	return fmt.Sprintf("; missing: a rule with apiGroups [%q], resources [%q], verbs [%q] in a role that is bound to it", c.resource.group, name, c.verb)
}

// statusOf is the Status that a server answers with, in the encoding that was asked for; nil where the body is none.
func statusOf(body []byte) *metav1.Status {
	status := &metav1.Status{}
	if raw, ok := bytes.CutPrefix(body, protobufMagic); ok {
		if status.Unmarshal(protobufField(raw, unknownRaw)) != nil {
			return nil
		}
		return status
	}
	if json.Unmarshal(body, status) != nil || status.Kind != "Status" {
		return nil
	}
	return status
}

// The delays between attempts.
const (
	firstDelay = 50 * time.Millisecond
	lastDelay  = 10 * time.Second
)

// retryDelay is how long to wait after a failed attempt, the first of which is 0: what the server asks for, else twice as long each
// time; anything up to half of it more, so that those who failed together don't come back together.
func retryDelay(attempt int, err error) time.Duration {
	delay := lastDelay
	if attempt < 8 {
		delay = min(firstDelay<<attempt, lastDelay)
	}
	var f *failure
	if errors.As(err, &f) && f.after > delay {
		delay = f.after
	}
	return delay + rand.N(delay/2+1)
}
