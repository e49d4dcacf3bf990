// Package etcd keeps resources in etcd, for clusters without an API server and for hosts alone.
//
// An object is the JSON of api/v3 under /felid/v1/projectcalico.org/v3/KIND/[NAMESPACE/]NAME: "v1" is the version of this layout, the rest
// is what the object says of itself, so that a kind or a namespace is one range, and etcdctl shows what it is. An object's revision is
// its key's mod_revision; a list's is that of the whole store, with the cluster's identity before it.
//
// Invariants:
//   - A write is one transaction that compares the key's revision. One whose answer is lost is not tried again: the caller looks.
//   - A list is of one revision, however many pages it takes. A watch goes on from it, and misses nothing: what has been compacted since
//     ends it with ErrExpired.
//   - What can't be read is named by a fault and not gone, as everywhere.
//   - A store whose revision went back, or whose cluster is another one, was restored or emptied. Revisions of before then mean nothing: watches
//     end, and for Options.Doubt there is no answer at all, so that what agents know stays in force while somebody looks; after it,
//     what is there counts, under revisions that differ from all of before.
//   - A silence is noticed: while anything is watched the store is asked for its revision every few seconds, and watches end with
//     ErrUnreachable when it has not answered for a while. A member that has lost its leader counts as unreachable. A watch on which not even
//     etcd's notes of progress come is begun anew.
//
// Views of Kubernetes objects are never stored; lists of them are empty.
//
// Etcd's own permissions apply: a role needs readwrite (agents: at least read) on the range of the prefix. A client is known by its
// certificate; user names and passwords are not supported. The certificate is read anew for each connection, the CA's once.
package etcd
