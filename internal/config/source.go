package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Sources of values, as they are printed.
const (
	fromDefault = "default"
	fromFile    = "file"
	fromEnv     = "environment"
	fromFlag    = "flag"
)

// Value is one value of the configuration, and where it came from.
type Value struct {
	Key, Text, Source string
}

// field is one field of Config, by its tags.
type field struct {
	index          int
	key, def, help string
	oneOf          []string
	flag, variable string
	only           string // the system whose agents alone have a use for it; "": all have
	kind           reflect.Type
}

// fields are those of Config as people have them who call felid from somewhere, agentFields as an agent of this system has them.
var (
	fields      = readFields("")
	agentFields = readFields(runtime.GOOS)
)

// readFields are the fields for an agent on a system; "": as on Linux, without a limit to what may be set.
func readFields(goos string) []field {
	t := reflect.TypeFor[Config]()
	out := make([]field, t.NumField())
	for i := range out {
		f := t.Field(i)
		words := splitWords(f.Tag.Get("felid"))
		out[i] = field{
			index: i, key: f.Tag.Get("felid"), def: f.Tag.Get("default"), help: f.Tag.Get("help"), kind: f.Type,
			flag:     strings.Join(words, "-"),
			variable: "FELID_" + strings.ToUpper(strings.Join(words, "_")),
		}
		list := f.Tag.Get("oneof")
		if goos == "windows" {
			out[i].def = cmp.Or(f.Tag.Get("windows"), out[i].def)
			list = cmp.Or(f.Tag.Get("windowsOneof"), list)
		}
		if list != "" {
			out[i].oneOf = strings.Split(list, ",")
		}
		if only := f.Tag.Get("os"); goos != "" && only != goos {
			out[i].only = only
		}
	}
	return out
}

// splitWords splits "interfacePrefix" into "interface", "prefix".
func splitWords(key string) []string {
	var words []string
	start := 0
	for i, r := range key {
		if unicode.IsUpper(r) {
			words = append(words, strings.ToLower(key[start:i]))
			start = i
		}
	}
	return append(words, strings.ToLower(key[start:]))
}

// Flags registers a flag for every value, or for those whose keys are named, and --config.
func Flags(set *pflag.FlagSet, keys ...string) {
	all := agentFields
	if len(keys) > 0 {
		all = fields
	}
	for _, f := range all {
		if len(keys) > 0 && !slices.Contains(keys, f.key) {
			continue
		}
		set.String(f.flag, f.def, f.help)
		set.Lookup(f.flag).Hidden = f.only != "" // given all the same, it is refused in as many words
		if f.kind.Kind() == reflect.Bool {
			set.Lookup(f.flag).NoOptDefVal = "true"
		}
	}
	if set.Lookup("config") == nil {
		set.String("config", "", "file with the same values, in YAML")
	}
}

// Load reads flags (those set), then the environment, then the file that --config or FELID_CONFIG names, then defaults: the first
// that has a value wins. Values says where each came from. All faults are reported at once.
func Load(set *pflag.FlagSet, env func(string) (string, bool)) (*Config, []Value, error) {
	return load(set, env, agentFields)
}

func load(set *pflag.FlagSet, env func(string) (string, bool), fields []field) (*Config, []Value, error) {
	c, values, errs := read(set, env, fields)
	if len(errs) == 0 {
		errs = append(errs, c.Validate())
	}
	return c, values, errors.Join(errs...)
}

// Defaults are the values where nothing is configured, but for the node, which is "".
func Defaults() *Config {
	c := &Config{}
	for _, f := range fields {
		if err := f.store(c, f.def); err != nil {
			panic(fmt.Sprintf("config: the default of %s: %v", f.key, err))
		}
	}
	return c
}

// LoadOnly is Load for callers that need the values of these keys alone: the others stay empty, and what they are does not matter.
func LoadOnly(set *pflag.FlagSet, env func(string) (string, bool), keys ...string) (*Config, error) {
	return loadOnly(set, env, fields, keys)
}

// LoadOnlyForAgent is LoadOnly with the values that an agent of this system would have.
func LoadOnlyForAgent(set *pflag.FlagSet, env func(string) (string, bool), keys ...string) (*Config, error) {
	return loadOnly(set, env, agentFields, keys)
}

