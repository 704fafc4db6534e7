//go:build unix

package upstream

import (
	"net"
	"syscall"
	"testing"
)

// checkSocket reads back the options that Dial promises.
func checkSocket(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for _, option := range []struct{ level, name int }{{syscall.IPPROTO_TCP, syscall.TCP_NODELAY}, {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}} {
			if v, err := syscall.GetsockoptInt(int(fd), option.level, option.name); err != nil || v == 0 {
				t.Errorf("socket option %+v is %d, %v, want it on", option, v, err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
