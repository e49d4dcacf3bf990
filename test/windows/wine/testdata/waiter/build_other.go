//go:build !windows

package main

func build() uint32 { return 0 }
