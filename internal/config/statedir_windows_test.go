package config

import (
	"path/filepath"
	"regexp"
	"testing"

	"golang.org/x/sys/windows"
)

// TestStateDirIsProtected: nobody but the system and administrators writes there, whoever had made it. Wine keeps rights as Linux' modes, in which
// everybody may read what a group may.
func TestStateDirIsProtected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "felid")
	for range 2 {
		if err := protectStateDir(path); err != nil {
			t.Fatal(err)
		}
	}
	d, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"WD", "BU", "AU"} { // everyone, users, authenticated users
		if regexp.MustCompile(`;(FA|0x1301bf|0x1f01ff);;;` + who).MatchString(d.String()) {
			t.Errorf("rights %s", d)
		}
	}
}
