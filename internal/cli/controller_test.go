package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// freeAddress is one that nobody listens to just now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// await asks until the answer is OK, and returns it.
func await(t *testing.T, url string) string {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		answer, err := http.Get(url)
		if err == nil {
			body, readErr := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if err = readErr; answer.StatusCode == http.StatusOK && err == nil {
				return string(body)
			}
			err = fmt.Errorf("%s: %s, %v", answer.Status, body, err)
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestController(t *testing.T) {
	c, _ := storeCaller(t)
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs bytes.Buffer
	ended := make(chan int, 1)
	env := func(key string) (string, bool) { v, ok := c.env[key]; return v, ok }
	go func() {
		ended <- Main(ctx, App{Out: &out, Err: &errs, Env: env}, []string{"controller", "--listen", address, "--auto-host-endpoints=Disabled"})
	}()
	await(t, "http://"+address+"/readyz")
	await(t, "http://"+address+"/healthz")
	wants(t, await(t, "http://"+address+"/metrics"), "felid_controller_leading 1", "felid_controller_failing_items 0", "go_goroutines")
	deadline := time.Now().Add(20 * time.Second)
	for c.run("get", "tier", "kube-baseline").status != 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	wants(t, c.ok("get", "tiers").out, "kube-admin", "default", "kube-baseline")
	cancel()
	if status := <-ended; status != 0 || out.Len()+errs.Len() > 0 {
		t.Errorf("status %d, %s%s", status, &out, &errs)
	}
}

func TestControllerRefusesWhatMakesNoSense(t *testing.T) {
	for _, test := range []struct{ arg, part string }{
		{"--leak-grace-period=1s", "too short"},
		{"--auto-host-endpoints=perhaps", "Config, Enabled, Disabled"},
		{"--listen=nowhere", "HOST:PORT"},
		{"--datastore=paper", "valid: kube"},
	} {
		o := call(t).run("controller", "--datastore=local:"+t.TempDir(), test.arg)
		if o.status != exitUsage {
			t.Errorf("%s: status %d", test.arg, o.status)
		}
		wants(t, o.err, test.part)
	}
}
