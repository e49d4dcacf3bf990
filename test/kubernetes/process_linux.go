package kubernetes

import (
	"os"
	"os/exec"
	"syscall"
)

// endWithUs has the kernel kill the program when this process ends, however it ends.
func endWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// A signal fails only for a program that has ended.

func askToEnd(p *os.Process) { _ = p.Signal(syscall.SIGTERM) }
func suspend(p *os.Process)  { _ = p.Signal(syscall.SIGSTOP) }
func proceed(p *os.Process)  { _ = p.Signal(syscall.SIGCONT) }
