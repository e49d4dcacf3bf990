package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/felid-net/felid/datastore"
)

// timing is how long the client waits for what.
type timing struct {
	call     time.Duration // for a whole answer; of a list or watch, for the next piece of it to begin
	silence  time.Duration // nothing heard on a watch, not even a bookmark: it is opened anew
	ping     time.Duration // nothing heard on a connection: the server is asked for a sign of life
	pong     time.Duration // no sign: the connection is dead
	watching time.Duration // the least that a watch lasts before the server ends it; up to twice as long
}

// A dead connection is noticed after ping and pong, 25 s. Bookmarks come once a minute, where the server has anything to say by them.
var usualTiming = timing{call: 30 * time.Second, silence: 100 * time.Second, ping: 15 * time.Second, pong: 10 * time.Second, watching: 5 * time.Minute}

// client makes calls of the API server. There are no limits of its own on how many: the server's priority and fairness does that.
type client struct {
	http  *http.Client
	base  string // "https://10.96.0.1:443", with a path where the server is behind one
	log   *slog.Logger
	times timing

	mu    sync.Mutex
	lines map[string]*line
}

// line is what is known of the watches of one resource.
type line struct {
	suspect bool          // the last one ended otherwise than by the server's own time limit
	silence time.Duration // how long the next one may be silent
}

func newClient(config *rest.Config, log *slog.Logger, times timing) (*client, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("address of the API server %q: %w", config.Host, err)
	}
	transport, err := newTransport(config, times)
	if err != nil {
		return nil, fmt.Errorf("credentials for the API server %s: %w", base, err)
	}
	at := strings.TrimSuffix(base.String(), "/")
	return &client{http: &http.Client{Transport: transport}, base: at, log: log, times: times, lines: map[string]*line{}}, nil
}

// newTransport is client-go's, but for the pings: those of client-go come after 30 s and can be set only by the environment.
func newTransport(config *rest.Config, times timing) (http.RoundTripper, error) {
	secrets, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: times.call, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     secrets,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: 25,
		DisableCompression:  config.DisableCompression,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: times.ping, PingTimeout: times.pong},
	}
	if config.Proxy != nil {
		transport.Proxy = config.Proxy
	}
	if config.Dial != nil {
		transport.DialContext = config.Dial
	}
	return rest.HTTPWrappersForConfig(config, transport)
}

// call is one call of the API server.
type call struct {
	verb            string // as RBAC has it: "list"
	resource        *resource
	namespace, name string
	sub             string // "status"
	query           url.Values
	body            []byte
	accept          string // "": JSON, or the resource's own encoding
	contentType     string // "": JSON, or a merge patch
}

// String names the call in errors: "get networksets.projectcalico.org web-ns/a".
func (c *call) String() string {
	text := c.verb + " " + c.resource.String()
	if c.sub != "" {
		text += "/" + c.sub
	}
	switch {
	case c.namespace != "":
		text += " " + c.namespace + "/" + c.name
	case c.name != "":
		text += " " + c.name
	}
	return text
}

var methods = map[string]string{
	"get": http.MethodGet, "list": http.MethodGet, "watch": http.MethodGet,
	"create": http.MethodPost, "update": http.MethodPut, "patch": http.MethodPatch, "delete": http.MethodDelete,
}

// The most calls that are made again because the server asks for it (429, or 503 with a time to come back at).
const maxRefusals = 5

// open makes a call and returns the answer, whose body the caller closes. It comes again where the server asks for that.
func (c *client) open(ctx context.Context, k *call) (io.ReadCloser, error) {
	for attempt := 0; ; attempt++ {
		body, err := c.openOnce(ctx, k)
		var f *failure
		if !errors.As(err, &f) || f.after == 0 || f.sentinel != datastore.ErrUnreachable || attempt == maxRefusals {
			return body, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(retryDelay(attempt, err)):
		}
	}
}

func (c *client) openOnce(ctx context.Context, k *call) (io.ReadCloser, error) {
	request, err := c.request(ctx, k)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, broken(ctx, k, err)
	}
	if response.StatusCode < 300 {
		return response.Body, nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, broken(ctx, k, err)
	}
	return nil, refused(k, response.StatusCode, response.Header, body)
}

func (c *client) request(ctx context.Context, k *call) (*http.Request, error) {
	name := k.name
	if k.verb == "create" {
		name = ""
	}
	target := c.base + k.resource.path(k.namespace, name, k.sub)
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, methods[k.verb], target, bytes.NewReader(k.body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", k, datastore.ErrInvalid, err)
	}
	request.Header.Set("Accept", "application/json")
	if k.resource.protobuf {
		request.Header.Set("Accept", "application/vnd.kubernetes.protobuf")
	}
	if k.accept != "" {
		request.Header.Set("Accept", k.accept)
	}
	if k.contentType != "" {
		request.Header.Set("Content-Type", k.contentType)
	} else if k.verb == "patch" {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	} else if k.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// broken is the error of a call that got no answer, or only a part: that of ctx where it has ended.
func broken(ctx context.Context, k *call, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", k, context.Cause(ctx))
	}
	var at *url.Error // names the whole address
	if errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Errorf("%s: %w: %w", k, datastore.ErrUnreachable, err)
}

// do makes a call and returns the whole answer.
func (c *client) do(ctx context.Context, k *call) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", k, err)
	}
	late := fmt.Errorf("%w: no answer within %s", datastore.ErrUnreachable, c.times.call)
	within, cancel := context.WithTimeoutCause(ctx, c.times.call, late)
	defer cancel()
	body, err := c.open(within, k)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	answer, err := io.ReadAll(body)
	if err != nil {
		return nil, broken(within, k, err)
	}
	return answer, nil
}

// get reads one object.
func (c *client) get(ctx context.Context, r *resource, namespace, name string) ([]byte, error) {
	raw, err := c.do(ctx, &call{verb: "get", resource: r, namespace: namespace, name: name})
	if err == nil && r.protobuf {
		return withoutEnvelope(raw), nil
	}
	return raw, err
}

// withLine calls f with what is known of the watches of a resource.
func (c *client) withLine(r *resource, f func(*line)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lines[r.String()]
	if l == nil {
		l = &line{silence: c.times.silence}
		c.lines[r.String()] = l
	}
	f(l)
}

func (c *client) close() { c.http.CloseIdleConnections() }
