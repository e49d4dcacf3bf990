// Package mixed holds the proof that both worlds agree: one API server, real Linux agents on nodes that are network namespaces, real Windows agents
// under Wine on nodes whose HNS is emulated, and the shared and made-up cases of dataplane/dptest with their pods spread over both. A packet passes
// where real packets pass the Linux nodes on its way and the model of HNS lets it pass the Windows ones; that must be what the judge says.
package mixed
