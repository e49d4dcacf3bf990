package emulator

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Packet is one that the node sees. Its ends are endpoints of the node by their IDs, or, where those are "", by the packet's addresses: attached
// local endpoints, of any network. An end that is none of these is elsewhere.
type Packet struct {
	dptest.Tuple
	From, To string
	// FromHost: the node itself sends it.
	FromHost bool
	// SentTo is the service that it was sent to, if any, and SenderNode an address of the node from which it went there.
	SentTo     netip.AddrPort
	SenderNode netip.Addr
	// Later: it is a later fragment. About: it is an ICMP error about that packet.
	Later bool
	About *dptest.Tuple
}

// Verdict is what the node does with a packet: by the Out list of the endpoint that sends it, then by the In list of that which receives it. A
// connection that was let through is remembered by its ends. An end that From or To names and that is not there is an error.
func (s *Server) Verdict(p Packet) (dptest.HNSVerdict, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, err := s.end(p.From, p.Src)
	if err != nil {
		return dptest.HNSVerdict{}, err
	}
	to, err := s.end(p.To, p.Dst)
	if err != nil {
		return dptest.HNSVerdict{}, err
	}
	way := dptest.HNSWay{From: from, To: to, SameNode: from != nil && to != nil, FromHost: p.FromHost, SentTo: p.SentTo, SenderNode: p.SenderNode, Later: p.Later, About: p.About}
	return s.model.Send(way, p.Tuple), nil
}

// ForgetConnections makes all endpoints know none.
func (s *Server) ForgetConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.shelves[hns.KindEndpoint].all() {
		e.port.Forget()
	}
}

func (s *Server) end(id string, a netip.Addr) (*dptest.HNSPort, error) {
	if id != "" {
		e, err := s.find(hns.KindEndpoint, id)
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %s", id, err.message())
		}
		return e.port, nil
	}
	for _, e := range s.shelves[hns.KindEndpoint].all() {
		attached := e.state == hns.StateAttached || e.state == hns.StateAttachedSharing
		for _, own := range addresses(e) {
			if own == a && attached && !remote(e) {
				return e.port, nil
			}
		}
	}
	return nil, nil
}

// opPacket is the forwarder's protocol for processes that want to know of a packet: field a is a Packet, the output an HNSVerdict.
const opPacket = "Packet"

func (s *Server) remotePacket(text string) (answer, *failure) {
	var p Packet
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return answer{}, fail(codeInvalidJSON, "%v", err)
	}
	v, err := s.Verdict(p)
	if err != nil {
		return answer{}, fail(codeEndpointNotFound, "%v", err)
	}
	out, _ := json.Marshal(v) // of plain fields
	return answer{text: string(out)}, nil
}

// Ask is Verdict of the emulator that serves at an address, from wherever: a probe under Wine has no other way to send packets.
func Ask(address string, p Packet) (dptest.HNSVerdict, error) {
	var v dptest.HNSVerdict
	document, err := json.Marshal(p)
	if err != nil {
		return v, err
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		return v, fmt.Errorf("emulator: %w", err)
	}
	defer c.Close()
	var message []byte
	for _, word := range []string{opPacket, "", string(document), "", ""} {
		message = appendWord(message, word)
	}
	if _, err := c.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(message))), message...)); err != nil {
		return v, fmt.Errorf("emulator: %w", err)
	}
	text, err := readAnswer(c)
	if err != nil {
		return v, fmt.Errorf("emulator: %w", err)
	}
	return v, json.Unmarshal([]byte(text), &v)
}

// readAnswer gives the output of an answer, or its failure.
func readAnswer(r io.Reader) (string, error) {
	message, err := readMessage(r)
	if err != nil {
		return "", err
	}
	if len(message) < 4 {
		return "", io.ErrUnexpectedEOF
	}
	words, err := splitWords(message[4:], 3)
	if err != nil {
		return "", err
	}
	if code := binary.LittleEndian.Uint32(message); code != 0 {
		f := failure{code: code, text: words[2]}
		return "", fmt.Errorf("%s(0x%x)", f.message(), code)
	}
	return words[1], nil
}
