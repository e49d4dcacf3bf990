package iptables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// KernelSign asks the kernel of the calling thread's network namespace.
func KernelSign(v Variant, f Family, table string) (uint64, error) {
	if v == NFT {
		return generation()
	}
	return tableInfo(f, table)
}

// generation of nf_tables (NFT_MSG_GETGEN): it goes up with each transaction in the network namespace.
func generation() (uint64, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, fmt.Errorf("nf_tables generation: %w", err)
	}
	defer c.Close()
	replies, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil {
		return 0, fmt.Errorf("nf_tables generation: %w", err)
	}
	for _, m := range replies {
		if len(m.Data) < 4 {
			continue
		}
		attrs, err := netlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			return 0, fmt.Errorf("nf_tables generation: %w", err)
		}
		attrs.ByteOrder = binary.BigEndian
		for attrs.Next() {
			if attrs.Type() == unix.NFTA_GEN_ID {
				return uint64(attrs.Uint32()), nil
			}
		}
	}
	return 0, fmt.Errorf("nf_tables generation: no reply")
}

// IPT_SO_GET_INFO and IP6T_SO_GET_INFO, linux/netfilter_ipv4/ip_tables.h.
const soGetInfo = 64

// tableInfo hashes struct ipt_getinfo: hooks, their offsets, the number of entries and their size in bytes. 0 where nobody has used the
// table yet.
func tableInfo(f Family, table string) (uint64, error) {
	family, level, names := unix.AF_INET, unix.SOL_IP, "/proc/thread-self/net/ip_tables_names"
	if f == IPv6 {
		family, level, names = unix.AF_INET6, unix.SOL_IPV6, "/proc/thread-self/net/ip6_tables_names"
	}
	// The kernel would make the table to answer, and legacy tables cost every packet.
	inUse, err := os.ReadFile(names)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !slices.Contains(strings.Split(string(inUse), "\n"), table) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("table info: %w", err)
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return 0, fmt.Errorf("table info: %w", err)
	}
	defer unix.Close(fd)
	var info [84]byte
	copy(info[:31], table)
	size := uint32(len(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), soGetInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	switch errno {
	case 0:
	case unix.ENOENT, unix.ENOPROTOOPT:
		return 0, nil
	default:
		return 0, fmt.Errorf("table info: %w", errno)
	}
	return fnv(fnvOffset, string(info[:])), nil
}
