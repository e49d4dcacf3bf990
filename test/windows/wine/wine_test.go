package wine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}

func TestContainersAreStoppedAsHcsshimDoes(t *testing.T) {
	node := wine.NewNode(t, emulator.Options{})
	exe := wine.Program(t, "./test/windows/wine/testdata/waiter", wine.Options{})
	c := node.Start(t, exe, "0")
	waitFor(t, "it runs", func() bool { return strings.Contains(c.Output(), "waiting") })
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if out := c.Output(); !strings.Contains(out, "terminated") {
		t.Errorf("output %q, want the signal to be told", out)
	}
	c = node.Start(t, exe, "3")
	waitFor(t, "it runs", func() bool { return strings.Contains(c.Output(), "waiting") })
	if err := c.Stop(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v, want exit status 3", err)
	}
}

func TestKilledContainersTakeTheirProgramWithThem(t *testing.T) {
	node := wine.NewNode(t, emulator.Options{})
	c := node.Start(t, wine.Program(t, "./test/windows/wine/testdata/waiter", wine.Options{}), "0")
	waitFor(t, "it runs", func() bool { return strings.Contains(c.Output(), "waiting") })
	c.Kill()
	size := len(c.Output())
	if size == 0 {
		t.Fatal("no output")
	}
	// It writes a dot every 20 ms while it lives.
	waitFor(t, "it writes no more", func() bool {
		was := size
		time.Sleep(100 * time.Millisecond)
		size = len(c.Output())
		return size == was
	})
}

func TestBuildsOfWindows(t *testing.T) {
	exe := wine.Program(t, "./test/windows/wine/testdata/waiter", wine.Options{})
	for _, build := range []string{"20348", "26100"} {
		t.Run(build, func(t *testing.T) {
			o := emulator.Options{Build: emulator.Server2022}
			if build == "26100" {
				o.Build = emulator.Server2025
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			out, err := wine.NewNode(t, o).Command(ctx, exe, "build").CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != build {
				t.Errorf("output %q, error %v; want %s", out, err, build)
			}
		})
	}
}
