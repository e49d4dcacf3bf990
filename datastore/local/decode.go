package local

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
)

// role says what an object of a file is to the resource of its key.
type role uint8

const (
	stored role = iota // the resource itself, of our group
	view               // made from a Kubernetes object
	podOf              // made from a Pod: merged with the record of its sandbox, if there is one
)

// item is one object found in a file.
type item struct {
	key      v3.Key
	role     role
	object   v3.Object // its ResourceVersion is revision
	revision string
	doc      int    // which document
	inList   bool   // one of several of a List: can't be written by itself
	field    string // "items[2]", where inList
	given    string // the resourceVersion that the file gives
	origin   string // "Namespace web-ns", where role is not stored
}

// contents is a file, decoded.
type contents struct {
	docs    []document
	items   []item
	errs    []v3.FieldError // with file and line
	foreign map[string]int  // "apps/v1 Deployment": how many
	raw     []rawObject     // Kubernetes objects, in strict reading
	refused []item          // objects with errors, in strict reading, as far as they could be read
	// partial: some of the file can't be decoded, so that what is missing in items need not be gone.
	partial bool
}

// rawObject is a Kubernetes object as JSON.
type rawObject struct {
	origin string
	text   []byte
	doc    int
}

// parser decodes the documents of one file.
type parser struct {
	path   string
	data   []byte
	strict bool
	// namespace is that of objects which belong into one and name none.
	namespace string
	out       contents
}

// parse decodes a file. Strict is for people's input, where every fault makes its object an error; otherwise an object counts wherever
// it can be judged.
func parse(path string, data []byte, strict bool) *contents {
	return parseInto(defaultNamespace, path, data, strict)
}

// defaultNamespace is that of objects which name none, as with kubectl.
const defaultNamespace = "default"

// parseInto is parse with another namespace for objects that name none.
func parseInto(namespace, path string, data []byte, strict bool) *contents {
	p := &parser{path: path, data: data, strict: strict, namespace: namespace}
	p.out.docs = split(data)
	for i := range p.out.docs {
		p.document(i)
	}
	out := p.out // not a part of p, which holds the data
	return &out
}

// document decodes one document.
func (p *parser) document(i int) {
	doc := &p.out.docs[i]
	text := p.data[doc.start:doc.end]
	source := text
	if doc.json && !head.Match(text) && !json.Valid(text) {
		doc.json = false // YAML in flow style, or broken: its parser says which, and where
	}
	if !doc.json {
		var err error
		if text, err = yaml.YAMLToJSONStrict(text); err != nil {
			p.syntax(doc, source, err)
			return
		}
	}
	revision := revisionOf(source)
	meta, err := sniff(text)
	if err != nil {
		p.fail(doc, source, v3.FieldError{Problem: err.Error(), Valid: "an object with apiVersion and kind"})
		return
	}
	if strings.HasSuffix(meta.Kind, "List") {
		p.list(i, source, text, revision)
		return
	}
	p.object(i, source, text, meta, revision, "")
}

// list decodes the items of a List, each by its own kind.
func (p *parser) list(i int, source, text []byte, revision string) {
	var list struct {
		metav1.TypeMeta
		Items []json.RawMessage `json:"items"`
	}
	doc := &p.out.docs[i]
	if err := json.Unmarshal(text, &list); err != nil {
		p.fail(doc, source, v3.FieldError{Field: "items", Problem: err.Error(), Valid: "a list of objects"})
		return
	}
	for n, raw := range list.Items {
		field := fmt.Sprintf("items[%d]", n)
		meta, err := sniff(raw)
		if err != nil {
			p.fail(doc, source, v3.FieldError{Field: field, Problem: err.Error(), Valid: "an object with apiVersion and kind"})
			continue
		}
		if meta.Kind == "" && meta.APIVersion == "" { // a PodList, say
			meta = metav1.TypeMeta{APIVersion: list.APIVersion, Kind: strings.TrimSuffix(list.Kind, "List")}
		}
		p.object(i, source, raw, meta, revisionOf(raw)+revision[:8], field)
	}
}

// object decodes one object; field is where it is in its document, "" for the whole of it.
func (p *parser) object(i int, source, text []byte, meta metav1.TypeMeta, revision, field string) {
	doc := &p.out.docs[i]
	it := item{revision: revision, doc: i, inList: field != "", field: field}
	var errs []v3.FieldError
	switch {
	case meta.APIVersion == v3.APIVersion:
		errs = p.resource(&it, text, meta)
		if it.object == nil && doc.json && !json.Valid(source) {
			_, err := yaml.YAMLToJSONStrict(source)
			p.syntax(doc, source, cmp.Or(err, errNotJSON))
			return
		}
	case isKubernetes(meta):
		errs = p.kubernetes(it, text, meta)
		p.report(doc, source, field, errs)
		return
	case isOurs(meta):
		errs = []v3.FieldError{{Object: meta.Kind, Field: "kind", Problem: fmt.Sprintf("%s %s is unknown", meta.APIVersion, meta.Kind), Valid: validKinds(meta)}}
	case meta.Kind == "":
		errs = []v3.FieldError{{Field: "kind", Problem: "is missing", Valid: "apiVersion and kind of a resource"}}
	default:
		if p.out.foreign == nil {
			p.out.foreign = map[string]int{}
		}
		p.out.foreign[meta.APIVersion+" "+meta.Kind]++
		return
	}
	if it.object != nil {
		p.add(it)
	}
	p.report(doc, source, field, errs)
}

