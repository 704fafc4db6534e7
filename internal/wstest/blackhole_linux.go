package wstest

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BlackHole returns the address of a loopback port on which connects neither succeed nor fail: its queue is full and nobody
// accepts, so that the kernel drops each SYN.
func BlackHole(tb testing.TB) string {
	tb.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		tb.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		tb.Fatal(err)
	}
	port := uint16(name.(*syscall.SockaddrInet4).Port)
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String()
	for range 16 {
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if full, ok := errors.AsType[net.Error](err); ok && full.Timeout() {
			return addr
		}
		if err != nil {
			tb.Fatalf("filling the queue of %s: %v", addr, err)
		}
		tb.Cleanup(func() { conn.Close() })
	}
	tb.Fatalf("the queue of %s does not fill", addr)
	return ""
}

// LimitDescriptors sets the process's limit of open descriptors, as ulimit -n does before the start.
func (p *Process) LimitDescriptors(n uint64) {
	p.tb.Helper()
	var limit unix.Rlimit
	err := unix.Prlimit(p.PID(), unix.RLIMIT_NOFILE, nil, &limit)
	if err == nil {
		limit.Cur = n
		err = unix.Prlimit(p.PID(), unix.RLIMIT_NOFILE, &limit, nil)
	}
	if err != nil {
		p.tb.Fatalf("limiting the gateway to %d descriptors: %v", n, err)
	}
}
