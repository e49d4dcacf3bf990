package emulator

import (
	"encoding/json"
	"fmt"
)

// HRESULTs that HNS gives (winerror.h).
const (
	codeInvalidArg         = 0x80070057
	codeNotFound           = 0x80070490 // ERROR_NOT_FOUND
	codeUnavailable        = 0x800706ba // RPC_S_SERVER_UNAVAILABLE
	codeNetworkNotFound    = 0x803b0001
	codeEndpointNotFound   = 0x803b0002
	codePolicyNotFound     = 0x803b0008
	codeInvalidPolicy      = 0x803b000d
	codeInvalidPolicyType  = 0x803b000e
	codeNetworkExists      = 0x803b0010
	codePolicyExists       = 0x803b0012
	codePortExists         = 0x803b0013
	codeEndpointAttached   = 0x803b0014
	codeRequestUnsupported = 0x803b0015
	codeInvalidJSON        = 0x803b001b
	codeHasReferences      = 0x803b002c
	codeAddressReserved    = 0x803b002f
)

// failure is an HRESULT and the text of the error record that goes with it.
type failure struct {
	code uint32
	text string
}

func fail(code uint32, format string, args ...any) *failure {
	record := struct {
		Success   bool
		Error     string
		ErrorCode uint32
	}{Error: fmt.Sprintf(format, args...) + " ", ErrorCode: code}
	text, _ := json.Marshal(record)
	return &failure{code: code, text: string(text)}
}

// message is what the record says to people.
func (f *failure) message() string {
	var record struct{ Error string }
	if json.Unmarshal([]byte(f.text), &record) != nil {
		return f.text
	}
	return record.Error
}
