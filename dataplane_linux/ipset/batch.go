package ipset

import (
	"syscall"
)

// piece is one netlink message of a batch: a command, or some of a command's members.
type piece struct {
	command  int // index
	elements []element
}

// maxBatch is how many bytes go to the kernel in one call. Its limit is the socket's send buffer, 208 KiB if nobody changed it.
const maxBatch = 96 << 10

// maxPieces bounds the answers that wait in the socket's receive buffer.
const maxPieces = 64

// split cuts commands into messages.
func split(commands []Command) []piece {
	var out []piece
	for i, c := range commands {
		if c.Op != OpAdd && c.Op != OpDelete {
			out = append(out, piece{command: i})
			continue
		}
		for rest := c.elements; len(rest) > 0; {
			n := min(len(rest), maxChunk)
			out = append(out, piece{i, rest[:n]})
			rest = rest[n:]
		}
	}
	return out
}

// outcome collects errors by command.
type outcome struct {
	commands []Command
	errs     map[int]error
}

// refuse notes that the kernel refused a piece of at most one member.
func (o *outcome) refuse(p piece, errno syscall.Errno) {
	e, ok := o.errs[p.command].(*Error)
	if !ok {
		e = &Error{Errno: errno}
		if o.errs == nil {
			o.errs = map[int]error{}
		}
		o.errs[p.command] = e
	}
	for _, el := range p.elements {
		if e.Member == "" {
			e.Member = el.member(o.commands[p.command].Header.Family).String()
		}
		e.refused = append(e.refused, el)
	}
}

// cancels tells whether a command is not to be run, because what it builds on has failed: half a set must not take the place of a whole one.
func (o *outcome) cancels(c Command) bool {
	if c.Op != OpSwap {
		return false
	}
	for i := range o.errs {
		if o.commands[i].Set == c.Set {
			return true
		}
	}
	return false
}

// singly cuts a piece into pieces of one member each: the kernel stops at the first that it refuses.
func (p piece) singly() []piece {
	out := make([]piece, len(p.elements))
	for i := range p.elements {
		out[i] = piece{p.command, p.elements[i : i+1]}
	}
	return out
}
