package linux

import (
	"strconv"
	"strings"
)

// Chain is a chain of ours with its rules, each as iptables-save prints it without "-A CHAIN".
type Chain struct {
	Name  string
	Rules []string
	About string // whose it is, for people
}

// Hook is a jump from one of the kernel's chains into one of ours.
type Hook struct {
	Kernel string // "FORWARD"
	Rule   string // "-j felid-forward"
}

// rules builds the rules of a chain in one buffer that is used again for the next chain: two allocations a chain.
type rules struct {
	buf  []byte
	ends []int
}

// s appends text to the rule under way.
func (r *rules) s(parts ...string) *rules {
	for _, p := range parts {
		r.buf = append(r.buf, p...)
	}
	return r
}

// n appends a number.
func (r *rules) n(n int) *rules {
	r.buf = strconv.AppendInt(r.buf, int64(n), 10)
	return r
}

// bits appends "0xVALUE/0xMASK".
func (r *rules) bits(value, mask uint32) *rules {
	r.buf = strconv.AppendUint(append(r.buf, "0x"...), uint64(value), 16)
	r.buf = strconv.AppendUint(append(r.buf, "/0x"...), uint64(mask), 16)
	return r
}

// end closes the rule under way.
func (r *rules) end() { r.ends = append(r.ends, len(r.buf)) }

// add is a whole rule.
func (r *rules) add(parts ...string) { r.s(parts...).end() }

// chain takes what was built.
func (r *rules) chain(name, about string) Chain {
	text := string(r.buf)
	c := Chain{Name: name, About: about, Rules: make([]string, len(r.ends))}
	from := 0
	for i, to := range r.ends {
		c.Rules[i] = text[from:to]
		from = to
	}
	r.buf, r.ends = r.buf[:0], r.ends[:0]
	return c
}

// RestoreText is the text of a table ("filter", "nat") for iptables-restore --noflush; "" where nothing of ours is in it.
func (r *Rendered) RestoreText(f Family, table string) string {
	t := r.tables[tableKey{f, table}]
	if t == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString("*" + table + "\n")
	for _, c := range t.chains {
		b.WriteString(":" + c.Name + " - [0:0]\n")
	}
	for _, h := range t.hooks {
		b.WriteString("-A " + h.Kernel + " " + h.Rule + "\n")
	}
	for _, c := range t.chains {
		if c.About != "" {
			b.WriteString("# " + c.Name + ": " + comment(c.About) + "\n")
		}
		for _, rule := range c.Rules {
			b.WriteString("-A " + c.Name + " " + rule + "\n")
		}
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// IPSetText is the text of all sets for ipset restore.
func (r *Rendered) IPSetText() string {
	var b strings.Builder
	for i := range r.sets {
		set := &r.sets[i]
		b.WriteString("create " + set.Name + " " + string(set.Type) + " family " + inet(set.Family) + " maxelem 1048576\n")
		for _, m := range set.elements() {
			b.WriteString("add " + set.Name + " " + memberText(set.Type, m) + "\n")
		}
	}
	return b.String()
}

// comment keeps what a name may hold from beginning a line of its own, which would be a rule.
func comment(about string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' {
			return '?'
		}
		return c
	}, about)
}

func inet(f Family) string {
	if f == IPv4 {
		return "inet"
	}
	return "inet6"
}
