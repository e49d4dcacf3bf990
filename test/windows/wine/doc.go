// Package wine runs felid's Windows programs in tests on Linux: it builds them, and starts them under Wine as the runtime of HostProcess
// containers does, or plainly.
//
// The prefixes are made by test/windows/setup and kept in the user's cache; each says that it is one build of Windows Server. A Windows node is
// an emulator of HNS (test/windows/emulator), which its programs find by the variable HNSEMU_ADDR; many nodes share a prefix, and so must differ
// in their pipes, ports and folders. A program sees Linux's files behind the drive Z:.
//
// It proves nothing that needs Windows' own kernel: see docs/windows.md.
package wine
