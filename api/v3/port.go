package v3

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Protocol is a protocol by name or number, as written: "TCP", "tcp", 6. The zero value is none. What can't be read is kept as its
// text in Name, so that it can be judged where it stands; Problem tells.
// +kubebuilder:validation:XIntOrString
// +kubebuilder:validation:Type=""
// +kubebuilder:validation:Pattern=`^(TCP|tcp|Tcp|UDP|udp|Udp|SCTP|sctp|Sctp|ICMP|icmp|Icmp|ICMPv6|ICMPV6|icmpv6|Icmpv6|UDPLite|UDPLITE|udplite|Udplite|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])$`
type Protocol struct {
	// Name as written, "" where a number was.
	Name string `json:"-"`
	// Number where one was written, else 0.
	Number uint8 `json:"-"`
}

// Port is a number, a range "a:b", or the name of a port. What can't be read is kept as its text in Name, so that it can be judged
// where it stands; Problem tells.
// +kubebuilder:validation:XIntOrString
// +kubebuilder:validation:Type=""
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:Pattern=`^(0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])(:0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?|[0-9]*[a-zA-Z_.-][a-zA-Z0-9_.-]*)$`
type Port struct {
	// Name of a port of the endpoint; then Min and Max are 0.
	Name string `json:"-"`
	// Min and Max are inclusive, equal for a single number.
	Min uint16 `json:"-"`
	Max uint16 `json:"-"`
}

// protocolNumbers are the names that the API knows (IANA protocol numbers).
var protocolNumbers = map[string]uint8{"TCP": 6, "UDP": 17, "ICMP": 1, "ICMPv6": 58, "SCTP": 132, "UDPLite": 136}

// ParseProtocol reads "TCP", "udp" or "6". Names are known in any case, and kept as written.
func ParseProtocol(text string) (Protocol, error) {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil {
		if n < 1 || n > 255 || text[0] == '0' {
			return Protocol{}, fmt.Errorf("protocol %s is out of range; valid: 1 to 255", text)
		}
		return Protocol{Number: uint8(n)}, nil
	}
	p := Protocol{Name: text}
	if _, ok := p.Number8(); !ok {
		return Protocol{}, fmt.Errorf("unknown protocol %q; valid: TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite, or 1 to 255", text)
	}
	return p, nil
}

// Number8 is the IANA number; false where there is none.
func (p Protocol) Number8() (uint8, bool) {
	if p.Name == "" {
		return p.Number, p.Number != 0
	}
	if n, ok := protocolNumbers[p.Name]; ok {
		return n, true
	}
	for name, n := range protocolNumbers {
		if strings.EqualFold(name, p.Name) {
			return n, true
		}
	}
	return 0, false
}

// plain tells whether the name is spelled as most people do. The schema of the API server lists these spellings.
func (p Protocol) plain() bool {
	lower := strings.ToLower(p.Name)
	if p.Name == "" || p.Name == lower || p.Name == strings.ToUpper(lower) || p.Name == strings.ToUpper(lower[:1])+lower[1:] {
		return true
	}
	_, known := protocolNumbers[p.Name]
	return known
}

// String is the name as written, or the number.
func (p Protocol) String() string {
	if p.Name != "" {
		return p.Name
	}
	return strconv.Itoa(int(p.Number))
}

// MarshalJSON writes a name as a string and a number as a number.
func (p Protocol) MarshalJSON() ([]byte, error) {
	if p.Name != "" {
		return json.Marshal(p.Name)
	}
	return strconv.AppendUint(nil, uint64(p.Number), 10), nil
}

// UnmarshalJSON reads a string or a number. It never fails (see Problem).
func (p *Protocol) UnmarshalJSON(data []byte) error {
	text := scalarText(data)
	parsed, err := ParseProtocol(text)
	if err != nil {
		parsed = Protocol{Name: text}
	}
	*p = parsed
	return nil
}

// Problem says why the protocol can't be read; nil if it can.
func (p Protocol) Problem() error {
	if _, ok := p.Number8(); ok {
		return nil
	}
	_, err := ParseProtocol(p.String())
	return err
}

// ParsePort reads "80", "8000:8010" or "http".
func ParsePort(text string) (Port, error) {
	low, high, isRange := strings.Cut(text, ":")
	if !isRange && !isNumber(low) {
		if !portName.MatchString(low) {
			return Port{}, fmt.Errorf("%q is not a port; valid: 0 to 65535, a range \"a:b\", or a name of letters, digits and '-'", text)
		}
		return Port{Name: low}, nil
	}
	if !isRange {
		high = low
	}
	a, errA := strconv.ParseUint(low, 10, 16)
	b, errB := strconv.ParseUint(high, 10, 16)
	if errA != nil || errB != nil || a > b {
		return Port{}, fmt.Errorf("%q is not a port or a range; valid: 0 to 65535, or \"a:b\" with a no greater than b", text)
	}
	return Port{Min: uint16(a), Max: uint16(b)}, nil
}

var portName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

func isNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// String is the port as written in YAML.
func (p Port) String() string {
	switch {
	case p.Name != "":
		return p.Name
	case p.Min == p.Max:
		return strconv.Itoa(int(p.Min))
	}
	return strconv.Itoa(int(p.Min)) + ":" + strconv.Itoa(int(p.Max))
}

// MarshalJSON writes a single number as a number, all else as a string.
func (p Port) MarshalJSON() ([]byte, error) {
	if p.Name == "" && p.Min == p.Max {
		return strconv.AppendUint(nil, uint64(p.Min), 10), nil
	}
	return json.Marshal(p.String())
}

// UnmarshalJSON reads a string or a number. It never fails (see Problem).
func (p *Port) UnmarshalJSON(data []byte) error {
	text := scalarText(data)
	parsed, err := ParsePort(text)
	if err != nil {
		parsed = Port{Name: text}
	}
	*p = parsed
	return nil
}

// Problem says why the port can't be read; nil if it can.
func (p Port) Problem() error {
	if p.Name == "" && p.Min <= p.Max {
		return nil
	}
	_, err := ParsePort(p.String())
	return err
}

// plainText is what stands between quotes, where it means what it says.
func plainText(json string) (string, bool) {
	if len(json) < 3 || json[0] != '"' || json[len(json)-1] != '"' {
		return "", false
	}
	text := json[1 : len(json)-1]
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return "", false
		}
	}
	return text, true
}

// scalarText is the text of a JSON string, or the digits of a whole number. Anything else, and the empty text, comes back in angle
// brackets, which no name has.
func scalarText(data []byte) string {
	text := string(data)
	if plain, ok := plainText(text); ok {
		return plain
	}
	if len(data) > 0 && data[0] == '"' && json.Unmarshal(data, &text) == nil && text != "" || isNumber(text) {
		return text
	}
	return "<" + text + ">"
}
