package hns

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Error of HNS, of an object or of the service as a whole.
type Error struct {
	// Code is a Win32 code, or an HRESULT of another facility than Win32's (0x803b…: HCN_E_…). 0: HNS gave none.
	Code uint32
	Op   string // version, list, get, create, modify, delete
	Kind Kind
	ID   string // "" for a list
	Text string // HNS's own words
}

// NewError is the error of a call that failed with an HRESULT, or a Win32 code, and an error record: the JSON document that HNS gives with it, or text;
// both may be empty. A code in the record counts where there is no other.
func NewError(op string, kind Kind, id string, code uint32, record string) *Error {
	inner, text := readRecord(record)
	code = win32(code)
	if code == 0 || code == codeGeneralFailure && inner != 0 {
		code = win32(inner)
	}
	return &Error{Code: code, Op: op, Kind: kind, ID: id, Text: text}
}

// Error is "modify Endpoint ID: HCN_E_ENDPOINT_NOT_FOUND (0x803b0002): The endpoint was not found."
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("HNS: " + e.Op)
	if e.Kind != "" {
		b.WriteString(" " + string(e.Kind))
	}
	if e.ID != "" {
		b.WriteString(" " + e.ID)
	}
	if e.Code != 0 {
		b.WriteString(": ")
		if name := CodeName(e.Code); name != "" {
			b.WriteString(name + " ")
		}
		fmt.Fprintf(&b, "(0x%x)", e.Code)
	}
	if e.Text != "" {
		b.WriteString(": " + e.Text)
	}
	return b.String()
}

// named makes err an *Error of this operation: which of its calls to the DLLs failed is no concern of callers.
func named(err error, op string, kind Kind, id string) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		return NewError(op, kind, id, 0, err.Error())
	}
	return NewError(op, kind, id, e.Code, e.Text)
}

// win32 takes a Win32 code out of its HRESULT; what is of another facility stays.
func win32(hr uint32) uint32 {
	if hr&0x9fff0000 == 0x80070000 {
		return hr & 0xffff
	}
	return hr
}

// readRecord takes code and text out of an error record: {"Success":false,"Error":"…","ErrorCode":2151350274}. What is no such document is text.
func readRecord(record string) (code uint32, text string) {
	record = strings.TrimSpace(record)
	var r struct {
		Error     string
		ErrorCode json.Number
	}
	if !strings.HasPrefix(record, "{") || json.Unmarshal([]byte(record), &r) != nil {
		return 0, record
	}
	if n, err := r.ErrorCode.Int64(); err == nil {
		code = uint32(n) // some records have the HRESULT as a negative number
	}
	if r.Error == "" {
		return code, record
	}
	return code, strings.TrimSpace(r.Error)
}

// NotFound tells whether err says that the object does not exist (any more). HNS says so in several ways: by ERROR_NOT_FOUND, by codes of the
// object's kind, or by words alone.
func NotFound(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch win32(e.Code) {
	case codeNotFound, codeNetworkNotFound, codeEndpointNotFound:
		return true
	case 0, codeGeneralFailure:
		text := strings.ToLower(e.Text)
		return strings.Contains(text, "endpoint was not found") || strings.Contains(text, "network was not found") ||
			strings.Contains(text, "element not found")
	}
	return false
}

// Unavailable tells whether err is of the service as a whole and not of an object: it is stopped, starting, hung up, or not installed.
func Unavailable(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	code := win32(e.Code)
	if code >= 1700 && code <= 1766 || code>>8 == 0x800101 { // RPC_S_…; RPC_E_…
		return true
	}
	switch code {
	case codeManagerStopped, codeServiceDisabled, codeServiceNotActive, codeServiceMarkedForDelete, codeShutdown, codeModuleNotFound, codeProcNotFound:
		return true
	}
	return false
}

// AlreadyExists tells whether err says that there is such an object.
func AlreadyExists(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch win32(e.Code) {
	case codeNetworkExists, codePolicyExists, codePortExists, codeNamespaceExists, codeAlreadyExists:
		return true
	}
	return false
}

// Retryable tells whether the same request may succeed later. It is true for what is not known.
func Retryable(err error) bool {
	var e *Error
	return !errors.As(err, &e) || !permanent[win32(e.Code)]
}

// record is the error record at the end of an error text of hcsshim: "hcnOpenEndpoint failed in Win32: TEXT (0x803b0002) RECORD"; all of the text
// where it has no such form.
func record(text string) string {
	if _, rest, ok := cutCode(text); ok {
		return strings.TrimSpace(rest)
	}
	return text
}

// codeIn is the code that a text of that form names, 0 for none.
func codeIn(text string) uint32 {
	code, _, _ := cutCode(text)
	return code
}

func cutCode(text string) (code uint32, rest string, ok bool) {
	_, after, found := strings.Cut(text, "failed in Win32: ")
	if !found {
		return 0, "", false
	}
	at := strings.LastIndex(after, "(0x")
	if brace := strings.IndexByte(after, '{'); brace >= 0 { // what follows the code may have a code, too
		at = strings.LastIndex(after[:brace], "(0x")
	}
	if at < 0 {
		return 0, "", false
	}
	digits, rest, found := strings.Cut(after[at+3:], ")")
	n, err := strconv.ParseUint(digits, 16, 32)
	if !found || err != nil {
		return 0, "", false
	}
	return uint32(n), rest, true
}
