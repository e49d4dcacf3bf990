package iptables

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// Sum stands for the rules of a chain: equal sums, equal rules (but for a chance of one in 2^64 per comparison).
type Sum struct {
	Rules int
	Hash  uint64
}

// FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func fnv(h uint64, s string) uint64 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

// hashLength is the length of a rule's hash as written: 64 bits in base64.
const hashLength = 11

// chainSeed is what the hashes of a chain's rules begin with: rules that change place between chains are seen.
func chainSeed(chain string) uint64 { return fnv(fnvOffset, chain) }

// ruleHash is the hash of a rule of the chain with this seed. It does not depend on where in the chain the rule is, so that one rule more
// leaves the others as they stand; the sum of the chain does.
func ruleHash(seed uint64, rule string) uint64 {
	return fnv((seed^'\n')*fnvPrime, rule)
}

// add takes in the hash of the next rule, as computed or as read back.
func (s *Sum) add(hash uint64) {
	s.Rules++
	s.Hash = ((s.Hash ^ hash) * fnvPrime) ^ s.Hash>>29
}

// sumOf is the sum of a body: rules, each ended by a newline.
func sumOf(chain, body string) Sum {
	var s Sum
	seed := chainSeed(chain)
	for rule := range strings.Lines(body) {
		s.add(ruleHash(seed, rule[:len(rule)-1]))
	}
	return s
}

// appendHash writes a hash as it stands in comments.
func appendHash(b []byte, h uint64) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], h)
	return base64.RawURLEncoding.AppendEncode(b, raw[:])
}

// parseHash reads what appendHash wrote. A comment that is no hash counts as 0, which is no rule's.
func parseHash(b []byte) uint64 {
	var raw [9]byte
	if len(b) != hashLength {
		return 0
	}
	if n, err := base64.RawURLEncoding.Decode(raw[:], b); err != nil || n != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(raw[:8])
}
