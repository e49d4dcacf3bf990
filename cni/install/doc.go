// Package install puts felid's CNI plugin into a host: its programs into the folder of plugins, and a network configuration list
// into the runtime's folder of configuration.
//
// Where felid is the network, the list is its own: felid-cni, then portmap. Beside another network plugin it is a copy of the list that the
// runtime would use without felid, with felid-cni as a gate at its end. It sorts before the other files, so that the runtime, which uses
// the first by name, uses it. A copy, as the other plugin's file stays as it is: a plugin that writes its file anew at each of its
// starts would otherwise open a window, at every boot for one, in which pods come without the gate.
//
// Invariants:
//   - A file is complete under its name or not there: it is written beside, synchronized, and renamed.
//   - Nothing of another plugin is changed or removed. A program that is there already is not replaced, but for felid's own.
//   - The copy follows what it was made of: changed with it, removed when it has been gone for a while. It names its source and the source's
//     digest. What somebody else adds to a copy that is up to date stays, and rewriting slows down where somebody undoes it: two writers
//     never chase each other.
//   - What can't be read changes nothing: the copy stays as it was.
//   - On Windows, where a program that runs can't be replaced, it is put aside under another name first, and removed when the folder is next
//     looked at. felid is the network of no Windows host, so felid-cni.exe is all that is written there.
//
// conflist.go is pure; the rest reads and writes the two folders. The package asks no agent and no datastore: when the list may be
// written is its caller's to say.
package install
