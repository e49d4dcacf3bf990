package v3

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// mustAgree holds what is read quickly to what the general decoder reads, strictly; it tells whether it was read quickly.
func mustAgree(t testing.TB, kind Kind, text []byte) bool {
	t.Helper()
	got, ok := newObject(kind)
	if !ok || !decodeQuickly(text, got) {
		return false
	}
	want, _ := newObject(kind)
	faults, err := kjson.UnmarshalStrict(text, want)
	if err != nil || len(faults) > 0 {
		t.Fatalf("%s is read quickly, but is %v %v:\n%s", kind, err, faults, text)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s is read otherwise (-want +got):\n%s\n%s", kind, cmp.Diff(want, got), text)
	}
	return true
}

// fill puts something into every field of v.
func fill(rng *rand.Rand, v reflect.Value) {
	switch v.Interface().(type) {
	case Port:
		v.Set(reflect.ValueOf([]Port{{Min: 80, Max: 80}, {Min: 1, Max: 9}, {Name: "http"}}[rng.IntN(3)]))
		return
	case Protocol:
		v.Set(reflect.ValueOf([]Protocol{{Name: "TCP"}, {Number: 132}}[rng.IntN(2)]))
		return
	case metav1.Time:
		v.Set(reflect.ValueOf(metav1.Unix(rng.Int64N(1<<32), 0).Rfc3339Copy()))
		return
	case metav1.ObjectMeta:
		v.Set(reflect.ValueOf(metav1.ObjectMeta{
			Name: fillText(rng), Namespace: fillText(rng), ResourceVersion: fillText(rng), UID: "0-1", Labels: map[string]string{"a/b": fillText(rng), "c": ""},
			CreationTimestamp: metav1.Unix(1_700_000_000, 0), Finalizers: []string{"f"}, Generation: 3,
		}))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fillText(rng))
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(rng.Int64N(100) - 50)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rng.Uint64N(200))
	case reflect.Float64:
		v.SetFloat([]float64{1000, -0.5, 1e30}[rng.IntN(3)])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(rng, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rng.IntN(4), 4))
		for i := range v.Len() {
			fill(rng, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(rng, v.Field(i))
			}
		}
	}
}

func fillText(rng *rand.Rand) string {
	return []string{"web-1", "", `app == "x" && b != '<\/>'`, strings.Repeat("long ", 20), "10.0.0.0/8"}[rng.IntN(5)]
}

// quickly are the kinds of which a cluster has many, or which change often.
var quickly = []Kind{
	KindWorkloadEndpoint, KindNetworkPolicy, KindGlobalNetworkPolicy, KindNetworkSet, KindGlobalNetworkSet, KindHostEndpoint, KindProfile, KindTier,
	KindNode, KindIPAMBlock, KindBlockAffinity, KindIPPool,
}

// TestOwnObjectsAreReadQuickly is of what Encode writes, with every field that there is.
func TestOwnObjectsAreReadQuickly(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, kind := range quickly {
		for range 50 {
			o, _ := newObject(kind)
			fill(rng, reflect.ValueOf(o).Elem())
			*typeMeta(o) = metav1.TypeMeta{APIVersion: APIVersion, Kind: string(kind)}
			text, err := Encode(o)
			if err != nil {
				t.Fatal(err)
			}
			if !mustAgree(t, kind, text) {
				t.Fatalf("%s is not read quickly:\n%s", kind, text)
			}
		}
	}
}

// oddities are what stands in place of some token of a good text.
var oddities = []string{
	`null`, `true`, `5`, `-0`, `0x1`, `01`, `1e3`, `1.`, `-`, `99999999999999999999`, `""`, `"\n"`, `"\u0026"`, `"\u00e9"`, `"\q"`, "\"\u00fc\"", "\"\t\"", `"`,
	`{}`, `[]`, `{"a":1}`, `[1]`, `[null]`, `,`, `:`, `}`, ` `, "\x00", `"name"`, `"spec"`, `"Name"`, `"NaN"`, `{"name":"a","name":"b"}`, `[,]`, `["a",]`,
}

// TestQuickReadingIsExact changes good texts in random places.
func TestQuickReadingIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	texts := map[Kind][]string{KindWorkloadEndpoint: {wepJSON}, KindNetworkPolicy: {policyJSON}, KindGlobalNetworkPolicy: {policyJSON}}
	quick, tried := 0, 0
	for kind, texts := range texts {
		for range 20_000 {
			text := texts[rng.IntN(len(texts))]
			for range 1 + rng.IntN(2) {
				text = disturb(rng, text)
			}
			tried++
			if mustAgree(t, kind, []byte(text)) {
				quick++
			}
		}
	}
	if quick < tried/100 {
		t.Errorf("%d of %d texts were read quickly: too few to mean anything", quick, tried)
	}
}

// disturb replaces a token, or cuts out some bytes.
func disturb(rng *rand.Rand, text string) string {
	at := rng.IntN(len(text))
	if rng.IntN(4) == 0 {
		return text[:at] + text[min(len(text), at+rng.IntN(4)):]
	}
	if start := strings.IndexAny(text[at:], `"[{:,`); start >= 0 {
		at += start
	}
	end := at + 1
	if text[at] == '"' {
		if i := strings.IndexByte(text[at+1:], '"'); i >= 0 {
			end = at + 2 + i
		}
	}
	return text[:at] + oddities[rng.IntN(len(oddities))] + text[end:]
}

func FuzzDecodeQuickly(f *testing.F) {
	f.Add(wepJSON)
	f.Add(policyJSON)
	f.Add(`{"kind":"Node","spec":{"addresses":[{"address":"\u003c"}],"bgp":{"asNumber":64512}}} `)
	f.Add(`{"metadata":{"labels":{"a":"b","a":"c"}},"spec":{"order":1e5,"ingress":[{"icmp":{"type":-8}}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range quickly {
			mustAgree(t, kind, []byte(text))
		}
	})
}
