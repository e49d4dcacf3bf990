package kube

import "encoding/binary"

// wanted are the fields of a protobuf message that are kept, by their numbers; nil: it goes.
type wanted [48]*wanted

// whole has a field kept as it is.
var whole = new(wanted)

// Of a Pod a tenth is read, of which the rest would be taken apart for nothing. The numbers are those of generated.proto of
// k8s.io/api/core/v1 and k8s.io/apimachinery/pkg/apis/meta/v1.
var (
	wantedOfMeta = &wanted{
		1: whole, 3: whole, 5: whole, 6: whole, 7: whole, 8: whole, 9: whole, // name, namespace, uid, resourceVersion, generation, timestamps
		11: whole, // labels
	}
	wantedOfContainer = &wanted{6: whole, 10: whole, 11: whole, 22: whole, 24: whole} // ports, probes, restartPolicy
	wantedOfPod       = &wanted{
		1: wantedOfMeta,
		2: { // spec
			2: wantedOfContainer, 20: wantedOfContainer, // containers, initContainers
			8: whole, 9: whole, 10: whole, 11: whole, // serviceAccountName, serviceAccount, nodeName, hostNetwork
		},
		3: {1: whole, 6: whole, 12: whole}, // status: phase, podIP, podIPs
	}
)

// lengthBytes is the size of the length of what is cut down, which is not known when it begins: a number padded with zeros is the same number.
const lengthBytes = 5

// keep appends what is wanted of a message to out; ok is false where the message is broken.
func keep(out, message []byte, want *wanted) (_ []byte, ok bool) {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return out, false
		}
		value, size := protobufValue(message[n:], tag&7)
		if size < 0 {
			return out, false
		}
		field := message[:n+size]
		message = message[n+size:]
		var of *wanted
		if number := tag >> 3; number < uint64(len(want)) {
			of = want[number]
		}
		switch {
		case of == nil:
		case of == whole || tag&7 != wireBytes:
			out = append(out, field...)
		default:
			out = append(out, field[:n]...)
			at := len(out)
			out = append(out, make([]byte, lengthBytes)...)
			if out, ok = keep(out, value, of); !ok {
				return out, false
			}
			putLength(out[at:at+lengthBytes], len(out)-at-lengthBytes)
		}
	}
	return out, true
}

// putLength writes a number over the whole of to.
func putLength(to []byte, length int) {
	for i := range to {
		to[i] = byte(length)&0x7f | 0x80
		length >>= 7
	}
	to[len(to)-1] &= 0x7f
}
