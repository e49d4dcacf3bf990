package v3

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// decodeQuickly reads the JSON that programs write: plain text, fields that are known, each once, of the right type. It reads it in one pass, where the general decoder needs several, and shares strings that occur again and again. False: there is
// something else in it, which the general decoder has to judge; o is to be thrown away. What it does read, it reads as that one does.
func decodeQuickly(data []byte, o Object) bool {
	v := reflect.ValueOf(o).Elem()
	read := quickReaderOf(v.Type())
	if read == nil {
		return false
	}
	q := quickPool.Get().(*quick)
	defer quickPool.Put(q)
	q.data, q.at = data, 0
	ok := read(q, v) && q.next() == 0
	q.data = nil
	return ok
}

// quick is where in its text a decoder is.
type quick struct {
	data  []byte
	at    int
	plain []byte // the last text that had escapes
	// seen are short strings that were met lately, by hash.
	seen [512]string
}

var quickPool = sync.Pool{New: func() any { return &quick{} }}

// quickReader reads one value into v; false: it is none that can be read quickly.
type quickReader func(q *quick, v reflect.Value) bool

// quickReaders are those of types, nil where there can't be one.
var quickReaders sync.Map

// quickReaderOf is nil for a type that has no quick reader.
func quickReaderOf(t reflect.Type) quickReader {
	if known, ok := quickReaders.Load(t); ok {
		return known.(quickReader)
	}
	read := newQuickReader(t)
	quickReaders.Store(t, read)
	return read
}

func newQuickReader(t reflect.Type) quickReader {
	switch {
	case reflect.PointerTo(t).Implements(unmarshalerType):
		return (*quick).unmarshaler
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return (*quick).text
	case reflect.Bool:
		return (*quick).boolean
	case reflect.Int, reflect.Int32, reflect.Int64:
		return (*quick).integer
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return (*quick).unsigned
	case reflect.Float64:
		return (*quick).float
	case reflect.Pointer:
		return newQuickPointer(t)
	case reflect.Slice:
		return newQuickList(t)
	case reflect.Map:
		return newQuickTable(t)
	case reflect.Struct:
		return newQuickStruct(t)
	}
	return nil
}

