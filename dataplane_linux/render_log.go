package linux

import (
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/felid-net/felid/dataplane"
)

// Logged is what a prefix of NFLOG stands for: a Log rule that a packet matched, or with RenderConfig.LogVerdicts what decided about it. Its prefix
// is "LI2|NetworkPolicy web-ns/allow-db": the action (Log, Allow, Deny, Pass), Ingress or Egress, the index of the rule ("e" for the end of a
// tier, "n" where no profile decided), and the policy or profile.
type Logged struct {
	Action    dataplane.Action
	Direction dataplane.Direction
	// Policy whose rule it was; at the end of a tier the last one that applied. The zero PolicyID: no profile decided.
	Policy dataplane.PolicyID
	Rule   int // index as stored; -1: no rule, but the end of the tier, or of the profiles
}

// maxLogPrefix is what NFLOG keeps of a prefix, without the terminating zero.
const maxLogPrefix = 63

// hashMark and so many characters of hash stand for the rest of a name that does not fit.
const (
	hashMark   = '#'
	nameHashed = 16
)

// Prefix is the text by which NFLOG reports it. One that would be too long ends in "#" and 16 characters of hash in place of the rest:
// LogNames maps it back.
func (l Logged) Prefix() string {
	head := [...]byte{l.Action.String()[0], 'I'}
	if l.Direction == dataplane.Egress {
		head[1] = 'E'
	}
	what := strconv.Itoa(l.Rule)
	switch {
	case l.Policy == dataplane.PolicyID{}:
		return string(head[:]) + "n|"
	case l.Rule < 0:
		what = "e"
	}
	return withName(string(head[:])+what+"|", l.Policy.String())
}

func withName(head, name string) string {
	s := head + name
	if len(s) <= maxLogPrefix && plain(name) {
		return s
	}
	cut := min(len(s), maxLogPrefix-nameHashed-1)
	for i := range cut {
		if !plain(s[i : i+1]) {
			cut = i
			break
		}
	}
	return s[:cut] + string(hashMark) + hashed(name, nameHashed)
}

// LogPrefix is the prefix of a Log rule.
func LogPrefix(id dataplane.PolicyID, d dataplane.Direction, index int) string {
	return Logged{dataplane.Log, d, id, index}.Prefix()
}

// plain tells whether s can stand between double quotes in iptables-restore text.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// LogNames knows policies by what prefixes call them.
type LogNames map[string]dataplane.PolicyID

// NamesOf are the names of these policies and profiles.
func NamesOf(ids iter.Seq[dataplane.PolicyID]) LogNames {
	n := LogNames{}
	for id := range ids {
		n.add(id)
	}
	return n
}

func (n LogNames) add(id dataplane.PolicyID) {
	n[id.String()] = id
	n[string(hashMark)+hashed(id.String(), nameHashed)] = id
}

var loggedActions = map[byte]dataplane.Action{'L': dataplane.Log, 'A': dataplane.Allow, 'D': dataplane.Deny, 'P': dataplane.Pass}

// Read is what a prefix stands for. One that is not of felid, or of a policy that is not among the names, is an error.
func (n LogNames) Read(prefix string) (Logged, error) {
	head, name, found := strings.Cut(prefix, "|")
	if !found || len(head) < 3 || head[1] != 'I' && head[1] != 'E' || loggedActions[head[0]] == 0 {
		return Logged{}, fmt.Errorf("NFLOG prefix %q: want the form \"DI2|KIND NAMESPACE/NAME\"", prefix)
	}
	l := Logged{Action: loggedActions[head[0]], Direction: dataplane.Ingress, Rule: -1}
	if head[1] == 'E' {
		l.Direction = dataplane.Egress
	}
	switch what := head[2:]; what {
	case "n":
		if name != "" {
			return Logged{}, fmt.Errorf("NFLOG prefix %q: a name where there is no policy", prefix)
		}
		return l, nil
	case "e":
	default:
		index, err := strconv.ParseUint(what, 10, 31)
		if err != nil {
			return Logged{}, fmt.Errorf("NFLOG prefix %q: rule %q: want a number, \"e\" or \"n\"", prefix, what)
		}
		l.Rule = int(index)
	}
	var known bool
	if l.Policy, known = n.policy(name); !known {
		return Logged{}, fmt.Errorf("NFLOG prefix %q: no policy of this name is known", prefix)
	}
	return l, nil
}

// policy finds one by its whole name, or by the hash at the end.
func (n LogNames) policy(name string) (dataplane.PolicyID, bool) {
	if id, ok := n[name]; ok && name[0] != hashMark {
		return id, true
	}
	if i := len(name) - nameHashed - 1; i >= 0 && name[i] == hashMark {
		id, ok := n[name[i:]]
		return id, ok
	}
	return dataplane.PolicyID{}, false
}

// nflog ends a rule that notes a packet.
func (r *renderer) nflog(l Logged) {
	if l.Action == dataplane.Log {
		r.w.s(r.logLimit)
	}
	r.nflogTo(l, r.cfg.LogGroup)
}

func (r *renderer) nflogTo(l Logged, group uint16) {
	r.w.s("-j NFLOG --nflog-prefix \"", l.Prefix(), "\" --nflog-group ").n(int(group)).end()
}

// maxLimit is what the rate and burst of the limit match may be: XT_LIMIT_SCALE of linux/netfilter/xt_limit.h, which is in 1/10000 s.
const maxLimit = 10_000

// logLimit is the match that lets so many packets through: rate is "10/second", "/minute" or "/hour", or "" for all. Burst is how many may come at
// once; 0: the kernel's 5.
func logLimit(rate string, burst int) (string, error) {
	if rate == "" {
		return "", nil
	}
	number, unit, _ := strings.Cut(rate, "/")
	n, err := strconv.Atoi(number)
	seconds := map[string]int{"second": 1, "minute": 60, "hour": 3600}[unit]
	if err != nil || n < 1 || n > maxLimit || seconds == 0 {
		return "", fmt.Errorf("log rate %q: want a number from 1 to %d, then \"/second\", \"/minute\" or \"/hour\"", rate, maxLimit)
	}
	if burst == 0 {
		burst = 5
	}
	// The kernel counts in 32 bits.
	if burst < 1 || burst > maxLimit || maxLimit*seconds/n*burst > math.MaxUint32 {
		return "", fmt.Errorf("log burst %d at %s: want 1 to %d, and no more than pass in 100 hours", burst, rate, maxLimit)
	}
	match := "-m limit --limit " + strconv.Itoa(n) + "/" + map[string]string{"second": "sec", "minute": "min", "hour": "hour"}[unit]
	if burst != 5 {
		match += " --limit-burst " + strconv.Itoa(burst)
	}
	return match + " ", nil
}

// verdict writes rules that log what the next one decides, where that is wanted; match is what all of them match.
func (r *renderer) verdict(match func(), l Logged) {
	for _, note := range r.notes(l) {
		match()
		note()
	}
}

// notes end the rules that log what another decides: with LogVerdicts all that is not Log, with DenyGroup what denies.
func (r *renderer) notes(l Logged) []func() {
	var out []func()
	if r.cfg.LogVerdicts && l.Action != dataplane.Log {
		out = append(out, func() { r.nflog(l) })
	}
	if r.cfg.DenyGroup != 0 && l.Action == dataplane.Deny {
		out = append(out, func() {
			r.w.s(r.denyLimit)
			r.nflogTo(l, r.cfg.DenyGroup)
		})
	}
	return out
}
