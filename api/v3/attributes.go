package v3

// What tells the pods apart that have had one name, one after the other.
const (
	// PodUIDAnnotation of a WorkloadEndpoint that records a sandbox is the UID of the pod that it was made for.
	PodUIDAnnotation = "cni.felid.dev/pod-uid"
	// AttributePodUID is the secondary attribute of an allocation that says the UID of the pod that it was made for.
	AttributePodUID = "uid"
)
