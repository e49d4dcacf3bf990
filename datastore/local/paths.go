package local

import (
	"encoding/hex"
	"path"
	"strings"

	"crypto/sha256"

	v3 "github.com/felid-net/felid/api/v3"
)

// pathOf is where felid writes an object: KIND/[NAMESPACE/]NAME.json, relative to the directory, with slashes.
func pathOf(key v3.Key) string {
	if key.Namespace == "" {
		return path.Join(string(key.Kind), fileName(key.Name, ".json"))
	}
	return path.Join(string(key.Kind), fileName(key.Namespace, ""), fileName(key.Name, ".json"))
}

// fileName makes a name one that every file system takes: what is no letter, digit, '-', '_', '+' or inner '.' becomes %XX, and the end
// of a long one a hash.
func fileName(name, ext string) string {
	const longest = 200
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '+', c == '.' && i > 0 && i < len(name)-1:
			b.WriteByte(c)
		default:
			b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
	}
	if b.Len() <= longest {
		return b.String() + ext
	}
	sum := sha256.Sum256([]byte(name))
	return b.String()[:longest-33] + "%" + hex.EncodeToString(sum[:16]) + ext
}
