package kubernetes

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// process is a program that may be started again after its end. Its output is appended to a file.
type process struct {
	path  string
	args  []string
	log   string
	cmd   *exec.Cmd     // nil before the first start
	ended chan struct{} // closed at the end of cmd
}

// start starts it; it must not be running.
func (p *process) start() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = out, out
	endWithUs(cmd)
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The kernel ends a program with the thread that started it, so that thread must stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is for its log
		}
		_ = out.Close()
		close(ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", filepath.Base(p.path), err)
	}
	p.cmd, p.ended = cmd, ended
	return nil
}

func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// end asks it to end, kills it after a while, and waits.
func (p *process) end(patience time.Duration) {
	if p == nil || !p.running() {
		return
	}
	if patience > 0 {
		askToEnd(p.cmd.Process)
		select {
		case <-p.ended:
			return
		case <-time.After(patience):
		}
	}
	_ = p.cmd.Process.Kill() // fails where it has ended
	<-p.ended
}

func (p *process) pause() {
	if p.running() {
		suspend(p.cmd.Process)
	}
}

func (p *process) resume() {
	if p.running() {
		proceed(p.cmd.Process)
	}
}

// logTail is the end of the log.
func (p *process) logTail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}
