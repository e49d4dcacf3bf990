package etcd

import (
	"errors"
	"strings"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// step is one answer to a lineage.
type step struct {
	after    time.Duration // noon
	cluster  uint64
	revision int64
	started  bool
	doubted  bool
	era      int
}

func TestLineage(t *testing.T) {
	for name, steps := range map[string][]step{
		"grows":       {{0, 1, 5, false, false, 0}, {0, 1, 5, false, false, 0}, {0, 1, 9, false, false, 0}},
		"went back":   {{0, 1, 50, false, false, 0}, {0, 1, 3, true, true, 0}, {59 * time.Second, 1, 4, false, true, 0}, {time.Minute, 1, 5, false, false, 1}, {time.Minute, 1, 6, false, false, 1}},
		"came back":   {{0, 1, 50, false, false, 0}, {0, 1, 3, true, true, 0}, {time.Second, 1, 51, false, false, 0}, {2 * time.Second, 1, 50, true, true, 0}},
		"another one": {{0, 1, 50, false, false, 0}, {0, 2, 90, true, true, 0}, {time.Hour, 2, 91, false, false, 1}, {time.Hour, 2, 90, true, true, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			l := lineage{doubt: time.Minute}
			for i, s := range steps {
				started, err := l.answer(l.before(), s.cluster, s.revision, noon.Add(s.after))
				if started != s.started || (err != nil) != s.doubted || l.eraNow() != s.era || l.doubted() != s.doubted {
					t.Errorf("step %d: started %v, error %v, era %d; want %+v", i, started, err, l.eraNow(), s)
				}
				if err != nil && (!errors.Is(err, datastore.ErrUnreachable) || !strings.Contains(err.Error(), "restored or emptied")) {
					t.Errorf("step %d: %v", i, err)
				}
			}
		})
	}
}

// TestLineageOfConcurrentCalls: answers overtake each other.
func TestLineageOfConcurrentCalls(t *testing.T) {
	l := lineage{doubt: time.Minute}
	first := l.before()
	late := l.before()
	answer := func(then seen, revision int64, after time.Duration) {
		t.Helper()
		if _, err := l.answer(then, 1, revision, noon.Add(after)); err != nil {
			t.Error(err)
		}
	}
	answer(first, 9, 0)
	answer(late, 7, 0) // was asked before 9 was known
	slow := l.before()
	if _, err := l.answer(l.before(), 1, 3, noon); err == nil {
		t.Error("3 after 9 is believed")
	}
	answer(l.before(), 4, time.Minute)
	answer(slow, 5, time.Minute) // was asked in the era before
	if l.eraNow() != 1 {
		t.Errorf("era %d", l.eraNow())
	}
}

func TestRevisionsAreOfTheirEra(t *testing.T) {
	for text, want := range map[string]map[int]int64{
		"7": {0: 7}, "7-1": {1: 7}, "12-10": {10: 12},
		"": nil, "x": nil, "-1": nil, "0": nil, "07": nil, "7-": nil, "7-0": nil, "7-01": nil, "7-1-1": nil, "+7": nil,
	} {
		for _, era := range []int{0, 1, 10} {
			got, ok := parseObjectRevision(text, era)
			if want, valid := want[era]; ok != valid || ok && got != want {
				t.Errorf("%q in era %d: %d, %v; want %d, %v", text, era, got, ok, want, valid)
			}
		}
	}
	r := listRevision{0xcafe, 12, 1}
	if got, ok := parseListRevision(r.String(), 1); !ok || got != r {
		t.Errorf("%s is read as %+v, %v", r, got, ok)
	}
	for _, text := range []string{"", "12", "cafe.", ".12", "xyz.12", "cafe.12"} {
		if got, ok := parseListRevision(text, 1); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}

func TestKeys(t *testing.T) {
	for path, key := range map[string]v3.Key{
		"/felid/v1/projectcalico.org/v3/Tier/a":                     {Kind: v3.KindTier, Name: "a"},
		"/felid/v1/projectcalico.org/v3/Tier/a/b":                   {Kind: v3.KindTier, Name: "a/b"},
		"/felid/v1/projectcalico.org/v3/NetworkPolicy/ns/a":         {Kind: v3.KindNetworkPolicy, Namespace: "ns", Name: "a"},
		"/felid/v1/projectcalico.org/v3/WorkloadEndpoint//con+eth0": {Kind: v3.KindWorkloadEndpoint, Name: "con+eth0"},
	} {
		got, err := pathOf(key)
		if back, backErr := keyOf(key.Kind, path); err != nil || backErr != nil || got != path || back != key {
			t.Errorf("%v: %s, %v; and back: %v, %v", key, got, err, back, backErr)
		}
	}
	for _, key := range []v3.Key{{Kind: v3.KindTier}, {Kind: v3.KindTier, Namespace: "ns", Name: "a"}, {Kind: "Teir", Name: "a"}, {Kind: v3.KindNetworkSet, Namespace: "a/b", Name: "c"}} {
		if path, err := pathOf(key); !errors.Is(err, datastore.ErrInvalid) {
			t.Errorf("%v: %s, %v", key, path, err)
		}
	}
	for _, path := range []string{"", "/felid/v1/projectcalico.org/v3/NetworkPolicy/a", "/felid/v1/projectcalico.org/v3/Tier/a", "/felid/v1/projectcalico.org/v3/NetworkPolicy//a"} {
		if key, err := keyOf(v3.KindNetworkPolicy, path); err == nil || key.Name != "" {
			t.Errorf("%q is the key of %v", path, key)
		}
	}
}

func FuzzKeys(f *testing.F) {
	f.Add("NetworkPolicy", "ns/a")
	f.Add("Tier", "a/b")
	f.Add("WorkloadEndpoint", "/a")
	f.Fuzz(func(t *testing.T, kind, rest string) {
		path := kindPrefix(v3.Kind(kind)) + rest
		key, err := keyOf(v3.Kind(kind), path)
		if err != nil {
			return
		}
		if made, err := pathOf(key); err != nil || made != path {
			t.Errorf("%q is %v, whose path is %q, %v", path, key, made, err)
		}
	})
}

func TestWhatCannotBeOpened(t *testing.T) {
	file := t.TempDir() + "/none.pem"
	for want, o := range map[string]Options{
		"no endpoint is given":     {},
		`"10.0.0.1:2379" is no`:    {Endpoints: []string{"10.0.0.1:2379"}},
		`"ftp://a" is no endpoint`: {Endpoints: []string{"ftp://a"}},
		"some endpoints are https": {Endpoints: []string{"https://a:1", "http://b:1"}},
		"the endpoints are http":   {Endpoints: []string{"http://b:1"}, CAFile: file},
		"go together":              {Endpoints: []string{"https://b:1"}, CertFile: file},
		"none.pem":                 {Endpoints: []string{"https://b:1"}, CAFile: file},
		"certificate: ":            {Endpoints: []string{"https://b:1"}, CertFile: file, KeyFile: file},
	} {
		if _, err := Open(o); !errors.Is(err, datastore.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want %q", o, err, want)
		}
	}
}
