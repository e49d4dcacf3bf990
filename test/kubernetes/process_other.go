//go:build !linux

package kubernetes

import (
	"os"
	"os/exec"
)

// Nothing is started on other systems: programs says so first.

func endWithUs(*exec.Cmd)  {}
func askToEnd(*os.Process) {}
func suspend(*os.Process)  {}
func proceed(*os.Process)  {}
