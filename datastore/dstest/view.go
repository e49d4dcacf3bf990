package dstest

import (
	v3 "github.com/felid-net/felid/api/v3"
)

// PutView stores a view, which no writer of a Store can: it comes from Kubernetes' own object.
func (m *Memory) PutView(o v3.Object) v3.Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store(v3.KeyOf(o), o)
}

// RemoveView takes it away.
func (m *Memory) RemoveView(key v3.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	m.record(change{key: key})
}
