// Package local keeps resources in a directory that people and several agents of one machine share.
//
// Felid writes one object a file, KIND/[NAMESPACE/]NAME.json, as JSON. People may write YAML or JSON anywhere in the directory, several
// documents a file. Objects of Kubernetes (Namespace, ServiceAccount, Pod, Node, Service, EndpointSlice, NetworkPolicy) are taken as
// Kubernetes writes them and show up as the views that policy/kube makes of them; a Pod and the record of its sandbox are one
// WorkloadEndpoint. Objects of other groups are counted and left alone.
//
// Invariants:
//   - A revision is a hash of the object's bytes. A write reads them again under a lock of the whole directory, so that nobody's edit
//     is overwritten unseen; it goes to a temporary file that is flushed and renamed, so that a loss of power loses at most that write.
//   - What can't be read does not disturb the rest, and is not gone: an object whose file is broken, half-written or empty is named by a
//     fault, with file and line, and no event says that it went, until its file is readable without it or is removed.
//   - An object in two files is a fault naming both. The one whose path sorts first counts, and neither is written.
//   - A change of one object costs reading one file. No contents of files are kept in memory.
//
// Files and directories whose name begins with a dot are not looked at; .felid holds the lock and temporary files. Symbolic links to
// files are followed, those to directories are not.
package local
