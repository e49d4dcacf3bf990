package emulator

import (
	"slices"
	"time"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Call is one call that was made of the DLLs, or what would have been one: hcsshim needs an Open and a Query to read an object, and an Open, a
// Modify and a Query to change one.
type Call struct {
	Op   Op
	Kind hns.Kind
	ID   string // of the object; for an Enumerate "", for a Create that of the new one
	// Text is what was sent: settings, a request, a filter; for OpV1 the object. Path is OpV1's method and path.
	Text, Path string
	// Code is the HRESULT, 0 for success.
	Code uint32
	// Sent and Received count the bytes of JSON.
	Sent, Received int
	Took           time.Duration
}

func now() time.Time { return time.Now() }

func (s *Server) record(r request, a answer, err *failure, took time.Duration) {
	c := Call{Op: r.op, Kind: r.kind, ID: r.id, Text: r.text, Sent: len(r.text), Received: len(a.text), Took: took}
	if r.op == OpCreate {
		c.ID = a.id
	}
	if r.op == OpV1 {
		c.Path = r.method + " " + r.path
	}
	if err != nil {
		c.Code, c.Received = err.code, len(err.text)
	}
	s.log = append(s.log, c)
}

// Log is every call since the start or the last ResetLog, in the order of their ends.
func (s *Server) Log() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// ResetLog forgets the calls.
func (s *Server) ResetLog() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// Count says how many calls of an operation and a kind are in the log ("" for any of them), and how many bytes were sent with them.
func (s *Server) Count(op Op, kind hns.Kind) (calls, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.log {
		if (op == "" || op == c.Op) && (kind == "" || kind == c.Kind) {
			calls++
			bytes += c.Sent
		}
	}
	return calls, bytes
}