func loadOnly(set *pflag.FlagSet, env func(string) (string, bool), fields []field, keys []string) (*Config, error) {
	wanted := slices.DeleteFunc(slices.Clone(fields), func(f field) bool { return !slices.Contains(keys, f.key) })
	c, _, errs := read(set, env, wanted)
	return c, errors.Join(errs...)
}

func read(set *pflag.FlagSet, env func(string) (string, bool), wanted []field) (*Config, []Value, []error) {
	path := lookUp(set, "config")
	if path == "" {
		path, _ = env("FELID_CONFIG")
	}
	fromConfigFile, errs := readFile(path)
	c := &Config{}
	values := make([]Value, 0, len(wanted))
	for _, f := range wanted {
		v := f.resolve(set, env, fromConfigFile)
		if f.key == "node" && v.Text == "" {
			v.Text = defaultNode()
		}
		if err := cmp.Or(f.usable(v.Text), f.store(c, v.Text)); err != nil {
			errs = append(errs, fmt.Errorf("%s (from %s): %w", f.key, v.Source, err))
		}
		values = append(values, v)
	}
	return c, values, errs
}

func lookUp(set *pflag.FlagSet, flag string) string {
	if set == nil {
		return ""
	}
	if f := set.Lookup(flag); f != nil && f.Changed {
		return f.Value.String()
	}
	return ""
}

func (f *field) resolve(set *pflag.FlagSet, env func(string) (string, bool), file map[string]string) Value {
	if set != nil {
		if flag := set.Lookup(f.flag); flag != nil && flag.Changed {
			return Value{f.key, flag.Value.String(), fromFlag}
		}
	}
	if text, ok := env(f.variable); ok {
		return Value{f.key, text, fromEnv}
	}
	if text, ok := file[f.key]; ok {
		return Value{f.key, text, fromFile}
	}
	return Value{f.key, f.def, fromDefault}
}

// usable says why a value can't be set for an agent of this system, if it can't: nothing would come of it.
func (f *field) usable(text string) error {
	if f.only == "" || text == f.def {
		return nil
	}
	return fmt.Errorf("%q has a meaning on %s alone; valid here: %q, or no value", text, f.only, f.def)
}

// store parses text into the field of c.
func (f *field) store(c *Config, text string) error {
	if f.oneOf != nil && !slices.Contains(f.oneOf, text) {
		return fmt.Errorf("%q is not valid; valid: %s", text, strings.Join(f.oneOf, ", "))
	}
	dst := reflect.ValueOf(c).Elem().Field(f.index)
	switch dst.Interface().(type) {
	case string:
		dst.SetString(text)
	case bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not valid; valid: true, false", text)
		}
		dst.SetBool(v)
	case int:
		v, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not valid; valid: a whole number", text)
		}
		dst.SetInt(int64(v))
	case time.Duration:
		v, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not valid; valid: a duration such as 5s or 4m", text)
		}
		dst.SetInt(int64(v))
	}
	return nil
}

// readFile reads a flat YAML mapping; unknown keys are errors.
func readFile(path string) (map[string]string, []error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, []error{fmt.Errorf("config file: %w", err)}
	}
	return parseFile(path, data)
}

func parseFile(path string, data []byte) (map[string]string, []error) {
	var doc map[string]yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, []error{fmt.Errorf("%s: %w", path, err)}
	}
	out := map[string]string{}
	var errs []error
	for key, node := range doc {
		switch {
		case !slices.ContainsFunc(fields, func(f field) bool { return f.key == key }):
			errs = append(errs, fmt.Errorf("%s:%d: %s: unknown key; valid: %s", path, node.Line, key, strings.Join(keys(), ", ")))
		case node.Kind != yaml.ScalarNode:
			errs = append(errs, fmt.Errorf("%s:%d: %s: not a single value", path, node.Line, key))
		default:
			out[key] = node.Value
		}
	}
	return out, errs
}

func keys() []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.key
	}
	return out
}

// Print writes each value and where it came from.
func Print(w io.Writer, values []Value) {
	for _, v := range values {
		fmt.Fprintf(w, "%-17s %-24q # %s\n", v.Key+":", v.Text, v.Source)
	}
}