// resource decodes an object of our group.
func (p *parser) resource(it *item, text []byte, meta metav1.TypeMeta) []v3.FieldError {
	info, ok := v3.InfoOf(v3.Kind(meta.Kind))
	if !ok || info.View {
		return []v3.FieldError{{Object: meta.Kind, Field: "kind", Problem: fmt.Sprintf("%q is unknown", meta.Kind), Valid: "a kind of " + v3.APIVersion}}
	}
	object, errs := v3.DecodeJSON(info.Kind, text, p.strict)
	if object == nil && p.strict {
		p.refuse(*it, info.Kind, text)
	}
	if object != nil && object.GetName() == "" {
		errs = append(errs, v3.FieldError{Object: meta.Kind, Field: "metadata.name", Problem: "is missing", Valid: "a name"})
		object = nil
	}
	if object != nil {
		if info.Namespaced && object.GetNamespace() == "" && info.Kind != v3.KindWorkloadEndpoint {
			object.SetNamespace(p.namespace)
		}
		it.key, it.object = v3.KeyOf(object), object
	} else {
		p.out.partial = true
	}
	return errs
}

// refuse keeps what can be read of an object with errors, so that all else that is wrong with it can be said too.
func (p *parser) refuse(it item, kind v3.Kind, text []byte) {
	if it.object, _ = v3.DecodeJSON(kind, text, false); it.object != nil && it.object.GetName() != "" {
		p.out.refused = append(p.out.refused, it)
	}
}

// add puts an item into the contents.
func (p *parser) add(it item) {
	it.given = it.object.GetResourceVersion()
	it.object.SetResourceVersion(it.revision)
	p.out.items = append(p.out.items, it)
}

// syntax reports a document that is no YAML.
func (p *parser) syntax(doc *document, source []byte, err error) {
	p.out.partial = true
	text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	line := syntaxLine(err)
	text = strings.TrimPrefix(text, fmt.Sprintf("yaml: line %d: ", line))
	p.out.errs = append(p.out.errs, v3.FieldError{
		File: p.path, Line: doc.line + min(line-1, bytes.Count(source, []byte("\n"))),
		Problem: "not YAML: " + strings.TrimPrefix(text, "yaml: "),
	})
}

// fail reports an object of which not even the kind is known.
func (p *parser) fail(doc *document, source []byte, err v3.FieldError) {
	p.out.partial = true
	p.report(doc, source, "", []v3.FieldError{err})
}

// report adds errors with file and line; where is the field of the document that their fields are in.
func (p *parser) report(doc *document, source []byte, where string, errs []v3.FieldError) {
	for _, e := range errs {
		full := e.Field
		if where != "" {
			full = where + "." + e.Field
		}
		e.File, e.Line = p.path, doc.line+locate(source, full)-1
		p.out.errs = append(p.out.errs, e)
	}
}

// revisionOf is the revision of an object: a hash of its bytes.
func revisionOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:12])
}

var errNotJSON = errors.New("not JSON")

// head is how felid's own files begin.
var head = regexp.MustCompile(`^\s*\{"kind":"([A-Za-z]+)","apiVersion":"([A-Za-z0-9./]+)"`)

// sniff reads apiVersion and kind of a JSON object.
func sniff(text []byte) (metav1.TypeMeta, error) {
	if m := head.FindSubmatch(text); m != nil {
		return metav1.TypeMeta{Kind: string(m[1]), APIVersion: string(m[2])}, nil
	}
	var meta metav1.TypeMeta
	if err := json.Unmarshal(text, &meta); err != nil {
		if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
			return meta, fmt.Errorf("apiVersion or kind can't be read: %w", err)
		}
		return meta, fmt.Errorf("is not an object")
	}
	return meta, nil
}

// isOurs says whether an unknown kind of this group is an error.
func isOurs(meta metav1.TypeMeta) bool {
	group, _, _ := strings.Cut(meta.APIVersion, "/")
	switch group {
	case v3.Group, "felid.dev", policyGroup:
		return true
	case "networking.k8s.io":
		return !slices.Contains(unusedNetworking, meta.Kind)
	}
	return false
}

// validKinds are what an unknown kind of a group may have been meant to be.
func validKinds(meta metav1.TypeMeta) string {
	switch group, _, _ := strings.Cut(meta.APIVersion, "/"); group {
	case policyGroup:
		return "AdminNetworkPolicy and BaselineAdminNetworkPolicy of v1alpha1, ClusterNetworkPolicy of v1alpha2"
	case "networking.k8s.io":
		return "NetworkPolicy of v1, " + strings.Join(unusedNetworking, ", ")
	}
	return "a kind of " + v3.APIVersion
}

// unusedNetworking are the kinds of networking.k8s.io that are none of felid's business.
var unusedNetworking = []string{"Ingress", "IngressClass", "IPAddress", "ServiceCIDR"}