// next is the first byte that is no space; 0 at the end.
func (q *quick) next() byte {
	for ; q.at < len(q.data); q.at++ {
		switch c := q.data[q.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take goes past a byte, if it is the next.
func (q *quick) take(c byte) bool {
	if q.next() != c {
		return false
	}
	q.at++
	return true
}

// string is the text between quotes, until the next one is read.
func (q *quick) string() ([]byte, bool) {
	if !q.take('"') {
		return nil, false
	}
	start, escaped := q.at, false
	for ; q.at < len(q.data); q.at++ {
		switch c := q.data[q.at]; {
		case c == '"':
			text := q.data[start:q.at]
			q.at++
			if escaped {
				return q.unescape(text)
			}
			return text, true
		case c == '\\':
			escaped = true
			q.at++
		case c < ' ' || c > '~':
			return nil, false
		}
	}
	return nil, false
}

// unescape reads the escapes of what is plain all the same: quotes, and what encoders escape for the sake of HTML.
func (q *quick) unescape(text []byte) ([]byte, bool) {
	q.plain = q.plain[:0]
	for len(text) > 0 {
		plain, rest, escape := bytes.Cut(text, []byte{'\\'})
		q.plain, text = append(q.plain, plain...), rest
		switch {
		case !escape:
		case len(rest) > 0 && (rest[0] == '"' || rest[0] == '\\' || rest[0] == '/'):
			q.plain, text = append(q.plain, rest[0]), rest[1:]
		case len(rest) >= 5 && string(rest[:3]) == "u00":
			code, err := strconv.ParseUint(string(rest[3:5]), 16, 8)
			if err != nil || code < ' ' || code > '~' {
				return nil, false
			}
			q.plain, text = append(q.plain, byte(code)), rest[5:]
		default:
			return nil, false
		}
	}
	return q.plain, true
}

// share is text as a string: the same one as lately, where it is short.
func (q *quick) share(text []byte) string {
	if len(text) > 48 {
		return string(text)
	}
	hash := uint32(2166136261)
	for _, c := range text {
		hash = (hash ^ uint32(c)) * 16777619
	}
	place := &q.seen[(hash^hash>>16)%uint32(len(q.seen))]
	if *place != string(text) {
		*place = string(text)
	}
	return *place
}

func (q *quick) text(v reflect.Value) bool {
	text, ok := q.string()
	if ok {
		v.SetString(q.share(text))
	}
	return ok
}

// word is what is not between quotes: a number, true, false, null.
func (q *quick) word() string {
	q.next()
	start := q.at
	for q.at < len(q.data) && !strings.ContainsRune(" \t\r\n,]}:\"", rune(q.data[q.at])) {
		q.at++
	}
	return string(q.data[start:q.at])
}

func (q *quick) boolean(v reflect.Value) bool {
	word := q.word()
	v.SetBool(word == "true")
	return word == "true" || word == "false"
}

// isNumeral tells whether word is a number as JSON writes it.
func isNumeral(word string) bool {
	digits := strings.TrimPrefix(word, "-")
	return digits != "" && digits[0] >= '0' && digits[0] <= '9' && json.Valid([]byte(word))
}

func (q *quick) integer(v reflect.Value) bool {
	word := q.word()
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil || !isNumeral(word) || v.OverflowInt(n) {
		return false
	}
	v.SetInt(n)
	return true
}

func (q *quick) unsigned(v reflect.Value) bool {
	word := q.word()
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil || !isNumeral(word) || v.OverflowUint(n) {
		return false
	}
	v.SetUint(n)
	return true
}

func (q *quick) float(v reflect.Value) bool {
	word := q.word()
	n, err := strconv.ParseFloat(word, 64)
	if err != nil || !isNumeral(word) {
		return false
	}
	v.SetFloat(n)
	return true
}

// unmarshaler gives a text, a number or null to a type that reads itself.
func (q *quick) unmarshaler(v reflect.Value) bool {
	c := q.next()
	start := q.at
	switch {
	case c == '"':
		if _, ok := q.string(); !ok {
			return false
		}
	default:
		if word := q.word(); word != "null" && !isNumeral(word) {
			return false
		}
	}
	return v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(q.data[start:q.at]) == nil
}

func newQuickPointer(t reflect.Type) quickReader {
	read := quickReaderOf(t.Elem())
	if read == nil {
		return nil
	}
	return func(q *quick, v reflect.Value) bool {
		if q.next() == 'n' {
			return q.word() == "null"
		}
		to := reflect.New(t.Elem())
		v.Set(to)
		return read(q, to.Elem())
	}
}

func newQuickList(t reflect.Type) quickReader {
	read := quickReaderOf(t.Elem())
	if read == nil || t.Elem().Kind() == reflect.Uint8 { // bytes are written as a text
		return nil
	}
	return func(q *quick, v reflect.Value) bool {
		n, ok := q.count()
		if !ok {
			return false
		}
		list := reflect.MakeSlice(t, n, n)
		for i := range n {
			if i > 0 && !q.take(',') || !read(q, list.Index(i)) {
				return false
			}
		}
		v.Set(list)
		return q.take(']')
	}
}

// count goes into a list, and tells how many elements it has: or would have, if all of it is as it should be.
func (q *quick) count() (n int, ok bool) {
	if !q.take('[') {
		return 0, false
	}
	if q.next() == ']' {
		return 0, true
	}
	depth, quoted := 0, false
	for i := q.at; i < len(q.data); i++ {
		switch c := q.data[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
			if c == '\\' {
				i++
			}
		case c == '[' || c == '{':
			depth++
		case depth == 0 && c == ']':
			return n + 1, true
		case c == ']' || c == '}':
			depth--
		case depth == 0 && c == ',':
			n++
		}
	}
	return 0, false
}

func newQuickTable(t reflect.Type) quickReader {
	if t != reflect.TypeFor[map[string]string]() {
		return nil
	}
	return func(q *quick, v reflect.Value) bool {
		table := map[string]string{}
		v.Set(reflect.ValueOf(table))
		return q.fields(func(key []byte) bool {
			if _, twice := table[string(key)]; twice {
				return false
			}
			value, ok := "", false
			if text, isText := q.string(); isText {
				value, ok = q.share(text), true
			}
			table[q.share(key)] = value
			return ok
		})
	}
}

// fields reads an object, each of its values by read.
func (q *quick) fields(read func(key []byte) bool) bool {
	if !q.take('{') {
		return false
	}
	if q.take('}') {
		return true
	}
	for {
		key, ok := q.string()
		if !ok || !q.take(':') || !read(key) {
			return false
		}
		if !q.take(',') {
			return q.take('}')
		}
	}
}

// quickField is a field of a struct, or of a struct that is embedded there.
type quickField struct {
	path []int
	read quickReader // nil: it can't be read quickly
	bit  uint64
}

func newQuickStruct(t reflect.Type) quickReader {
	fields := map[string]*quickField{}
	if !quickFields(t, nil, fields) || len(fields) > 64 {
		return nil
	}
	return func(q *quick, v reflect.Value) bool {
		seen := uint64(0)
		return q.fields(func(key []byte) bool {
			f := fields[string(key)]
			if f == nil || f.read == nil || seen&f.bit != 0 {
				return false
			}
			seen |= f.bit
			return f.read(q, v.FieldByIndex(f.path))
		})
	}
}

// quickFields adds the fields of a struct; false where the general decoder's rules for them are more than a name.
func quickFields(t reflect.Type, path []int, fields map[string]*quickField) bool {
	for f := range t.Fields() {
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		at := append(append([]int{}, path...), f.Index...)
		switch {
		case tag == "-" || !f.IsExported():
			continue
		case name == "" && f.Anonymous && f.Type.Kind() == reflect.Struct:
			if !quickFields(f.Type, at, fields) {
				return false
			}
			continue
		case name == "" || fields[name] != nil || strings.Contains(options, "string"):
			return false
		}
		fields[name] = &quickField{path: at, read: quickReaderOf(f.Type), bit: 1 << len(fields)}
	}
	return true
}
