package dstest

import "testing"

func TestReports(t *testing.T) { RunReports(t, NewReports(), "ns", "p") }
