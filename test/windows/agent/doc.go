// Package agent runs the real felid.exe agent under Wine, on a simulated Windows node: as a HostProcess container and as a service, over a directory and
// over a real API server. What it enforces is asked of the node's HNS, by packets.
package agent
