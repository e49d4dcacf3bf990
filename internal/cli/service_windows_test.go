package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/windows/svc"
)

// execute runs a service as the service control manager would, with these requests, and returns what it told the manager.
func execute(s *service, requests ...svc.Cmd) (states []svc.State, specific bool, code uint32) {
	asked, status := make(chan svc.ChangeRequest), make(chan svc.Status, 10)
	go func() {
		now := <-status
		states = append(states, now.State)
		for _, cmd := range requests {
			asked <- svc.ChangeRequest{Cmd: cmd, CurrentStatus: now}
			now = <-status
			states = append(states, now.State)
		}
	}()
	specific, code = s.Execute(nil, asked, status)
	synctest.Wait()
	return states, specific, code
}

func TestServiceStops(t *testing.T) {
	for _, stop := range []svc.Cmd{svc.Stop, svc.Shutdown} {
		synctest.Test(t, func(t *testing.T) {
			s := &service{run: func(ctx context.Context) error { <-ctx.Done(); return nil }}
			states, specific, code := execute(s, svc.Interrogate, stop)
			if len(states) != 3 || states[0] != svc.Running || states[1] != svc.Running || states[2] != svc.StopPending {
				t.Errorf("it told %v", states)
			}
			if specific || code != 0 || s.err != nil {
				t.Errorf("ends with %t, %d, %v", specific, code, s.err)
			}
		})
	}
}

// TestServiceFails: an agent that can't run is a service that has failed, which the manager may start again.
func TestServiceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{run: func(context.Context) error { return errors.New("no HNS") }}
		if _, specific, code := execute(s); !specific || code == 0 || s.err == nil {
			t.Errorf("ends with %t, %d, %v", specific, code, s.err)
		}
	})
}

// TestServiceDoesNotHang: where a call to HNS does not return, the service ends all the same.
func TestServiceDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		start := time.Now()
		s := &service{run: func(context.Context) error { <-never; return nil }}
		if _, specific, code := execute(s, svc.Stop); specific || code != 0 || s.err == nil || time.Since(start) != serviceStopWithin {
			t.Errorf("ends with %t, %d, %v after %s", specific, code, s.err, time.Since(start))
		}
		close(never)
	})
}

func TestCrashesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "felid.log.crash")
	if err := crashesTo(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = debug.SetCrashOutput(nil, debug.CrashOptions{}) }) // it holds the file open
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
