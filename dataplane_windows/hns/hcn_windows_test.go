package hns

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// TestMissingFunction has hcsshim's way of failing where a function can't be found: it takes the loader's error for one of its own.
func TestMissingFunction(t *testing.T) {
	err := guard("list", KindEndpoint, "", func() error {
		var loader error = errors.New("Failed to load HcnEnumerateEndpoints")
		return loader.(*Error)
	})
	if !Unavailable(err) || Retryable(err) || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("got %v", err)
	}
}

func TestOtherPanicsGoOn(t *testing.T) {
	defer func() {
		if r := recover(); r != "broken" {
			t.Errorf("recovered %v", r)
		}
	}()
	_ = guard("list", KindEndpoint, "", func() error { panic("broken") })
}

func TestIDsThatAreNone(t *testing.T) {
	c := NewClient(Open())
	err := c.PutACLs("no-guid", []json.RawMessage{json.RawMessage("{}")})
	if Retryable(err) || err == nil || !strings.Contains(err.Error(), "invalid endpoint ID") {
		t.Errorf("got %v", err)
	}
}

func TestStoppedServiceInWords(t *testing.T) {
	t.Setenv("HNSEMU_ADDR", "127.0.0.1:1") // nobody listens there
	_, err := NewClient(Open()).Version()
	if !Unavailable(err) || strings.Contains(err.Error(), "hnsCall") {
		t.Errorf("got %v", err)
	}
}
