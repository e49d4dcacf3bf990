// Package kube is the datastore of a Kubernetes cluster: felid's resources are custom resources of the API server (projectcalico.org/v3),
// read and written with api/v3's own decoder, and Kubernetes' own objects are read as the views that policy/kube makes of them.
//
// Reading. Lists are paged and decoded as they come off the wire; of an object's metadata managedFields is dropped, and in lists and
// watches kubectl's annotation of what was applied. An object that can't be judged is a fault and not gone. A watch goes on from the last
// revision after whatever broke it, with delays that grow and vary; only where the server has forgotten that revision (410), or is at an
// earlier one (restored from a backup, emptied), does it end with ErrExpired, and the list that follows is compared with what was known.
// A list that lost most of it is not believed until it has stayed so for a while. A dead connection is noticed within 25 s by HTTP/2
// pings; a watch that hears nothing while its connection lives is opened anew after 100 s, and then more rarely.
//
// Writing. An Update is one compare-and-swap. Before those of objects that people write, the stored one is read, so that fields that this
// version does not know survive; those inside of rules make the write ErrInvalid, as does a lossy rule in any back end. Status is written
// apart, where the custom resource has that subresource. Names are those that Kubernetes allows: others are ErrInvalid.
//
// Nothing of a kind is held here but the keys of its objects, what is wrong with them, and what views need.
//
// Views. Each resource that views are made of is listed and watched once, from the first List of a kind that needs it until the Store is closed;
// what is known of it stays through outages, and Health and Outages say how old it is. A view's revision is a hash of its content (a policy's is its own, as reports go by it), so that
// neither a pod's heartbeat nor a list after an outage is a change. Of a Pod a tenth is read and less is kept, shared with its like. Its addresses are those
// that IPAMBlocks record for its newest sandbox, then those of its status, never those of annotations. This node's records of sandboxes
// (Options.Records) are merged with their Pods as in any back end. NetworkPolicies are read in JSON, where a field that this version does not know
// can be seen. Get asks the server. A server without ClusterNetworkPolicies, Profiles or IPAMBlocks has none, for their views, until it has.
//
// A kind whose CustomResourceDefinition is missing is ErrNotServed, which names it; it is there as soon as that is.
package kube
