//go:build unix

package proxy

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sockets returns duplicates of the listening sockets, the admin listener's
// included, for a process that is to take this one's place: see NewSockets. The
// caller closes them. What accepts on either accepts from one queue.
func (s *Server) Sockets() (files []*os.File, err error) {
	add := func(ln net.Listener, address string) {
		f, e := duplicate(ln, SocketName(address))
		if e != nil {
			err = fmt.Errorf("duplicating the socket of %s: %w", address, e)
			return
		}
		files = append(files, f)
	}
	for _, l := range s.listeners() {
		add(l.ln, l.address)
	}
	if s.admin != nil {
		add(s.admin.ln, s.admin.address)
	}
	if err != nil {
		for _, f := range files {
			f.Close()
		}
		return nil, err
	}
	return files, nil
}

// duplicate is what (*net.TCPListener).File would be, if asking the result for
// its descriptor did not make both of them blocking.
func duplicate(ln net.Listener, name string) (*os.File, error) {
	c, ok := ln.(syscall.Conn)
	if !ok {
		return nil, unix.ENOTSUP
	}
	rc, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if e := rc.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
