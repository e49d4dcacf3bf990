//go:build !linux

package etcd

import "os/exec"

func endWithParent(*exec.Cmd) {}

// Pause can't be had here.
func (s *Server) Pause() { s.t.Fatal("a process can be paused on Linux alone") }

// Resume can't be had here.
func (s *Server) Resume() { s.t.Fatal("a process can be paused on Linux alone") }
