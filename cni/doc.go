// Package cni is the CNI plugin: the verbs of the specification (1.1.0, and 0.3.0 to 1.0.0), the plugin's configuration, and the
// wire types of the agent's socket. The plugin decides nothing. It checks what it was given, hands it to the agent of the node
// over a unix socket, on Windows over a named pipe, and prints what the agent answers; so it starts fast, needs no credentials, and can be
// replaced while pods run.
//
// On either, a connection carries one request and one response, each one line of JSON. Closing the connection before the
// response has come withdraws the request.
//
// An entry of a conflist, in which all but type may be left out:
//
//	{"type": "felid-cni", "socket": "/run/felid/cni.sock", "mtu": 1440, "ipam": {"type": "felid-ipam"},
//	 "args": {"cni": {"labels": [{"key": "app", "value": "db"}]}}}
//
// On Windows socket is `\\\\.\\pipe\\felid`, as in JSON, or another pipe of this machine.
//
// Beside another network plugin, which connects the pods, felid's is the gate: the last of the list, with "mode": "gate". ADD passes the
// result of the plugins before it on, unchanged, once the policy of the pod is in force; DEL never fails.
//
// Invariants:
//   - Nothing but one JSON document, the result or the error, is written to standard output.
//   - Whatever keeps the agent from answering is error 11 (try again later), for every verb but STATUS, which says 50 (not
//     available), and a gate's DEL. So a runtime repeats a DEL until the agent has really done it.
//   - On Windows nothing is said to a pipe that is not the administrators' or the system's: while no agent runs, anybody may make one of that
//     name. Its maker can't act as the plugin either.
//   - An unknown key in the configuration is an error. Keys that the specification and its conventions define are known; what they
//     ask for and felid cannot do is refused by name (error 2), not ignored.
//
// It imports no Kubernetes package and no logging framework: the executable is read from disk for every pod.
package cni
