package emulator

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Calls is the node's HNS in process, by the same sequences of calls that hcsshim makes of the DLLs: so faults strike between them, and the log
// counts them.
func (s *Server) Calls() hns.Calls { return calls{s} }

type calls struct{ s *Server }

func (c calls) Version() (hns.Version, error) {
	a, failed := c.s.call(request{op: OpV1, method: "GET", path: "/globals/version"})
	if failed != nil {
		return hns.Version{}, convert(failed, OpV1, "", "")
	}
	var reply struct {
		Success bool
		Error   string
		Output  hns.Version
	}
	if err := json.Unmarshal([]byte(a.text), &reply); err != nil {
		return hns.Version{}, fmt.Errorf("version of HNS: %w", err)
	}
	return reply.Output, nil
}

func (c calls) List(kind hns.Kind, filter map[string]any) ([]json.RawMessage, error) {
	query := ""
	if filter != nil {
		inner, err := json.Marshal(filter)
		if err != nil {
			return nil, fmt.Errorf("filter: %w", err)
		}
		outer, _ := json.Marshal(fields{"Filter": string(inner), "SchemaVersion": fields{"Major": 2, "Minor": 0}})
		query = string(outer)
	}
	a, failed := c.s.call(request{op: OpEnumerate, kind: kind, text: query})
	if failed != nil {
		return nil, convert(failed, OpEnumerate, kind, "")
	}
	var ids []string
	if err := json.Unmarshal([]byte(a.text), &ids); err != nil {
		return nil, fmt.Errorf("list of %s: %w", kind, err)
	}
	list := make([]json.RawMessage, 0, len(ids))
	for _, id := range ids {
		object, err := c.read(kind, id)
		if err != nil {
			return nil, err // one that vanished meanwhile fails the list, as with hcsshim
		}
		list = append(list, object)
	}
	return list, nil
}

func (c calls) Get(kind hns.Kind, id string) (json.RawMessage, error) {
	list, err := c.List(kind, map[string]any{"ID": id})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		_, failed := c.s.find(kind, id)
		if failed == nil {
			failed = fail(codeNotFound, "Element not found.") // it came between
		}
		return nil, convert(failed, OpEnumerate, kind, id)
	}
	return list[0], nil
}

func (c calls) Create(kind hns.Kind, parent string, settings json.RawMessage) (json.RawMessage, error) {
	if parent != "" {
		if _, failed := c.s.call(request{op: OpOpen, kind: hns.KindNetwork, id: parent}); failed != nil {
			return nil, convert(failed, OpOpen, hns.KindNetwork, parent)
		}
	}
	a, failed := c.s.call(request{op: OpCreate, kind: kind, parent: parent, text: string(settings)})
	if failed != nil {
		return nil, convert(failed, OpCreate, kind, "")
	}
	return c.query(kind, a.id)
}

func (c calls) Modify(kind hns.Kind, id string, settings json.RawMessage) error {
	for _, r := range []request{{op: OpOpen}, {op: OpModify, text: string(settings)}, {op: OpQuery}} {
		r.kind, r.id = kind, id
		if _, failed := c.s.call(r); failed != nil {
			return convert(failed, r.op, kind, id)
		}
	}
	return nil
}

func (c calls) Delete(kind hns.Kind, id string) error {
	if _, failed := c.s.call(request{op: OpDelete, kind: kind, id: id}); failed != nil {
		return convert(failed, OpDelete, kind, id)
	}
	return nil
}

func (c calls) read(kind hns.Kind, id string) (json.RawMessage, error) {
	if _, failed := c.s.call(request{op: OpOpen, kind: kind, id: id}); failed != nil {
		return nil, convert(failed, OpOpen, kind, id)
	}
	return c.query(kind, id)
}

func (c calls) query(kind hns.Kind, id string) (json.RawMessage, error) {
	a, failed := c.s.call(request{op: OpQuery, kind: kind, id: id})
	if failed != nil {
		return nil, convert(failed, OpQuery, kind, id)
	}
	return json.RawMessage(a.text), nil
}

func convert(f *failure, op Op, kind hns.Kind, id string) error {
	return hns.NewError(strings.ToLower(string(op)), kind, id, f.code, f.text)
}
