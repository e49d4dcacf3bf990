package dstest

import (
	"testing"

	"github.com/felid-net/felid/datastore"
)

func TestMemory(t *testing.T) {
	RunConformance(t, func(*testing.T) datastore.Store { return NewMemory() })
}
