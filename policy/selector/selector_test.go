package selector

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parse(t testing.TB, text string) *Selector {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return s
}

func TestEvaluate(t *testing.T) {
	labels := Map{"role": "db", "env": "prod-eu", "a.b/c_d-E": "x y", "empty": "", LabelNamespace: "shop", "has": "1", "in": "2", "not": "3", "all": "4"}
	cases := []struct {
		text string
		want bool
	}{
		{"", true},
		{" \t", true},
		{"all()", true},
		{"!all()", false},
		{"all ( )", true},
		{"global()", false},
		{"!global()", true},
		{`role == "db"`, true},
		{`role == 'db'`, true},
		{`role=="web"`, false},
		{`role == "DB"`, false},
		{`role != "db"`, false},
		{`role != "web"`, true},
		{`empty == ""`, true},
		{`absent == ""`, false},
		{`absent == "x"`, false},
		{`absent != "x"`, true},
		{`absent in {"x"}`, false},
		{`absent in {"x", "y"}`, false},
		{`absent not in {"x", "y"}`, true},
		{`absent not in {}`, true},
		{`absent contains ""`, false},
		{`absent starts with ""`, false},
		{`absent ends with ""`, false},
		{`has(absent)`, false},
		{`!has(absent)`, true},
		{`has(empty)`, true},
		{`role in {"web", 'db'}`, true},
		{`role in{"web","db",}`, true},
		{`role in {}`, false},
		{`role not in {}`, true},
		{`role not in {"web", "db"}`, false},
		{`role notin {"web", "cache"}`, true},
		{`role not	in {"web"}`, true},
		{`env contains "d-e"`, true},
		{`env contains "de"`, false},
		{`env starts with "prod"`, true},
		{`env starts with "rod"`, false},
		{`env ends with "-eu"`, true},
		{`env ends with "-us"`, false},
		{`a.b/c_d-E == "x y"`, true},
		{`!role == "web"`, true},
		{`!!role == "web"`, false},
		{`!(role == "db" && env == "x")`, true},
		{`role == "web" && env == "x" || has(empty)`, true},
		{`has(empty) || role == "web" && env == "x"`, true},
		{`(has(empty) || role == "web") && env == "x"`, false},
		{`!has(absent) && !has(role) || has(role)`, true},
		// Words of the language are keys where a key stands.
		{`has == "1" && in == "2" && not == "3" && all == "4"`, true},
		{`in in {"2"} && not not in {"x"} && has(has)`, true},
	}
	for _, c := range cases {
		if got := parse(t, c.text).Evaluate(labels); got != c.want {
			t.Errorf("%s: %v, want %v", c.text, got, c.want)
		}
	}
	if !parse(t, "global()").Evaluate(Map{"role": "db"}) {
		t.Error("global() must match what is in no namespace")
	}
}

func TestCanonicalText(t *testing.T) {
	cases := []struct{ text, want string }{
		{"", `all()`},
		{`  role=='db'`, `role == "db"`},
		{`role == 'say "hi"'`, `role == 'say "hi"'`},
		{`role == "it's"`, `role == "it's"`},
		{`role in {'b', "a", 'b',}`, `role in {"a", "b"}`},
		{`role in {"a"}`, `role == "a"`},
		{`role notin {"a"}`, `role != "a"`},
		{`role in {}`, `role in {}`},
		{`!(role in {'b', 'a'})`, `role not in {"a", "b"}`},
		{`!role == "a"`, `role != "a"`},
		{`!!has(a)`, `has(a)`},
		{`!!!has(a)`, `!has(a)`},
		{`((a == "1"))`, `a == "1"`},
		{`b == "1" && (a == "1" && c == "1")`, `a == "1" && b == "1" && c == "1"`},
		{`b == "1" || a == "1" && c == "1"`, `a == "1" && c == "1" || b == "1"`},
		{`c == "1" && (b == "1" || a == "1")`, `(a == "1" || b == "1") && c == "1"`},
		{`a == "1" && a == "1"`, `a == "1"`},
		{`!(a == "1" && has(b))`, `!(a == "1" && has(b))`},
		{`global()`, `global()`},
		{`all() && has(a)`, `all() && has(a)`},
	}
	for _, c := range cases {
		got := parse(t, c.text).String()
		if got != c.want {
			t.Errorf("%s: printed %s, want %s", c.text, got, c.want)
		}
		if again := parse(t, got).String(); again != got {
			t.Errorf("%s: printed %s, then %s", c.text, got, again)
		}
	}
}

