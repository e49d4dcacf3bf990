package emulator

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzServeCall gives the emulator what a broken or hostile forwarder may send: it must end, and answer only whole requests.
func FuzzServeCall(f *testing.F) {
	message := func(words ...string) []byte {
		var b []byte
		for _, w := range words {
			b = appendWord(b, w)
		}
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
	}
	f.Add(message("EnumerateEndpoint", "", `{"Filter":"{\"State\":3}"}`, "", ""))
	f.Add(message("CreateNetwork", "", `{"Name":"n","SchemaVersion":{},"Policies":[{"Type":"SetPolicy","Settings":{"Id":"a"}}]}`, "", ""))
	f.Add(message("ModifyEndpoint", "E", `{"ResourceType":"Policy","Settings":{"Policies":[{"Type":"ACL","Settings":{}}]}}`, "", ""))
	f.Add(message("CreateEndpoint", "", `{"SchemaVersion":{},"IpConfigurations":[{"IpAddress":"x"}]}`, "N", ""))
	f.Add(message("HNSCall", "", "POST", "/endpoints/", `{"Policies":[{"Type":"ACL"}]}`))
	f.Add(message("HNSCall", "", "POST", "/networks", `{"Subnets":[{"AddressPrefix":"10.0.0.0/8"}]}`))
	f.Add(message("Packet", "", `{"Src":"10.0.0.1","Dst":"10.0.0.2"}`, "", ""))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{4, 0, 0, 0, 9, 0, 0, 0})
	f.Fuzz(func(t *testing.T, request []byte) {
		s := New(Options{})
		if _, err := s.create("Network", "N", "", `{"ID":"N","SchemaVersion":{}}`); err != nil {
			t.Fatal(err)
		}
		if _, err := s.create("Endpoint", "E", "N", `{"ID":"E","SchemaVersion":{}}`); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err := s.serveCall(struct {
			*bytes.Reader
			*sink
		}{bytes.NewReader(request), &sink{&out}})
		if (err == nil) != (out.Len() > 0) {
			t.Errorf("error %v and %d bytes", err, out.Len())
		}
		if err == nil {
			if n := binary.LittleEndian.Uint32(out.Bytes()); int(n) != out.Len()-4 {
				t.Errorf("an answer of %d bytes says that it has %d", out.Len()-4, n)
			}
		}
	})
}

// sink writes to a buffer, and has no other of its methods.
type sink struct{ b *bytes.Buffer }

func (o *sink) Write(p []byte) (int, error) { return o.b.Write(p) }
