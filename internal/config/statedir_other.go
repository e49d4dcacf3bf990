//go:build !windows

package config

// protectStateDir has nothing to do: where the state folder is, nobody but root may make one.
func protectStateDir(string) error { return nil }
