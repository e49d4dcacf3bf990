package v3

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Unenforced is an object of a kind that is known by name alone: it is stored and listed as written, and has no effect.
type Unenforced struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// Content are the top-level fields other than apiVersion, kind and metadata, as written.
	Content map[string]json.RawMessage `json:"-"`
}

// GetKind is the kind as written.
func (o *Unenforced) GetKind() Kind { return Kind(o.Kind) }

// Copy is a deep copy.
func (o *Unenforced) Copy() Object { return o.DeepCopy() }

func (o *Unenforced) typeMeta() *metav1.TypeMeta { return &o.TypeMeta }

// MarshalJSON writes the object as it was read.
func (o *Unenforced) MarshalJSON() ([]byte, error) {
	fields := map[string]any{"apiVersion": o.APIVersion, "kind": o.Kind, "metadata": o.ObjectMeta}
	for name, value := range o.Content {
		fields[name] = value
	}
	return json.Marshal(fields)
}

// UnmarshalJSON reads an object of any kind.
func (o *Unenforced) UnmarshalJSON(data []byte) error {
	var head struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata,omitempty"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return err
	}
	var content map[string]json.RawMessage
	if err := json.Unmarshal(data, &content); err != nil {
		return err
	}
	for _, name := range []string{"apiVersion", "kind", "metadata"} {
		delete(content, name)
	}
	*o = Unenforced{TypeMeta: head.TypeMeta, ObjectMeta: head.ObjectMeta, Content: content}
	return nil
}
