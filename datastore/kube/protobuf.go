package kube

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kubernetes' protobuf encoding: four bytes, then a message runtime.Unknown that holds the object's own message (see
// k8s.io/apimachinery/pkg/runtime/generated.proto and pkg/apis/meta/v1/generated.proto).
var protobufMagic = []byte("k8s\x00")

// Numbers of fields.
const (
	unknownRaw      = 2 // runtime.Unknown.raw
	listMetadata    = 1 // of every list
	listItems       = 2
	watchType       = 1 // metav1.WatchEvent
	watchObject     = 2
	extensionRaw    = 1 // runtime.RawExtension
	objectMetadata  = 1 // of every object
	metaRevision    = 6 // metav1.ObjectMeta
	wireVarint      = 0
	wireFixed64     = 1
	wireBytes       = 2
	wireFixed32     = 5
	maxMessage      = 64 << 20 // no object is near that: etcd takes 1.5 MB
	protobufWatched = 4        // bytes before each event of a watch: its length, big endian
)

var errProtobuf = errors.New("broken protobuf message")

// protobufField is the content of the last field of that number that holds bytes; nil if there is none, or the message is broken.
func protobufField(message []byte, number uint64) (content []byte) {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return nil
		}
		message = message[n:]
		value, size := protobufValue(message, tag&7)
		if size < 0 {
			return nil
		}
		if tag>>3 == number && tag&7 == wireBytes {
			content = value
		}
		message = message[size:]
	}
	return content
}

// protobufValue is the value that a message begins with, and its size; -1 where it is broken.
func protobufValue(message []byte, wire uint64) (value []byte, size int) {
	switch wire {
	case wireVarint:
		if _, n := binary.Uvarint(message); n > 0 {
			return nil, n
		}
	case wireFixed64, wireFixed32:
		if size = 8; wire == wireFixed32 {
			size = 4
		}
		if len(message) >= size {
			return nil, size
		}
	case wireBytes:
		length, n := binary.Uvarint(message)
		if n > 0 && length <= uint64(len(message)-n) {
			end := n + int(length)
			return message[n:end], end
		}
	}
	return nil, -1
}

// withoutEnvelope is the message of an encoded object; nil if it has no envelope.
func withoutEnvelope(raw []byte) []byte {
	unknown, ok := bytes.CutPrefix(raw, protobufMagic)
	if !ok {
		return nil
	}
	return protobufField(unknown, unknownRaw)
}

// protobufRevision is the resourceVersion of an object's message.
func protobufRevision(message []byte) string {
	return string(protobufField(protobufField(message, objectMetadata), metaRevision))
}

// protobufList reads an encoded list as it comes: each is given the message of every item, valid during the call only.
func protobufList(body io.Reader, each func(raw []byte) error) (metav1.ListMeta, error) {
	l := protobufReader{in: bufio.NewReaderSize(body, 64<<10)}
	magic, err := l.bytes(uint64(len(protobufMagic)))
	if err != nil || !bytes.Equal(magic, protobufMagic) {
		return metav1.ListMeta{}, errors.Join(errProtobuf, err)
	}
	var meta metav1.ListMeta
	for whole := false; ; {
		number, length, err := l.field()
		if err == io.EOF && whole {
			return meta, nil
		}
		if err != nil {
			return meta, noEOF(err)
		}
		if number == unknownRaw {
			whole, err = true, l.items(int64(length), &meta, each)
		} else {
			_, err = l.bytes(length)
		}
		if err != nil {
			return meta, err
		}
	}
}

// protobufReader reads fields from a stream.
type protobufReader struct {
	in     *bufio.Reader
	read   int64 // bytes so far
	buffer []byte
}

// ReadByte counts what is read of numbers.
func (l *protobufReader) ReadByte() (byte, error) {
	b, err := l.in.ReadByte()
	if err == nil {
		l.read++
	}
	return b, err
}

// field reads the head of a field; those that hold no bytes are passed over. io.EOF: there is none.
func (l *protobufReader) field() (number, length uint64, err error) {
	for {
		tag, err := binary.ReadUvarint(l)
		if err != nil {
			return 0, 0, err
		}
		switch tag & 7 {
		case wireBytes:
			length, err := binary.ReadUvarint(l)
			return tag >> 3, length, noEOF(err)
		case wireVarint:
			_, err = binary.ReadUvarint(l)
		case wireFixed64:
			_, err = l.bytes(8)
		case wireFixed32:
			_, err = l.bytes(4)
		default:
			err = errProtobuf
		}
		if err != nil {
			return 0, 0, noEOF(err)
		}
	}
}

// bytes reads so many bytes, valid until the next call.
func (l *protobufReader) bytes(length uint64) ([]byte, error) {
	if length > maxMessage {
		return nil, fmt.Errorf("%w: %d bytes", errProtobuf, length)
	}
	if uint64(cap(l.buffer)) < length {
		l.buffer = make([]byte, length+length/4)
	}
	n, err := io.ReadFull(l.in, l.buffer[:length])
	l.read += int64(n)
	return l.buffer[:length], noEOF(err)
}

// items reads the message of a list, of so many bytes.
func (l *protobufReader) items(length int64, meta *metav1.ListMeta, each func(raw []byte) error) error {
	for end := l.read + length; l.read < end; {
		number, size, err := l.field()
		if err != nil {
			return noEOF(err)
		}
		content, err := l.bytes(size)
		if err != nil {
			return err
		}
		switch number {
		case listMetadata:
			err = meta.Unmarshal(content)
		case listItems:
			err = each(content)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// noEOF is err, but for an end where there should be more.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
