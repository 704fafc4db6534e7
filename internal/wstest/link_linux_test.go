package wstest

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// A link carries bytes, loses packets without losing bytes, and carries nothing while it is cut.
func TestLink(t *testing.T) {
	t.Parallel()
	if !InNamespace(t) {
		return
	}
	l := NewLink(t)
	ln := l.Listen()
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			accepted <- conn
		}
	}()
	near, err := net.DialTimeout("tcp", ln.Addr().String(), Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far := <-accepted
	defer far.Close()
	far.SetDeadline(time.Now().Add(Patience))

	l.Lose(50)
	sent := bytes.Repeat([]byte("0123456789"), 30_000)
	go near.Write(sent)
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("over a wire that loses packets: %v, alike %t", err, bytes.Equal(got, sent))
	}
	if l.Lost() == 0 {
		t.Error("no packet was lost")
	}
	l.Lose(0)

	l.Cut(true)
	near.Write([]byte("held"))
	far.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := far.Read(got); err == nil {
		t.Errorf("%d bytes came over a cut wire", n)
	}
	l.Cut(false)
	far.SetReadDeadline(time.Now().Add(Patience))
	if n, err := io.ReadFull(far, got[:4]); err != nil || string(got[:n]) != "held" {
		t.Errorf("after the cut: %q, %v", got[:n], err)
	}
}
