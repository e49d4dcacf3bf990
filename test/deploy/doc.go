// Package deploy tests the manifests of deploy/ against a real API server: that they are complete and accepted, and that a node's agent can
// write only what is its node's. It has no code.
package deploy
