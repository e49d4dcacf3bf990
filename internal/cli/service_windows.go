package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sys/windows/svc"
)

// stopWithin is how long a container's process has after CTRL_SHUTDOWN, and a console's after CTRL_CLOSE, less some time to end by itself; then
// it is killed. A call to HNS can't be broken off, and may take longer.
const stopWithin = 4500 * time.Millisecond

// serviceStopWithin is the same for a service, of which the system asks more patiently.
const serviceStopWithin = 20 * time.Second

// leaveInTime ends the process that long after ctx, unless done is called: better so than killed in the middle of a line. Rules stay either way.
func leaveInTime(ctx context.Context) (done func()) {
	gone := make(chan struct{})
	context.AfterFunc(ctx, func() {
		select {
		case <-gone:
		case <-time.After(stopWithin):
			fmt.Fprintln(os.Stderr, "error: not everything ended in time; rules stay in place")
			os.Exit(exitUnreachable)
		}
	})
	return func() { close(gone) }
}

// runService runs under the service control manager until that stops it, or run ends. What Go says of a crash goes to a file beside the log.
func runService(logFile string, run func(context.Context) error) error {
	if err := crashesTo(logFile + ".crash"); err != nil {
		return unreachable(err)
	}
	s := &service{run: run}
	if err := svc.Run("", s); err != nil { // a process with one service need not say which
		return unreachable(fmt.Errorf("--service: the service control manager has not started this: %w; valid: sc.exe create and sc.exe start, or without --service", err))
	}
	return s.err
}

func crashesTo(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	return errors.Join(debug.SetCrashOutput(f, debug.CrashOptions{}), f.Close())
}

// service answers the service control manager.
type service struct {
	run func(context.Context) error
	err error // of run
}

// failed is what the manager is told of a service that has ended with an error. The error itself is in the log.
const failed = 1

// Execute runs the service, and tells the manager how it stands.
func (s *service) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (specific bool, code uint32) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	status <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
	var late <-chan time.Time
	for {
		select {
		case s.err = <-ended:
			if s.err != nil {
				return true, failed
			}
			return false, 0
		case <-late:
			s.err = errors.New("not everything ended in time; rules stay in place")
			return false, 0
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				status <- r.CurrentStatus
			case svc.Stop, svc.Shutdown:
				status <- svc.Status{State: svc.StopPending, WaitHint: uint32(serviceStopWithin.Milliseconds())}
				stop()
				late = time.After(serviceStopWithin)
			}
		}
	}
}