func TestErrorsSayWhereAndWhatWouldBeValid(t *testing.T) {
	cases := []struct {
		text     string
		position int
		says     string
	}{
		{`role = "db"`, 6, "use =="},
		{`a == "1" & b == "2"`, 10, "use &&"},
		{`a == "1" | b == "2"`, 10, "use ||"},
		{`a == "1" and b == "2"`, 10, "use &&"},
		{`(a == "1" OR b == "2")`, 11, "use ||"},
		{`a == "1" b == "2"`, 10, "joined by && or ||"},
		{`a == db`, 6, `in quotes: "db"`},
		{`a == `, 6, "in quotes"},
		{`a == "db`, 6, `close it with "`},
		{`a in "db"`, 6, `a set is {`},
		{`a in {"db"`, 11, `"," or "}"`},
		{`a in {db}`, 7, `in quotes: "db"`},
		{`a in {,}`, 7, "in quotes"},
		{`a not {"x"}`, 7, `"in" must follow`},
		{`a starts "x"`, 10, `"with" must follow`},
		{`a startswith "x"`, 3, "starts with"},
		{`a`, 2, "has(KEY)"},
		{`a && b`, 3, "has(KEY)"},
		{`has("a")`, 5, "without quotes"},
		{`has(a`, 6, `")" must follow`},
		{`has()`, 5, "label key"},
		{`any()`, 1, "all()"},
		{`all(x)`, 5, `")" must follow`},
		{`(a == "1"`, 10, `")" is missing`},
		{`a == "1")`, 9, `there is no "("`},
		{`a == "1" &&`, 12, "a term is"},
		{`"a" == "1"`, 1, "a term is"},
		{`é == "1"`, 1, "keys have"},
		{`has(a) && é == "1"`, 11, "keys have"},
		{`a == "é" && b = "1"`, 15, "use =="},
		{"has(a)\n&& has(b)", 7, "blanks and tabs"},
		{`has(` + strings.Repeat("k", MaxKeyLength+1) + `)`, 5, "at most 512"},
		{strings.Repeat("(", 5000) + "all()", MaxNesting + 2, "100 deep"},
		{strings.Repeat("!", 1<<20) + "all()", MaxNesting + 2, "100 deep"},
	}
	for _, c := range cases {
		_, err := Parse(c.text)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.40s: error %v", c.text, err)
			continue
		}
		if e.Position != c.position || !strings.Contains(e.Error(), c.says) {
			t.Errorf("%.40s: %q at %d, want %q at %d", c.text, e.Error(), e.Position, c.says, c.position)
		}
	}
}

func TestLimitsThatStillHold(t *testing.T) {
	parse(t, strings.Repeat("(", MaxNesting)+"all()"+strings.Repeat(")", MaxNesting))
	parse(t, strings.Repeat("!", MaxNesting)+"has(a)")
	key := strings.Repeat("k", MaxKeyLength)
	parse(t, parse(t, "has("+key+")").ForNamespaces().String())
}

func TestConstructors(t *testing.T) {
	cases := []struct {
		got  *Selector
		want string
	}{
		{All(), `all()`},
		{Has("a"), `has(a)`},
		{Not(Has("a")), `!has(a)`},
		{Equals("a", "1"), `a == "1"`},
		{Equals("a", `both ' and "`), `a in {}`},
		{In("a", nil), `a in {}`},
		{In("a", []string{"2", "1", `both ' and "`}), `a in {"1", "2"}`},
		{Not(In("a", []string{"2", "1"})), `a not in {"1", "2"}`},
		{And(Has("b"), Has("a")), `has(a) && has(b)`},
		{And(All(), Has("a")), `has(a)`},
		{And(Has("a"), All()), `has(a)`},
		{And(All(), All()), `all()`},
		{And(And(Has("c"), Has("a")), Has("b")), `has(a) && has(b) && has(c)`},
	}
	for _, c := range cases {
		if c.got.String() != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
		if again := parse(t, c.want); again.String() != c.got.String() {
			t.Errorf("%s parses as %s", c.want, again)
		}
	}
}

func TestInLeavesItsArgumentAlone(t *testing.T) {
	values := []string{"b", "a", "b"}
	In("k", values)
	if diff := cmp.Diff([]string{"b", "a", "b"}, values); diff != "" {
		t.Error(diff)
	}
}

