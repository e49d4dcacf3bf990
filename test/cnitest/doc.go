// Package cnitest drives the real CNI plugin with libcni, as a container runtime does, against an agent: Run is the suite for any agent,
// RunFaults for one that can be held up. What the agent is made of is the World's matter. It needs root: it makes network
// namespaces, and every packet stays in them.
package cnitest
