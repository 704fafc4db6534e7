package upstream

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"
)

func TestProxyHeaderV1(t *testing.T) {
	for _, tt := range []struct{ client, local, want string }{
		{"192.0.2.7:4711", "198.51.100.1:443", "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"},
		{"192.0.2.7:0", "198.51.100.1:443", "PROXY TCP4 192.0.2.7 198.51.100.1 0 443\r\n"},
		{"[2001:db8::7]:4711", "[2001:db8::1]:443", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n"},
		{"[2001:db8::7]:0", "10.0.0.1:443", "PROXY TCP6 2001:db8::7 ::ffff:10.0.0.1 0 443\r\n"},
		{"[::ffff:192.0.2.7]:4711", "198.51.100.1:443", "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"},
		{"[fe80::1%eth0]:4711", "[fe80::2%eth0]:443", "PROXY TCP6 fe80::1 fe80::2 4711 443\r\n"},
	} {
		h := Hop{Client: netip.MustParseAddrPort(tt.client), Local: netip.MustParseAddrPort(tt.local)}
		if got, err := h.header(1); err != nil || string(got) != tt.want {
			t.Errorf("%v: %q, %v; want %q", h, got, err, tt.want)
		}
	}
	for _, h := range []Hop{{}, {Client: netip.MustParseAddrPort("192.0.2.7:1")}} {
		if got, err := h.header(1); err != nil || string(got) != "PROXY UNKNOWN\r\n" {
			t.Errorf("%v: %q, %v", h, got, err)
		}
	}
}

func TestProxyHeaderV2(t *testing.T) {
	h := Hop{Client: netip.MustParseAddrPort("192.0.2.7:4711"), Local: netip.MustParseAddrPort("[2001:db8::1]:443")}
	b, err := h.header(2)
	if err != nil {
		t.Fatal(err)
	}
	got, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(b)))
	if err != nil || got.Version != 2 || got.Command != proxyproto.PROXY || got.SourceAddr.String() != "192.0.2.7:4711" || got.DestinationAddr.String() != "[2001:db8::1]:443" {
		t.Errorf("got %+v, %v", got, err)
	}
	if b, err = (Hop{}).header(2); err != nil {
		t.Fatal(err)
	}
	if got, err = proxyproto.Read(bufio.NewReader(bytes.NewReader(b))); err != nil || !got.Command.IsLocal() {
		t.Errorf("of the gateway's own: %+v, %v", got, err)
	}
}

// The header comes first, before TLS, once for each connection; a check says that it is the gateway's own.
func TestProxyHeaderOnTheWire(t *testing.T) {
	t.Parallel()
	hop := Hop{Client: netip.MustParseAddrPort("192.0.2.7:4711"), Local: netip.MustParseAddrPort("198.51.100.1:443")}
	for _, tt := range []struct {
		version string
		hop     Hop
		secure  bool
		want    string // of the first bytes
	}{
		{"v1", hop, false, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\nhi"},
		{"v1", Hop{}, false, "PROXY UNKNOWN\r\nhi"},
		{"v1", hop, true, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n\x16\x03\x01"},
		{"v2", hop, false, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbbhi"},
		{"v2", Hop{}, false, "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00hi"},
		{"", hop, false, "hi"},
	} {
		l := listen(t, "tcp")
		scheme := "ws://"
		if tt.secure {
			scheme = "wss://"
		}
		s := mustCompile(t, Config{Servers: urls(scheme + l.Addr().String()), ProxyProtocol: tt.version}).Servers()[0]
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := s.DialWrapped(ctx, tt.hop, func(c net.Conn) net.Conn { return c })
			if err == nil {
				conn.Write([]byte("hi"))
				conn.Close()
			}
		}()
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(tt.want))
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != tt.want {
			t.Errorf("%s %v secure %t: %q, %v; want %q", tt.version, tt.hop, tt.secure, got, err, tt.want)
		}
		cancel()
		peer.Close()
		<-done
	}
}
