package adapters

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

// asked are the flags of GetAdaptersAddresses: unicast addresses and gateways of this compartment's adapters, and no prefixes.
const asked = windows.GAA_FLAG_SKIP_ANYCAST | windows.GAA_FLAG_SKIP_MULTICAST | windows.GAA_FLAG_SKIP_DNS_SERVER | windows.GAA_FLAG_INCLUDE_GATEWAYS

// firstBuffer is what Microsoft recommends to begin with, in bytes; moreBuffers bounds how often a host may have got more adapters between
// saying how much it needs and being asked again.
const (
	firstBuffer = 15 << 10
	moreBuffers = 8
)

// List are the adapters of the host.
func List() ([]Adapter, error) {
	size := uint32(firstBuffer)
	for range moreBuffers {
		buffer := make([]uint64, (size+7)/8) // aligned as the structures in it are
		first := (*windows.IpAdapterAddresses)(unsafe.Pointer(&buffer[0]))
		err := windows.GetAdaptersAddresses(windows.AF_UNSPEC, asked, 0, first, &size)
		switch {
		case err == nil && size == 0, errors.Is(err, windows.ERROR_NO_DATA):
			return nil, nil
		case err == nil:
			return adaptersOf(first), nil
		case !errors.Is(err, windows.ERROR_BUFFER_OVERFLOW):
			return nil, fmt.Errorf("GetAdaptersAddresses: %w", err)
		}
	}
	return nil, fmt.Errorf("GetAdaptersAddresses: wants more than %d bytes each time it is asked", size)
}

func adaptersOf(first *windows.IpAdapterAddresses) []Adapter {
	var out []Adapter
	for a := first; a != nil; a = a.Next {
		index := a.IfIndex
		if index == 0 {
			index = a.Ipv6IfIndex
		}
		adapter := Adapter{
			Index: index, LUID: a.Luid, Name: windows.UTF16PtrToString(a.FriendlyName), Description: windows.UTF16PtrToString(a.Description),
			Compartment: a.CompartmentId, Up: a.OperStatus == windows.IfOperStatusUp, Loopback: a.IfType == windows.IF_TYPE_SOFTWARE_LOOPBACK, MTU: a.Mtu,
		}
		for u := a.FirstUnicastAddress; u != nil; u = u.Next {
			if address, ok := addressOf(sockaddr(u.Address), u.OnLinkPrefixLength, u.DadState); ok {
				adapter.Addresses = append(adapter.Addresses, address)
			}
		}
		for g := a.FirstGatewayAddress; g != nil; g = g.Next {
			if ip, ok := addrOf(sockaddr(g.Address)); ok {
				adapter.Gateways = append(adapter.Gateways, ip)
			}
		}
		out = append(out, adapter)
	}
	return out
}

// sockaddr are the bytes that a SOCKET_ADDRESS leads to.
func sockaddr(a windows.SocketAddress) []byte {
	if a.Sockaddr == nil || a.SockaddrLength <= 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(a.Sockaddr)), a.SockaddrLength)
}

// listeners are woken by every notice. A callback can never be freed, and so there is one for the process, whoever listens.
var listeners struct {
	sync.Mutex
	wake map[chan<- struct{}]struct{}
}

var onChange = sync.OnceValue(func() uintptr {
	return windows.NewCallback(func(context, row, kind uintptr) uintptr {
		listeners.Lock()
		defer listeners.Unlock()
		for wake := range listeners.wake {
			select {
			case wake <- struct{}{}:
			default: // it has been told
			}
		}
		return 0
	})
})

// notify sends to notices whenever a unicast address of the host comes, goes or changes, and at once.
func notify(notices chan<- struct{}) (stop func(), err error) {
	listeners.Lock()
	if listeners.wake == nil {
		listeners.wake = map[chan<- struct{}]struct{}{}
	}
	listeners.wake[notices] = struct{}{}
	listeners.Unlock()
	forget := func() {
		listeners.Lock()
		defer listeners.Unlock()
		delete(listeners.wake, notices)
	}
	var handle windows.Handle
	if err := windows.NotifyUnicastIpAddressChange(windows.AF_UNSPEC, onChange(), nil, true, &handle); err != nil {
		forget()
		return nil, fmt.Errorf("NotifyUnicastIpAddressChange: %w", err)
	}
	return func() {
		_ = windows.CancelMibChangeNotify2(handle) // waits for a callback that runs; it fails for a handle that is not one
		forget()
	}, nil
}
