package emulator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
)

// The forwarder's protocol, one connection a call, numbers little endian:
//
//	request:  total uint32, then the fields operation, GUID, a, b, c
//	answer:   total uint32, HRESULT uint32, then the fields GUID, output, error record
//
// where a field is its length as uint32 and that many bytes of UTF-8. The operation is the name of the DLL's function without "Hcn" and
// without "Properties" ("EnumerateEndpoint" in the singular); a is the document, b the parent of a new endpoint; of HNSCall a, b and c are the
// method, the path and the object.
const maxMessage = 256 << 20

// Serve answers the forwarder DLLs until the listener is closed, which is no error.
func (s *Server) Serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting a call: %w", err)
		}
		go func() {
			defer c.Close()
			_ = s.serveCall(c) // the other end is gone, or talks nonsense: there is nobody to tell
		}()
	}
}

func (s *Server) serveCall(c io.ReadWriter) error {
	message, err := readMessage(c)
	if err != nil {
		return err
	}
	words, err := splitWords(message, 5)
	if err != nil {
		return err
	}
	a, failed := s.remoteCall(words)
	reply := make([]byte, 4, 20+len(a.id)+len(a.text))
	record := ""
	if failed != nil {
		binary.LittleEndian.PutUint32(reply, failed.code)
		record = failed.text
	}
	for _, word := range []string{a.id, a.text, record} {
		reply = appendWord(reply, word)
	}
	_, err = c.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(reply))), reply...))
	return err
}

func (s *Server) remoteCall(words []string) (answer, *failure) {
	if words[0] == opPacket {
		return s.remotePacket(words[2])
	}
	if words[0] == string(OpV1) {
		return s.call(request{op: OpV1, method: words[2], path: words[3], text: words[4]})
	}
	for _, kind := range kinds {
		if op, ok := strings.CutSuffix(words[0], string(kind)); ok && slices.Contains(ops, Op(op)) {
			return s.call(request{op: Op(op), kind: kind, id: words[1], text: words[2], parent: words[3]})
		}
	}
	return answer{}, fail(codeInvalidArg, "no such call: %s", words[0])
}

var ops = []Op{OpEnumerate, OpOpen, OpQuery, OpCreate, OpModify, OpDelete}

func readMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxMessage {
		return nil, fmt.Errorf("message of %d bytes, must be at most %d", n, maxMessage)
	}
	message := make([]byte, n)
	_, err := io.ReadFull(r, message)
	return message, err
}

// splitWords takes a message apart that must have exactly so many fields.
func splitWords(b []byte, count int) ([]string, error) {
	words := make([]string, 0, count)
	for len(words) < count {
		if len(b) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := binary.LittleEndian.Uint32(b)
		if uint64(len(b)-4) < uint64(n) {
			return nil, io.ErrUnexpectedEOF
		}
		words = append(words, string(b[4:4+n]))
		b = b[4+n:]
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%d bytes behind the message's last field", len(b))
	}
	return words, nil
}

func appendWord(b []byte, word string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(word))), word...)
}
