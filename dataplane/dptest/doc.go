// Package dptest holds the shared cases: small clusters with policies and flows whose verdicts come from the documents, and the
// independent machinery that proves each dataplane right about them. It is for tests only.
//
// Every case runs through the judge (Judge: from resources to a verdict, short and slow), through policy.Evaluate over the State
// that policy.Resolve computes, and through whatever a renderer made of that State: TraceIPTables runs a packet through
// iptables-restore text, TraceACLs through a list of HNS ACLs, and Net sends real packets between network namespaces.
//
// # A case
//
// A case is a txtar file in testdata. The comment on top has a title on its first line and the reason below. Its files:
//
//	cluster         pods, nodes and namespaces in short form, one a line
//	resources.yaml  any documents that felid reads: projectcalico.org/v3, networking.k8s.io, policy.networking.k8s.io,
//	                core Kubernetes objects
//	flows           one flow a line, with its verdict
//	options         YAML, see Options; absent where the defaults do
//	foreign-rules   iptables-save lines (-A FORWARD …) of somebody else, after felid's own, in the filter table, IPv4
//	example         names of files of test/examples, one a line, read before resources.yaml
//
// # The short form of a cluster
//
//	node n1 172.18.0.1 fd00:18::1       addresses may be left out: the Nth node gets 172.18.0.N and fd00:18::N
//	namespace a team=red                labels
//	pod a/x app=web node:n2 sa:builder port:http=8080/TCP ip:10.65.0.9 ip:fd00:65::9 created:3 phase:Failed hostNetwork
//
// What is left out: nodes that pods name, namespaces that pods are in, node:n1, sa:default. The Nth pod gets 10.65.0.N and
// fd00:65::N (N in hexadecimal there) unless ip: says otherwise; "ip:none" gives it none; "created:3" makes it three minutes older than one without.
//
// # A flow
//
//	pod/a/x -> pod/b/y TCP 80 : Allow
//	pod/a/x -> pod/b/y TCP 80,8000-8010 : Deny by NetworkPolicy b/p rule 0
//	pod/a/x -> pod/b/y UDP 53 ip6 : Deny by egress end of tier default, ingress no profile
//	pod/a/x -> 192.0.2.9 ICMP 8/0 : Allow
//	pod/a/x as 10.9.9.9 -> pod/b/y TCP 80 from 1234 : Deny by egress spoofed source
//	node/n1 -> pod/b/y ping : Allow by ingress own node
//
// An end is a pod, a node or an address; an address that is a pod's stands for that pod. Protocols: TCP, UDP, SCTP, UDPLite with
// a list of ports (a range stands for its two ends), ICMP and ICMPv6 with TYPE/CODE, "ping" (echo request of the family), or
// "proto N". A flow is tried in each family in which both ends have an address; "ip4" or "ip6" picks one. "as" sends from an
// address that is not the sender's.
//
// The verdict is Allow when both sides allow. "by" names who must have decided: with "egress" or "ingress" that side; without, one
// of the sides whose verdict is the flow's. A decider is "KIND [NAMESPACE/]NAME rule N", "end of tier NAME", "no profile" (no
// profile matched), "own node" (the pod's node reaches it), "spoofed source", "to host" (Host.WorkloadToHost) or "no IPv6". "Deny by
// foreign rule" means that felid allows the flow and one of the foreign rules drops it.
//
// Verdicts come from the documents and are never rewritten by a flag.
//
// # Runners
//
// Run is what they share; RunIPTables, RunACLs and RunPackets take a renderer or a driver. Each also gets cases that Random makes up, with
// the judge's verdicts: -made-up N says how many. What they find becomes a written case. RunDataplane is the conformance suite of a
// Dataplane: what it must do beside being right about packets.
//
// The package does not know any renderer, and nothing but tests may import it.
package dptest
