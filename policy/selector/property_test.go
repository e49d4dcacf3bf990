package selector

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// tree is a selector as the tests know it: a text with accidental white space, quotes and parentheses, and what it means.
type tree struct {
	text  string
	match func(Map) bool
}

var (
	someKeys   = []string{"a", "b", "in", "has", LabelNamespace}
	someValues = []string{"", "1", "2", "12", `q"q`, "it's"}
)

func drawBlank(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", " ", "\t", "  "}).Draw(t, "blank")
}

func drawQuoted(t *rapid.T, value string) string {
	quotes := []string{`"`, `'`}
	quotes = slices.DeleteFunc(quotes, func(q string) bool { return strings.Contains(value, q) })
	q := rapid.SampledFrom(quotes).Draw(t, "quote")
	return q + value + q
}

func drawLeaf(t *rapid.T) tree {
	key := rapid.SampledFrom(someKeys).Draw(t, "key")
	value := rapid.SampledFrom(someValues).Draw(t, "value")
	w := func() string { return drawBlank(t) }
	compare := func(op string, f func(have string, ok bool) bool) tree {
		return tree{key + " " + op + w() + drawQuoted(t, value), func(m Map) bool { have, ok := m[key]; return f(have, ok) }}
	}
	switch rapid.IntRange(0, 9).Draw(t, "form") {
	case 0:
		return tree{"all" + w() + "(" + w() + ")", func(Map) bool { return true }}
	case 1:
		return tree{"global()", func(m Map) bool { _, ok := m[LabelNamespace]; return !ok }}
	case 2:
		return tree{"has(" + w() + key + w() + ")", func(m Map) bool { _, ok := m[key]; return ok }}
	case 3:
		return compare("==", func(have string, ok bool) bool { return ok && have == value })
	case 4:
		return compare("!=", func(have string, ok bool) bool { return !ok || have != value })
	case 5:
		return compare("contains", func(have string, ok bool) bool { return ok && strings.Contains(have, value) })
	case 6:
		return compare("starts with", func(have string, ok bool) bool { return ok && strings.HasPrefix(have, value) })
	case 7:
		return compare("ends \twith", func(have string, ok bool) bool { return ok && strings.HasSuffix(have, value) })
	}
	return drawSet(t, key)
}

func drawSet(t *rapid.T, key string) tree {
	values := rapid.SliceOfN(rapid.SampledFrom(someValues), 0, 4).Draw(t, "values")
	var items []string
	for _, v := range values {
		items = append(items, drawBlank(t)+drawQuoted(t, v)+drawBlank(t))
	}
	set := "{" + strings.Join(items, ",") + "}"
	if len(items) > 0 && rapid.Bool().Draw(t, "trailing comma") {
		set = "{" + strings.Join(items, ",") + ", }"
	}
	in := func(m Map) bool { have, ok := m[key]; return ok && slices.Contains(values, have) }
	if rapid.Bool().Draw(t, "negated") {
		op := rapid.SampledFrom([]string{" not in ", " notin", " not  in"}).Draw(t, "op")
		return tree{key + op + set, func(m Map) bool { return !in(m) }}
	}
	return tree{key + " in" + set, in}
}

func drawTree(t *rapid.T, depth int) tree {
	if depth == 0 {
		return drawLeaf(t)
	}
	switch rapid.IntRange(0, 4).Draw(t, "node") {
	case 0:
		inside := drawTree(t, depth-1)
		return tree{"!" + drawBlank(t) + "(" + inside.text + ")", func(m Map) bool { return !inside.match(m) }}
	case 1:
		inside := drawTree(t, depth-1)
		return tree{"(" + drawBlank(t) + inside.text + ")", inside.match}
	case 2:
		return drawLeaf(t)
	case 3:
		a, b := drawTree(t, depth-1), drawTree(t, depth-1)
		return tree{"(" + a.text + ")" + drawBlank(t) + "&&" + drawBlank(t) + "(" + b.text + ")", func(m Map) bool { return a.match(m) && b.match(m) }}
	}
	// Without parentheses: "&&" inside "||" needs none.
	a, b, c := drawLeaf(t), drawLeaf(t), drawLeaf(t)
	return tree{a.text + "||" + b.text + drawBlank(t) + "&&" + c.text, func(m Map) bool { return a.match(m) || b.match(m) && c.match(m) }}
}

