package main

import "golang.org/x/sys/windows"

func build() uint32 { return windows.RtlGetVersion().BuildNumber }