func TestForOwners(t *testing.T) {
	cases := []struct{ text, namespaces, serviceAccounts string }{
		{``, `has(projectcalico.org/namespace)`, `has(projectcalico.org/serviceaccount)`},
		{`global()`, `!has(projectcalico.org/namespace)`, `!has(projectcalico.org/serviceaccount)`},
		{`team == "red"`, `pcns.team == "red"`, `pcsa.team == "red"`},
		{`projectcalico.org/name == "a"`, `pcns.projectcalico.org/name == "a"`, `pcsa.projectcalico.org/name == "a"`},
		{`team != "red" && all()`, `pcns.team != "red" && has(projectcalico.org/namespace)`,
			`pcsa.team != "red" && has(projectcalico.org/serviceaccount)`},
		{`!(has(a) || b in {"1", "2"})`, `!(has(pcns.a) || pcns.b in {"1", "2"})`, `!(has(pcsa.a) || pcsa.b in {"1", "2"})`},
	}
	for _, c := range cases {
		s := parse(t, c.text)
		before := s.String()
		if got := s.ForNamespaces().String(); got != c.namespaces {
			t.Errorf("%s for namespaces: %s, want %s", c.text, got, c.namespaces)
		}
		if got := s.ForServiceAccounts().String(); got != c.serviceAccounts {
			t.Errorf("%s for service accounts: %s, want %s", c.text, got, c.serviceAccounts)
		}
		if s.String() != before {
			t.Errorf("%s was changed to %s", before, s)
		}
	}
}

func TestQuestions(t *testing.T) {
	if !parse(t, "").MatchesAll() || !parse(t, "(all())").MatchesAll() || parse(t, "has(a) || all()").MatchesAll() {
		t.Error("MatchesAll is true of all() alone")
	}
	for text, want := range map[string]bool{"global()": true, "has(a) && !(has(b) || global())": true, "global == 'x'": false, "": false} {
		if parse(t, text).UsesGlobal() != want {
			t.Errorf("UsesGlobal of %q, want %v", text, want)
		}
	}
}

func TestRestrictions(t *testing.T) {
	one := func(key string, v ...string) Restriction { return Restriction{key, v} }
	cases := []struct {
		text string
		want []Restriction
	}{
		{`all()`, nil},
		{`a != "1"`, nil},
		{`!has(a)`, nil},
		{`a not in {"1", "2"}`, nil},
		{`has(a)`, []Restriction{one("a")}},
		{`a contains "x"`, []Restriction{one("a")}},
		{`a == "1"`, []Restriction{one("a", "1")}},
		{`a in {"2", "1"}`, []Restriction{one("a", "1", "2")}},
		{`a in {}`, []Restriction{{"a", []string{}}}},
		{`a == "1" && has(a) && b != "2"`, []Restriction{one("a", "1")}},
		{`a in {"1", "2"} && a in {"2", "3"}`, []Restriction{one("a", "2")}},
		{`a == "1" && a == "2"`, []Restriction{{"a", []string{}}}},
		{`a == "1" || a in {"2", "3"}`, []Restriction{one("a", "1", "2", "3")}},
		{`a == "1" || has(a)`, []Restriction{one("a")}},
		{`a == "1" || b == "1"`, nil},
		{`a == "1" && (b == "1" || b == "2") && (c == "1" || has(d))`, []Restriction{one("a", "1"), one("b", "1", "2")}},
		{`(c == "1" && a == "1") && b == "1"`, []Restriction{one("a", "1"), one("b", "1"), one("c", "1")}},
	}
	for _, c := range cases {
		got := parse(t, c.text).Restrictions()
		if diff := cmp.Diff(c.want, got); diff != "" && len(c.want)+len(got) > 0 {
			t.Errorf("%s: %s", c.text, diff)
		}
	}
}

func TestEvaluateDoesNotAllocate(t *testing.T) {
	s := parse(t, benchmarkText)
	labels := Labels(benchmarkLabels)
	if n := testing.AllocsPerRun(100, func() { s.Evaluate(labels) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const benchmarkText = `role == "db" && env in {"prod", "staging", "test"} && !has(legacy) && (team starts with "pay" || tier not in {"a", "b"})`

var benchmarkLabels = Map{"role": "db", "env": "prod", "team": "payments", "app": "x", "tier": "b"}

func BenchmarkEvaluate(b *testing.B) {
	s := parse(b, benchmarkText)
	labels := Labels(benchmarkLabels)
	b.ReportAllocs()
	for b.Loop() {
		if !s.Evaluate(labels) {
			b.Fatal("must match")
		}
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(benchmarkText); err != nil {
			b.Fatal(err)
		}
	}
}
