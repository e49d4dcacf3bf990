package kube

import (
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
	"github.com/felid-net/felid/test/kubernetes"
)

func TestConformance(t *testing.T) {
	server := kubernetes.Shared(t)
	kinds := []v3.Kind{v3.KindTier, v3.KindNetworkSet, v3.KindGlobalNetworkSet, v3.KindIPReservation}
	server.InstallCRDs(t)
	for _, namespace := range []string{"ns", "a", "b", "a-b"} {
		server.Namespace(t, namespace)
	}
	t.Cleanup(func() { empty(t, openOn(t, server), kinds...) })
	dstest.RunConformance(t, func(t *testing.T) datastore.Store {
		empty(t, openOn(t, server), kinds...)
		s, err := Open(Options{Config: server.Config, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, dstest.DNSNames)
}
