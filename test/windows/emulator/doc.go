// Package emulator is the Host Networking Service of one simulated Windows node, in plain Go: networks, endpoints, namespaces, load
// balancers and routes in schema 2, the older schema 1 calls that hcsshim still makes, the errors that HNS gives, and the verdict on a packet that
// goes from one endpoint to another.
//
// It is reached in three ways that end in the same place: in process (Server.Calls), over TCP by the forwarder DLLs that stand in for
// computenetwork.dll and vmcompute.dll under Wine (Server.Serve; test/windows/hnsfwd.c has the other end), and by the tests' own side doors
// (SetState, Vanish, Restart, Inject …), which make what a host does by itself.
//
// What packets meet is not decided here but by the model of HNS in dataplane/dptest. What the emulator believes of HNS's objects is what
// hcsshim's own integration tests, Calico and Azure NPM lean on; where that is a guess, the comment names the assumption in docs/windows.md.
//
// It does not emulate the virtual switch, time (calls are as fast as Go, unless a fault makes them slow), nor access rights.
package emulator
