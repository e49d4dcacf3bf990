package datastore

import (
	"context"
	"encoding/json"
)

// RawStore is a Store that takes Kubernetes' own objects too, as people give them: a directory keeps them, a cluster's API server has
// them already.
type RawStore interface {
	Store
	// PutRaw writes an object and says what it did ("created").
	PutRaw(ctx context.Context, raw Raw, mode PutMode) (what string, err error)
	// CheckRaw says why PutRaw would fail now, by what is there; it changes nothing.
	CheckRaw(ctx context.Context, raw Raw, mode PutMode) error
}

// Raw is a Kubernetes object as it was given.
type Raw struct {
	Origin string // "Namespace web-ns", "Pod web-ns/web-1"
	JSON   []byte // need not name the namespace
	File   string // "" where there is none
	Line   int
}

// Enforced tells whether the object has an effect in this version, or is only stored.
func (r *Raw) Enforced() bool {
	var meta struct {
		APIVersion string `json:"apiVersion"`
	}
	err := json.Unmarshal(r.JSON, &meta)
	return err != nil || meta.APIVersion != "policy.networking.k8s.io/v1alpha1"
}

// PutMode says what PutRaw does with what is there.
type PutMode uint8

// The modes.
const (
	PutApply   PutMode = iota // create or replace
	PutCreate                 // ErrExists if it is there
	PutReplace                // ErrNotFound if it is not
	PutDelete                 // ErrNotFound if it is not
)

// Outcome says what is done to an object that is there or not, or why it can't be.
func (m PutMode) Outcome(there bool) (string, error) {
	switch {
	case m == PutCreate && there:
		return "", ErrExists
	case (m == PutReplace || m == PutDelete) && !there:
		return "", ErrNotFound
	case m == PutDelete:
		return "deleted", nil
	case !there:
		return "created", nil
	case m == PutReplace:
		return "replaced", nil
	}
	return "applied", nil
}
