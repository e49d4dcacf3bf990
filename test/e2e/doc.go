// Package e2e tests the programs as they are run: real agents on real kernels, pods connected by the real plugin, in a lab of network
// namespaces. It needs root.
package e2e
