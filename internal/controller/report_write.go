package controller

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// planGone deletes the report of a policy that is gone. A cluster's garbage collector does so too.
func (s *policyStatuses) planGone(key v3.Key) Step {
	r := s.stored[key]
	if r == nil || s.tell == nil {
		return Step{}
	}
	reports, tell := s.reports, s.tell
	return Step{Writes: []Write{{Verb: Delete, Object: placeholder(key), Do: func(ctx context.Context) error {
		if err := reports.DeletePolicyReport(ctx, r.Namespace, r.Name); err != nil {
			return err
		}
		tell(func() []v3.Key { delete(s.stored, key); return nil })
		return nil
	}}}}
}

// write stores conditions where the policy has them.
func (s *policyStatuses) write(key v3.Key, p *policyState, conditions []metav1.Condition) []Write {
	switch o := p.object.Copy().(type) {
	case *v3.NetworkPolicy:
		if key.Kind == v3.KindKubernetesNetworkPolicy {
			return s.writeReport(key, p, conditions)
		}
		o.Status.Conditions = conditions
		return []Write{{Verb: UpdateStatus, Object: o}}
	case *v3.GlobalNetworkPolicy:
		o.Status.Conditions = conditions
		return []Write{{Verb: UpdateStatus, Object: o}}
	}
	return nil
}

// writeReport stores those of a policy that has no status.
func (s *policyStatuses) writeReport(key v3.Key, p *policyState, conditions []metav1.Condition) []Write {
	if s.reports == nil || s.tell == nil {
		return nil
	}
	report := NewPolicyReport(key, p.object.GetUID(), p.tier, conditions)
	reports, tell := s.reports, s.tell
	return []Write{{Verb: Update, Object: p.object, Do: func(ctx context.Context) error {
		err := reports.PutPolicyReport(ctx, report)
		if errors.Is(err, datastore.ErrNotFound) {
			return fmt.Errorf("%s: %w", key, err)
		}
		if err == nil {
			tell(func() []v3.Key { s.stored[key] = report; return nil })
		}
		return err
	}}}
}

// NewPolicyReport is the report of a Kubernetes NetworkPolicy, which owns it.
func NewPolicyReport(key v3.Key, uid types.UID, tier string, conditions []metav1.Condition) *v1alpha1.PolicyReport {
	r := &v1alpha1.PolicyReport{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindPolicyReport},
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: PolicyReportName(key.Name)},
		Policy:     v1alpha1.PolicyReference{Kind: string(key.Kind), Namespace: key.Namespace, Name: key.Name},
		Tier:       tier,
		Status:     &v1alpha1.PolicyReportStatus{Conditions: conditions},
	}
	if uid != "" {
		r.OwnerReferences = []metav1.OwnerReference{{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Name: key.Name, UID: uid}}
	}
	return r
}

// maxName is how long a name may be: a DNS subdomain, RFC 1123.
const maxName = 253

// PolicyReportName is the name of the report of a Kubernetes NetworkPolicy: "networkpolicy." and its name; of one that would be too long, the end is
// a hash.
func PolicyReportName(name string) string {
	const prefix = "networkpolicy."
	if len(prefix)+len(name) <= maxName {
		return prefix + name
	}
	sum := sha256.Sum256([]byte(name))
	hash := strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:10]))
	return prefix + strings.TrimRight(name[:maxName-len(prefix)-len(hash)-1], ".-") + "-" + hash
}

// placeholder names an object that is not there any more.
func placeholder(key v3.Key) v3.Object {
	o := &v3.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	o.Kind = string(key.Kind)
	return o
}
