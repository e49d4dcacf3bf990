package hns

import (
	"maps"
	"slices"
)

// Codes that felid treats in a way of their own. Those of Win32 are from winerror.h, 0x803b… are of the facility of HNS.
const (
	codeAccessDenied           = 5
	codeGeneralFailure         = 31
	codeNotSupported           = 50
	codeInvalidParameter       = 87
	codeModuleNotFound         = 126
	codeProcNotFound           = 127
	codeAlreadyExists          = 183
	codeServiceDisabled        = 1058
	codeServiceNotActive       = 1062
	codeServiceMarkedForDelete = 1072
	codeShutdown               = 1115
	codeNotFound               = 1168
	codeNotImplemented         = 0x80004001

	codeNetworkNotFound  = 0x803b0001
	codeEndpointNotFound = 0x803b0002
	codeNetworkExists    = 0x803b0010
	codePolicyExists     = 0x803b0012
	codePortExists       = 0x803b0013
	codeManagerStopped   = 0x803b0020
	codeNamespaceExists  = 0x803b002b
)

// codeNames are the codes that golang.org/x/sys/windows, and so hcsshim, has names for, and the few of Win32 that HNS answers with.
var codeNames = map[uint32]string{
	codeAccessDenied:           "ERROR_ACCESS_DENIED",
	codeGeneralFailure:         "ERROR_GEN_FAILURE",
	codeNotSupported:           "ERROR_NOT_SUPPORTED",
	codeInvalidParameter:       "ERROR_INVALID_PARAMETER",
	codeModuleNotFound:         "ERROR_MOD_NOT_FOUND",
	codeProcNotFound:           "ERROR_PROC_NOT_FOUND",
	codeAlreadyExists:          "ERROR_ALREADY_EXISTS",
	codeServiceDisabled:        "ERROR_SERVICE_DISABLED",
	codeServiceNotActive:       "ERROR_SERVICE_NOT_ACTIVE",
	codeServiceMarkedForDelete: "ERROR_SERVICE_MARKED_FOR_DELETE",
	codeShutdown:               "ERROR_SHUTDOWN_IN_PROGRESS",
	codeNotFound:               "ERROR_NOT_FOUND",
	1460:                       "ERROR_TIMEOUT",
	1717:                       "RPC_S_UNKNOWN_IF",
	1722:                       "RPC_S_SERVER_UNAVAILABLE",
	1723:                       "RPC_S_SERVER_TOO_BUSY",
	1726:                       "RPC_S_CALL_FAILED",
	1727:                       "RPC_S_CALL_FAILED_DNE",
	1753:                       "EPT_S_NOT_REGISTERED",
	codeNotImplemented:         "E_NOTIMPL",

	codeNetworkNotFound:  "HCN_E_NETWORK_NOT_FOUND",
	codeEndpointNotFound: "HCN_E_ENDPOINT_NOT_FOUND",
	0x803b0003:           "HCN_E_LAYER_NOT_FOUND",
	0x803b0004:           "HCN_E_SWITCH_NOT_FOUND",
	0x803b0005:           "HCN_E_SUBNET_NOT_FOUND",
	0x803b0006:           "HCN_E_ADAPTER_NOT_FOUND",
	0x803b0007:           "HCN_E_PORT_NOT_FOUND",
	0x803b0008:           "HCN_E_POLICY_NOT_FOUND",
	0x803b0009:           "HCN_E_VFP_PORTSETTING_NOT_FOUND",
	0x803b000a:           "HCN_E_INVALID_NETWORK",
	0x803b000b:           "HCN_E_INVALID_NETWORK_TYPE",
	0x803b000c:           "HCN_E_INVALID_ENDPOINT",
	0x803b000d:           "HCN_E_INVALID_POLICY",
	0x803b000e:           "HCN_E_INVALID_POLICY_TYPE",
	0x803b000f:           "HCN_E_INVALID_REMOTE_ENDPOINT_OPERATION",
	codeNetworkExists:    "HCN_E_NETWORK_ALREADY_EXISTS",
	0x803b0011:           "HCN_E_LAYER_ALREADY_EXISTS",
	codePolicyExists:     "HCN_E_POLICY_ALREADY_EXISTS",
	codePortExists:       "HCN_E_PORT_ALREADY_EXISTS",
	0x803b0014:           "HCN_E_ENDPOINT_ALREADY_ATTACHED",
	0x803b0015:           "HCN_E_REQUEST_UNSUPPORTED",
	0x803b0016:           "HCN_E_MAPPING_NOT_SUPPORTED",
	0x803b0017:           "HCN_E_DEGRADED_OPERATION",
	0x803b0018:           "HCN_E_SHARED_SWITCH_MODIFICATION",
	0x803b0019:           "HCN_E_GUID_CONVERSION_FAILURE",
	0x803b001a:           "HCN_E_REGKEY_FAILURE",
	0x803b001b:           "HCN_E_INVALID_JSON",
	0x803b001c:           "HCN_E_INVALID_JSON_REFERENCE",
	0x803b001d:           "HCN_E_ENDPOINT_SHARING_DISABLED",
	0x803b001e:           "HCN_E_INVALID_IP",
	0x803b001f:           "HCN_E_SWITCH_EXTENSION_NOT_FOUND",
	codeManagerStopped:   "HCN_E_MANAGER_STOPPED",
	0x803b0021:           "GCN_E_MODULE_NOT_FOUND",
	0x803b0022:           "GCN_E_NO_REQUEST_HANDLERS",
	0x803b0023:           "GCN_E_REQUEST_UNSUPPORTED",
	0x803b0024:           "GCN_E_RUNTIMEKEYS_FAILED",
	0x803b0025:           "GCN_E_NETADAPTER_TIMEOUT",
	0x803b0026:           "GCN_E_NETADAPTER_NOT_FOUND",
	0x803b0027:           "GCN_E_NETCOMPARTMENT_NOT_FOUND",
	0x803b0028:           "GCN_E_NETINTERFACE_NOT_FOUND",
	0x803b0029:           "GCN_E_DEFAULTNAMESPACE_EXISTS",
	0x803b002a:           "HCN_E_ICS_DISABLED",
	codeNamespaceExists:  "HCN_E_ENDPOINT_NAMESPACE_ALREADY_EXISTS",
	0x803b002c:           "HCN_E_ENTITY_HAS_REFERENCES",
	0x803b002d:           "HCN_E_INVALID_INTERNAL_PORT",
	0x803b002e:           "HCN_E_NAMESPACE_ATTACH_FAILED",
	0x803b002f:           "HCN_E_ADDR_INVALID_OR_RESERVED",
}

// permanent are the codes of requests that HNS will never take as they are.
var permanent = map[uint32]bool{
	codeAccessDenied: true, codeNotSupported: true, codeInvalidParameter: true, codeModuleNotFound: true, codeProcNotFound: true, codeNotImplemented: true,
	0x803b000b: true, 0x803b000d: true, 0x803b000e: true, 0x803b000f: true, 0x803b0015: true, 0x803b0016: true, 0x803b0019: true,
	0x803b001b: true, 0x803b001c: true, 0x803b001e: true, 0x803b002d: true, 0x803b002f: true,
}

// CodeName is the name that Windows has for a code, "" for one that felid does not know.
func CodeName(code uint32) string {
	return codeNames[win32(code)]
}

// Codes are all that CodeName knows, in order.
func Codes() []uint32 {
	return slices.Sorted(maps.Keys(codeNames))
}
