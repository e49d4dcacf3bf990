package server_test

import (
	"testing"

	"github.com/felid-net/felid/test/cnitest"
)

// The figures of the plugin's whole process, from its start to its end, against the twin: all but the resolution of policy.
func BenchmarkAdd(b *testing.B) { cnitest.BenchmarkAdd(b, newTwin(b, lent)) }

// BenchmarkAddParallel starts twenty at once.
func BenchmarkAddParallel(b *testing.B) { cnitest.BenchmarkAddParallel(b, newTwin(b, lent)) }
