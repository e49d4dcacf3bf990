// Package cyclonus holds felid's reading of Kubernetes NetworkPolicy against another's: every case that cyclonus
// (github.com/mattfenwick/cyclonus) generates is played in a small cluster, and after each of its steps felid and the matcher of
// cyclonus judge the same flows, both sides of each. Neither engine knows the other, so a mistake has to be made twice to go unseen.
//
// No cluster and no packets: objects are converted by policy/kube, resolved by policy, and judged by policy.Explain. The package is
// a module of its own, so that who uses felid does not carry cyclonus and what it needs. It has no code outside tests.
package cyclonus
