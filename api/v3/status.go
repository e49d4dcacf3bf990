package v3

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Status is what the controller reports of an object: whether it is accepted as written, and where it is in force.
type Status struct {
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
