// Package kubernetes starts Kubernetes' own API server, with an etcd of its own, for Go tests:
//
//	server := kubernetes.Start(t, kubernetes.Options{}) // ends with the test
//	server := kubernetes.Shared(t)                      // one for all tests of a package
//
// A start takes four to five seconds and the server 300 MB, so that a package shares one (and ends it by func TestMain(m *testing.M) {
// os.Exit(kubernetes.Main(m)) }) but for tests that stop it. The programs are those that test/cluster/build makes from the Go module
// proxy; where they are missing it is run, once, which takes minutes.
//
// It is an API server alone: no controller fills in service accounts, empties namespaces that are deleted, or schedules pods. The
// admission plugin ServiceAccount, which needs one, is off: a Pod is created with the serviceAccountName that it is given.
//
// Invariants: everything listens on 127.0.0.1; a program ends with the test process, even where that is killed. Linux only: elsewhere
// every test that asks for a server fails and says so.
package kubernetes
