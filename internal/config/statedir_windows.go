package config

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// stateRights give the folder and all in it to the system and to administrators, and to nobody else.
const stateRights = "O:BAG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"

// protectStateDir makes the folder where there is none. In C:\ProgramData every user may make files in everybody's folders; what an agent keeps
// there it goes by.
func protectStateDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	d, err := windows.SecurityDescriptorFromString(stateRights)
	if err != nil {
		return err
	}
	owner, _, err := d.Owner()
	if err != nil {
		return err
	}
	dacl, _, err := d.DACL()
	if err != nil {
		return err
	}
	const what = windows.OWNER_SECURITY_INFORMATION | windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	if err := windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, what, owner, nil, dacl, nil); err != nil {
		return fmt.Errorf("rights of %s: %w", path, err)
	}
	return nil
}