func drawLabels(t *rapid.T) Map {
	return Map(rapid.MapOfN(rapid.SampledFrom(someKeys), rapid.SampledFrom(someValues), 0, 4).Draw(t, "labels"))
}

func TestEvaluateEqualsNaiveEvaluation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawTree(t, 4)
		s, err := Parse(want.text)
		if err != nil {
			t.Fatalf("Parse(%q): %v", want.text, err)
		}
		again, err := Parse(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q prints as %q, that as %q (%v)", want.text, s, again, err)
		}
		if compare(again.root, s.root) != 0 {
			t.Fatalf("%q: the printed text has another tree", s)
		}
		for range 8 {
			labels := drawLabels(t)
			if got := s.Evaluate(labels); got != want.match(labels) {
				t.Fatalf("%s (canonical %s) of %v: %v", want.text, s, labels, got)
			}
		}
	})
}

func TestRestrictionsNeverExcludeAMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := Parse(drawTree(t, 4).text)
		if err != nil {
			t.Fatal(err)
		}
		restrictions := s.Restrictions()
		for range 8 {
			labels := drawLabels(t)
			if s.Evaluate(labels) {
				mustKeep(t, s, restrictions, labels)
			}
		}
	})
}

func mustKeep(t interface{ Fatalf(string, ...any) }, s *Selector, restrictions []Restriction, labels Map) {
	for _, r := range restrictions {
		value, ok := labels[r.Key]
		if !ok || r.Values != nil && !slices.Contains(r.Values, value) {
			t.Fatalf("%s matches %v, which breaks the restriction %+v", s, labels, r)
		}
		if !slices.IsSorted(r.Values) {
			t.Fatalf("%s: values of %s are not sorted: %q", s, r.Key, r.Values)
		}
	}
}

func TestAndNotAreWhatTheySay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ta, tb := drawTree(t, 3), drawTree(t, 3)
		a, errA := Parse(ta.text)
		b, errB := Parse(tb.text)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		both, other, neither := And(a, b), And(b, a), Not(a)
		if both.String() != other.String() {
			t.Fatalf("And depends on the order: %s, %s", both, other)
		}
		labels := drawLabels(t)
		if both.Evaluate(labels) != (ta.match(labels) && tb.match(labels)) || neither.Evaluate(labels) == ta.match(labels) {
			t.Fatalf("%s, %s of %v", both, neither, labels)
		}
		if again, err := Parse(both.String()); err != nil || again.String() != both.String() {
			t.Fatalf("%s: %v", both, err)
		}
	})
}

func TestForNamespacesLooksAtPrefixedLabels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawTree(t, 3)
		s, err := Parse(text.text)
		if err != nil {
			t.Fatal(err)
		}
		namespace := drawLabels(t)
		delete(namespace, LabelNamespace)
		if s.UsesGlobal() {
			return
		}
		endpoint := Map{LabelNamespace: "n", "a": "own labels do not count"}
		for k, v := range namespace {
			endpoint[NamespacePrefix+k] = v
		}
		if s.ForNamespaces().Evaluate(endpoint) != s.Evaluate(namespace) {
			t.Fatalf("%s: %v of the namespace, else of its endpoint", s, s.Evaluate(namespace))
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "all()", benchmarkText, `a not in {'x',} || !(b notin {"y"}) && global()`, `a = "b"`, `((((`, `!!!!has(a)`, `a starts with 'é"'`, "a\x00", `a in {,}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error must say something")
			}
			return
		}
		again, err := Parse(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q prints as %q, that as %v (%v)", text, s, again, err)
		}
		for _, labels := range []Map{nil, {"a": "x", "b": "y"}, benchmarkLabels} {
			if s.Evaluate(labels) != again.Evaluate(labels) {
				t.Fatalf("%q and %q differ on %v", text, s, labels)
			}
			if s.Evaluate(labels) {
				mustKeep(t, s, s.Restrictions(), labels)
			}
		}
	})
}
