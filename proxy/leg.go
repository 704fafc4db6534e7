package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"time"
)

const (
	writeTimeout = 10 * time.Second
	lingerTime   = 500 * time.Millisecond
	lingerBytes  = 256 << 10
)

// A leg is one side of a session as the stream driver wants it.
type leg struct{ net.Conn }

// closeWriter is the half-close of TCP, TLS and Unix connections.
type closeWriter interface{ CloseWrite() error }

// CloseWrite ends the writing direction: close_notify and FIN on TLS.
func (l leg) CloseWrite() error {
	if cw, ok := l.Conn.(closeWriter); ok {
		if err := cw.CloseWrite(); err != nil {
			return err
		}
	}
	if tc, ok := l.Conn.(*tls.Conn); ok {
		if cw, ok := tc.NetConn().(closeWriter); ok {
			return cw.CloseWrite()
		}
	}
	return nil
}

// Abort resets the connection: the peer sees neither FIN nor close_notify, so
// it cannot take a part of a message for the whole.
func (l leg) Abort() error {
	c := l.Conn
	if tc, ok := c.(*tls.Conn); ok {
		c = tc.NetConn()
	}
	if a, ok := c.(aborter); ok {
		return a.Abort()
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	return c.Close()
}

// aborter is a connection that knows how to reset itself.
type aborter interface{ Abort() error }

// lingerClose ends the writing direction and takes what the peer still sends
// for a moment, so that a reset does not destroy the answer on its way.
func lingerClose(c net.Conn) {
	leg{c}.CloseWrite()
	c.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, c, lingerBytes)
	c.Close()
}
