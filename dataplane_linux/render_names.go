package linux

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"

	"github.com/felid-net/felid/dataplane"
)

// Family is an IP version; the kernel holds tables, sets and routes of each apart.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// Families are both.
var Families = [...]Family{IPv4, IPv6}

// of tells whether an address or prefix is of the family.
func (f Family) of(a netip.Addr) bool { return a.Is4() == (f == IPv4) }

// icmp is the protocol number of the family's own ICMP.
func (f Family) icmp() uint8 {
	if f == IPv4 {
		return dataplane.ProtoICMP
	}
	return dataplane.ProtoICMPv6
}

// String is "IPv4" or "IPv6".
func (f Family) String() string { return "IPv" + strconv.Itoa(int(f)) }

// Chains whose names do not depend on the state.
const (
	chainForward      = "felid-forward"
	chainInput        = "felid-input"
	chainOutput       = "felid-output"
	chainPostrouting  = "felid-postrouting"
	chainWorkloadHost = "felid-workload-host"
	chainFrom         = "felid-from" // the roots of the dispatch trees; the branches are felid-from-PREFIX
	chainTo           = "felid-to"
	chainAllow        = "felid-allow"
	chainPass         = "felid-pass"
	chainPrerouting   = "felid-prerouting"
	chainForwardIn    = "felid-forward-in" // by host endpoints
	chainForwardOut   = "felid-forward-out"
	chainSent         = "felid-sent"
	chainRedirected   = "felid-redirected"
)

// hashed is the first n characters (of 6 bits each) of the SHA-256 of s, in the URL-safe alphabet.
func hashed(s string, n int) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:n]
}

// endpointChain is felid-fw-IFACE (from the workload) or felid-tw-IFACE (to it); at most 24 characters.
func endpointChain(d dataplane.Direction, iface string) string {
	if d == dataplane.Egress {
		return "felid-fw-" + iface
	}
	return "felid-tw-" + iface
}

// sourcesChain is the chain that checks the source of an endpoint with several addresses.
func sourcesChain(iface string) string { return "felid-sa-" + iface }

// policyChain is felid-pi-…, felid-po-…, or felid-hi-… at stageForward: the first letters of the name, for people, and 72 bits of hash: 28 characters. Names are
// chosen by tenants, so the hash is long enough that nobody finds a second policy with the chain of another's.
func policyChain(s stage, d dataplane.Direction, id dataplane.PolicyID) string {
	prefix := "felid-pi-"
	switch {
	case d == dataplane.Egress:
		prefix = "felid-po-"
	case s == stageForward:
		prefix = "felid-hi-"
	}
	short := []byte(id.Name[:min(6, len(id.Name))])
	for i, c := range short {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			short[i] = '_'
		}
	}
	return prefix + string(short) + "-" + hashed(id.Kind+"\x00"+id.Namespace+"\x00"+id.Name, 12)
}

// Sets that are ours and no rule's.
const (
	setMasquerade = "nat-masquerade"
	setPools      = "nat-pools"
	setProbes     = "probe-ports"
)

// setName is the kernel's name of a set in a family; at most 31 characters.
func setName(f Family, id string) string {
	if f == IPv4 {
		return "felid4-" + id
	}
	return "felid6-" + id
}

// marks are the bits of a packet's mark that the chains use.
type marks struct {
	accept, pass      uint32
	excluded, matched uint32 // scratch, within one rule
	sent              uint32 // of the host itself, and redirected: table mangle judges it
}

// marksFrom takes the five lowest bits of mask.
func marksFrom(mask uint32) (marks, error) {
	if bits.OnesCount32(mask) < 5 {
		return marks{}, fmt.Errorf("mark mask %#x: has %d bits, at least 5 are needed", mask, bits.OnesCount32(mask))
	}
	next := func() uint32 {
		bit := mask & -mask
		mask &^= bit
		return bit
	}
	return marks{accept: next(), pass: next(), excluded: next(), matched: next(), sent: next()}, nil
}
