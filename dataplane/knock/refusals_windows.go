package knock

import "golang.org/x/sys/windows"

// refusals are what a packet that was rejected on its way shows as.
var refusals = []error{
	windows.WSAECONNREFUSED, windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAEHOSTUNREACH, windows.WSAENETUNREACH,
}
