// Package etcd starts a real etcd for tests: one member, on free ports of 127.0.0.1, with its data in a folder that goes with the test.
//
// The program is the one that FELID_ETCD names, else etcd of the PATH (Debian's etcd-server), else the one that test/cluster/build has
// built. A test that finds none fails.
package etcd
