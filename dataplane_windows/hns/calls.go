package hns

import "encoding/json"

// Kind of an object of HNS.
type Kind string

// The kinds that felid knows.
const (
	KindNetwork   Kind = "Network"
	KindEndpoint  Kind = "Endpoint"
	KindNamespace Kind = "Namespace"
)

// Calls are what HNS is asked, in JSON of schema 2: on Windows by hcsshim, in tests of an emulator. Errors of HNS are *Error. A call blocks
// for as long as HNS takes, which may be minutes; calls may run beside each other.
type Calls interface {
	// Version of HNS, which says what it can do.
	Version() (Version, error)
	// List gives the objects of a kind; filter are fields that they have, as in {"State": 2} for endpoints.
	List(kind Kind, filter map[string]any) ([]json.RawMessage, error)
	Get(kind Kind, id string) (json.RawMessage, error)
	// Create makes an object; parent is the network of an endpoint. It gives the object as HNS completed it.
	Create(kind Kind, parent string, settings json.RawMessage) (json.RawMessage, error)
	// Modify takes a request {"ResourceType", "RequestType", "Settings"}.
	Modify(kind Kind, id string, request json.RawMessage) error
	Delete(kind Kind, id string) error
}

// Version of HNS: 13.2 on Windows Server 2022, 15.4 on 2025 (what patched builds say is not known to us).
type Version struct {
	Major, Minor int
}
