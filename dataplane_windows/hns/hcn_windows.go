package hns

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"

	"github.com/Microsoft/hcsshim/hcn"
	"golang.org/x/sys/windows"
)

// Open gives the calls of this host's HNS, through hcsshim and computenetwork.dll. No call is made yet.
//
// Calls to the DLLs: Version 1 (vmcompute.dll, schema 1: there is no other way); List 1 and 3 for each object (open, query, close);
// Get 4, or 1 where there is no such object; Create 3, of an endpoint 5; Modify 4 (open, modify, query, close); Delete 1.
//
// Where HNS fails between the opening and the closing of an object, hcsshim leaves the handle open.
func Open() Calls { return shim{} }

type shim struct{}

var _ Calls = shim{}

// Version asks anew each time: hcn.GetCachedSupportedFeatures would keep a failure for good.
func (shim) Version() (v Version, err error) {
	err = guard("version", "", "", func() error {
		g, err := hcn.GetGlobals()
		if err == nil {
			v = Version(g.Version)
		}
		return err
	})
	return v, err
}

func (shim) List(kind Kind, filter map[string]any) (out []json.RawMessage, err error) {
	q := hcn.HostComputeQuery{SchemaVersion: hcn.V2SchemaVersion()}
	if len(filter) > 0 {
		f, err := json.Marshal(filter)
		if err != nil {
			return nil, err
		}
		q.Filter = string(f)
	}
	err = guard("list", kind, "", func() error {
		switch kind {
		case KindNetwork:
			list, err := hcn.ListNetworksQuery(q)
			return appendRaw(&out, list, err)
		case KindEndpoint:
			list, err := hcn.ListEndpointsQuery(q)
			return appendRaw(&out, list, err)
		}
		list, err := hcn.ListNamespacesQuery(q)
		return appendRaw(&out, list, err)
	})
	return out, err
}

func appendRaw[T any](out *[]json.RawMessage, list []T, err error) error {
	for i := 0; i < len(list) && err == nil; i++ {
		var raw json.RawMessage
		raw, err = json.Marshal(list[i])
		*out = append(*out, raw)
	}
	return err
}

func (shim) Get(kind Kind, id string) (raw json.RawMessage, err error) {
	err = guard("get", kind, id, func() error {
		switch kind {
		case KindNetwork:
			n, err := hcn.GetNetworkByID(id)
			return marshal(&raw, n, err)
		case KindEndpoint:
			e, err := hcn.GetEndpointByID(id)
			return marshal(&raw, e, err)
		}
		n, err := hcn.GetNamespaceByID(id)
		return marshal(&raw, n, err)
	})
	return raw, err
}

func marshal(raw *json.RawMessage, object any, err error) error {
	if err == nil {
		*raw, err = json.Marshal(object)
	}
	return err
}

func (shim) Create(kind Kind, parent string, settings json.RawMessage) (raw json.RawMessage, err error) {
	err = guard("create", kind, "", func() error {
		switch kind {
		case KindNetwork:
			var n hcn.HostComputeNetwork
			if err := json.Unmarshal(settings, &n); err != nil {
				return err
			}
			made, err := n.Create()
			return marshal(&raw, made, err)
		case KindEndpoint:
			var e hcn.HostComputeEndpoint
			if err := json.Unmarshal(settings, &e); err != nil {
				return err
			}
			made, err := (&hcn.HostComputeNetwork{Id: parent}).CreateEndpoint(&e)
			return marshal(&raw, made, err)
		}
		var n hcn.HostComputeNamespace
		if err := json.Unmarshal(settings, &n); err != nil {
			return err
		}
		made, err := n.Create()
		return marshal(&raw, made, err)
	})
	return raw, err
}

func (shim) Modify(kind Kind, id string, request json.RawMessage) error {
	return guard("modify", kind, id, func() error {
		switch kind {
		case KindNetwork:
			var r hcn.ModifyNetworkSettingRequest
			if err := json.Unmarshal(request, &r); err != nil {
				return err
			}
			return (&hcn.HostComputeNetwork{Id: id}).ModifyNetworkSettings(&r)
		case KindEndpoint:
			var r hcn.ModifyEndpointSettingRequest
			if err := json.Unmarshal(request, &r); err != nil {
				return err
			}
			return hcn.ModifyEndpointSettings(id, &r)
		}
		var r hcn.ModifyNamespaceSettingRequest
		if err := json.Unmarshal(request, &r); err != nil {
			return err
		}
		return hcn.ModifyNamespaceSettings(id, &r)
	})
}

func (shim) Delete(kind Kind, id string) error {
	return guard("delete", kind, id, func() error {
		switch kind {
		case KindNetwork:
			return (&hcn.HostComputeNetwork{Id: id}).Delete()
		case KindEndpoint:
			return (&hcn.HostComputeEndpoint{Id: id}).Delete()
		}
		return (&hcn.HostComputeNamespace{Id: id}).Delete()
	})
}

// guard makes an *Error of what hcsshim returns. Where a function of a DLL is missing, hcsshim panics over the type of the loader's error instead of
// returning it.
func guard(op string, kind Kind, id string, call func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(*runtime.TypeAssertionError); !ok {
				panic(r)
			}
			err = NewError(op, kind, id, codeProcNotFound, "a function of computenetwork.dll is missing: felid needs Windows Server 2022 or later")
		}
	}()
	if err := call(); err != nil {
		return translate(op, kind, id, err)
	}
	return nil
}

// translate takes the code and the record of HNS out of an error of hcsshim, whose own test for "not found" knows none of those that come from the DLL.
func translate(op string, kind Kind, id string, err error) *Error {
	var shim *hcn.HcnError
	if errors.As(err, &shim) {
		var code windows.Errno
		errors.As(shim.Err, &code)
		text := record(shim.Error())
		switch {
		case text != "" || code == 0:
		case code == codeModuleNotFound:
			text = "a DLL is missing: is the Containers feature of Windows installed?"
		default:
			text = code.Error()
		}
		return NewError(op, kind, id, uint32(code), text)
	}
	var dll *windows.DLLError
	if errors.As(err, &dll) {
		return NewError(op, kind, id, codeModuleNotFound, err.Error())
	}
	if code := missing(err); code != 0 {
		return NewError(op, kind, id, code, err.Error())
	}
	if code := codeIn(err.Error()); code != 0 { // schema 1: an error of a type that is not exported
		return NewError(op, kind, id, code, windows.Errno(code).Error())
	}
	return NewError(op, kind, id, 0, err.Error())
}

// missing is the code for what hcsshim itself did not find in a list.
func missing(err error) uint32 {
	var network hcn.NetworkNotFoundError
	var endpoint hcn.EndpointNotFoundError
	var namespace hcn.NamespaceNotFoundError
	switch {
	case errors.As(err, &network):
		return codeNetworkNotFound
	case errors.As(err, &endpoint):
		return codeEndpointNotFound
	case errors.As(err, &namespace):
		return codeNotFound
	case strings.HasPrefix(err.Error(), "invalid ") && strings.HasSuffix(err.Error(), " ID"):
		return codeInvalidParameter
	}
	return 0
}
