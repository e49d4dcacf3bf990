// Package dptest holds the shared cases: small clusters with policies and flows whose verdicts come from the documents, and the
// independent machinery that proves each dataplane right about them. It is for tests only.
//
// Every case runs through the judge (Judge: from resources to a verdict, short and slow), through policy.Evaluate over the State
// that policy.Resolve computes, and through whatever a renderer made of that State: TraceIPTables runs a packet through
// iptables-restore text, HNS is the model of Windows' network service and judges it by lists of ACLs, and Net sends real packets between network
// namespaces.
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
//	node n1 172.18.0.1 fd00:18::1 eth1:172.19.0.1 zone=a      addresses may be left out: the Nth node gets 172.18.0.N and fd00:18::N
//	namespace a team=red                labels
//	pod a/x app=web node:n2 sa:builder port:http=8080/TCP probe:8080 ip:10.65.0.9 ip:fd00:65::9 created:3 phase:Failed hostNetwork
//
// A node reaches all by eth0, but for the networks (/24, /64) of the addresses that it has on other interfaces: an address in one of them that is
// nobody's is a host beyond that interface. "probe:" is the port, by number or name, of a probe by TCP.
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
//	192.0.2.9 -> node/n1 TCP 30080 from 41000 dnat pod/b/y:80 : Deny by forward GlobalNetworkPolicy p rule 0
//	192.0.2.9 -> hostendpoint/h UDP 5300 : Allow unanswered by ingress GlobalNetworkPolicy raw rule 0
//
// An end is a pod, a node, a host endpoint (its node, at an address of its interface) or an address; one that is a pod's stands for that pod. Protocols: TCP, UDP, SCTP, UDPLite with
// a list of ports (a range stands for its two ends), ICMP and ICMPv6 with TYPE/CODE, "ping" (echo request of the family), or
// "proto N". A flow is tried in each family in which both ends have an address; "ip4" or "ip6" picks one. "as" sends from an
// address that is not the sender's. "dnat END:PORT" is where a node makes the packet go: the one that has the address it was sent to (a node
// port), else the sender's (a service). Such flows need a source port of their own ("from"), for two connections must not become the same.
//
// The verdict is Allow when all sides allow: the egress of a pod or of the host endpoint by which a node itself sends, the ingress of a pod or of
// the host endpoint by which a node itself gets, and forward, of the host endpoints by which nodes in between take it in and send it on. Its answer
// must come back, or with "Allow unanswered" must not. "by" names who must have decided: with "egress", "ingress" or "forward" that side; without,
// one of the sides whose verdict is the flow's. A decider is "KIND [NAMESPACE/]NAME rule N", "end of tier NAME", "no profile" (no
// profile matched), "own node" (the pod's node reaches it), "probe port", "spoofed source", "to host" (Host.WorkloadToHost), "no IPv6", or of a host
// endpoint "failsafe", "neighbour discovery", "unreadable" and "no forward policy". The stage of a host endpoint's policy shows in the kind of
// policy. "Deny by foreign rule" means that felid allows the flow and one of the foreign rules drops it.
//
// Verdicts come from the documents and are never rewritten by a flag.
//
// # Runners
//
// Run is what they share; RunIPTables, RunACLs, RunLists and RunPackets take a renderer or a driver. Each also gets cases that Random and RandomHosts make
// up, with the judge's verdicts: -made-up N says how many. What they find becomes a written case. RunDataplane is the conformance suite of a
// Dataplane: what it must do beside being right about packets.
//
// The package does not know any renderer, and nothing but tests may import it.
package dptest
