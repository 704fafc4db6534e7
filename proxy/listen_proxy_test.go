package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

// proxyHeader is a header of version 2.
func proxyHeader(t testing.TB, source, destination string, tlvs ...proxyproto.TLV) []byte {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(2, tcpAddr(t, source), tcpAddr(t, destination))
	if err := h.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tcpAddr(t testing.TB, text string) net.Addr {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// v2 is a header of version 2 with the bytes that follow the signature.
func v2(rest string) string { return string(proxyproto.SIGV2) + rest }

const behind = "\x16\x03\x01 what TLS must see"

// However a header comes, nothing behind it is read.
func TestReadProxyHeader(t *testing.T) {
	t.Parallel()
	long := proxyproto.TLV{Type: 0xE0, Value: make([]byte, 4000)}
	for name, row := range map[string]struct{ header, client, local string }{
		"v1":                {"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n", "192.0.2.7:4711", "198.51.100.1:443"},
		"v1, IPv6":          {"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "[2001:db8::7]:4711", "[2001:db8::1]:443"},
		"v1, nobody":        {"PROXY UNKNOWN\r\n", "10.0.0.1:1", "10.0.0.2:2"},
		"v1, nobody, words": {"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "10.0.0.1:1", "10.0.0.2:2"},
		"v2":                {string(proxyHeader(t, "192.0.2.7:4711", "198.51.100.1:443")), "192.0.2.7:4711", "198.51.100.1:443"},
		"v2, IPv6":          {string(proxyHeader(t, "[2001:db8::7]:4711", "[2001:db8::1]:443")), "[2001:db8::7]:4711", "[2001:db8::1]:443"},
		"v2, IPv4 in IPv6":  {v2("\x21\x21\x00\x24" + strings.Repeat("\x00", 10) + "\xff\xff\xc0\x00\x02\x07" + strings.Repeat("\x00", 15) + "\x01" + "\x12\x67\x01\xbb"), "192.0.2.7:4711", "[::1]:443"},
		"v2, long":          {string(proxyHeader(t, "192.0.2.7:4711", "198.51.100.1:443", long)), "192.0.2.7:4711", "198.51.100.1:443"},
		"v2, LOCAL":         {v2("\x20\x00\x00\x00"), "10.0.0.1:1", "10.0.0.2:2"},
		"v2, LOCAL, words":  {v2("\x20\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbb"), "10.0.0.1:1", "10.0.0.2:2"},
		"v2, Unix":          {v2("\x21\x31\x00\xd8" + strings.Repeat("/", 216)), "10.0.0.1:1", "10.0.0.2:2"},
	} {
		in := strings.NewReader(row.header + behind)
		for way, r := range map[string]io.Reader{"whole": in, "byte by byte": iotest.OneByteReader(in)} {
			in.Reset(row.header + behind)
			p := peer{client: addrPort(tcpAddr(t, "10.0.0.1:1")), local: addrPort(tcpAddr(t, "10.0.0.2:2"))}
			h, err := readProxyHeader(r)
			if err == nil {
				err = p.introduced(h)
			}
			rest, _ := io.ReadAll(in)
			if err != nil || p.client.String() != row.client || p.local.String() != row.local || string(rest) != behind {
				t.Errorf("%s, %s: client %v, local %v, %q left, %v", name, way, p.client, p.local, rest, err)
			}
		}
	}
}

func TestReadProxyHeaderRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"HTTP":                     "GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
		"TLS":                      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 100),
		"lower case":               "proxy TCP4 192.0.2.7 198.51.100.1 4711 443\r\n",
		"bare LF":                  "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n",
		"two spaces":               "PROXY  TCP4 192.0.2.7 198.51.100.1 4711 443\r\n",
		"leading zero of a port":   "PROXY TCP4 192.0.2.7 198.51.100.1 0443 443\r\n",
		"port too large":           "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
		"leading zero of an octet": "PROXY TCP4 192.0.02.7 198.51.100.1 1 443\r\n",
		"zone":                     "PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n",
		"UDP of v1":                "PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n",
		"more words":               "PROXY TCP4 192.0.2.7 198.51.100.1 1 443 x\r\n",
		"line without end":         "PROXY TCP4 " + strings.Repeat("1", 10_000),
		"line ends early":          "PROXY \r\nUNKNOWN\r\n",
		"wrong version":            v2("\x31\x11\x00\x0c" + strings.Repeat("x", 12)),
		"wrong command":            v2("\x22\x11\x00\x0c" + strings.Repeat("x", 12)),
		"wrong family":             v2("\x21\x13\x00\x0c" + strings.Repeat("x", 12)),
		"no family":                v2("\x21\x00\x00\x00"),
		"too short for IPv4":       v2("\x21\x11\x00\x0b" + strings.Repeat("x", 11)),
		"too long":                 v2("\x21\x11\x10\x01" + strings.Repeat("x", 5000)),
		"longest":                  v2("\x21\x11\xff\xff" + strings.Repeat("x", 70_000)),
		"TLV past the end":         v2("\x21\x11\x00\x0f\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbb\x02\x00\x09"),
		"TLV without a length":     v2("\x21\x11\x00\x0d\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbb\x02"),
		"nearly a signature":       "\r\n\r\n\x00\r\nQUIT\r\x21\x11\x00\x0c" + strings.Repeat("x", 12),
		"cut in v1":                "PROXY TCP4 192.0.2.7 198.51.100.1",
		"cut in v2":                v2("\x21\x11\x00\x0c\xc0\x00"),
		"cut before":               "PROXY",
	} {
		in := strings.NewReader(text)
		h, err := readProxyHeader(in)
		if err == nil {
			err = new(peer).introduced(h)
		}
		if read := len(text) - in.Len(); err == nil || err == io.EOF || read > proxyV2Prefix+int(proxyproto.MaxV2HeaderSize) {
			t.Errorf("%s: %d bytes read, %v", name, read, err)
		}
	}
	if _, err := readProxyHeader(strings.NewReader("")); err != io.EOF {
		t.Errorf("nothing at all: %v, want EOF", err)
	}
}

// What is accepted is what the library makes of the same bytes, and is as long as that.
func FuzzReadProxyHeader(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\nx", "PROXY UNKNOWN\r\n", "PROXY TCP6 ::1 ::1 1 2\r\n", v2("\x20\x00\x00\x00x"),
		v2("\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbbx"), v2("\x21\x31\x00\xd8" + strings.Repeat("/", 216)), "PROXY \r\n",
		string(proxyHeader(f, "[2001:db8::7]:4711", "[2001:db8::1]:443", proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte("app")})),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bytes.NewReader(data)
		got, err := readProxyHeader(in)
		buffered := bufio.NewReaderSize(bytes.NewReader(data), max(len(data), 16))
		want, wantErr := proxyproto.Read(buffered)
		if err != nil {
			if wantErr == nil && in.Len() != buffered.Buffered() {
				t.Fatalf("refused a header that the library takes: %v", err)
			}
			return
		}
		if wantErr != nil || !got.EqualsTo(want) || in.Len() != buffered.Buffered() {
			t.Fatalf("got %v with %d bytes left, the library %v with %d, %v", got, in.Len(), want, buffered.Buffered(), wantErr)
		}
		var p peer
		if p.introduced(got) == nil && p.client.IsValid() != p.local.IsValid() {
			t.Errorf("client %v, local %v", p.client, p.local)
		}
	})
}

// The header has the time of the TLS handshake, in all. Where nothing comes and the client goes, the port was checked.
func TestProxyHeaderHasTime(t *testing.T) {
	t.Parallel()
	const header = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
	for name, row := range map[string]struct {
		at     int           // bytes that come at once
		every  time.Duration // between the others
		want   time.Duration
		reason string // counted
	}{
		"quick":              {len(header), 0, 0, ""},
		"one in 100 ms":      {0, 100 * time.Millisecond, 4400 * time.Millisecond, ""},
		"one in 300 ms":      {0, 300 * time.Millisecond, tlsTimeout, proxySlow},
		"half, then nothing": {20, time.Hour, tlsTimeout, proxySlow},
		"nothing":            {0, time.Hour, tlsTimeout, proxySlow},
		"half, then the end": {20, -1, 0, proxyMalformed},
		"the end":            {0, -1, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, book := newLog()
				l := &listener{server: &Server{log: log, metrics: newMetrics("test")}}
				client, server := net.Pipe()
				var sending sync.WaitGroup
				defer sending.Wait()
				sending.Go(func() {
					client.Write([]byte(header[:row.at]))
					if row.every < 0 {
						client.Close()
						return
					}
					dribble(client, []byte(header[row.at:]), row.every)()
				})
				ctx, cancel := context.WithTimeout(t.Context(), tlsTimeout)
				defer cancel()
				start, c := time.Now(), &headConn{Conn: server, raw: server}
				ok, checked := l.introduce(ctx, c), row.at == 0 && row.every < 0
				if ok != (row.reason == "" && !checked) || ok && c.client.String() != "192.0.2.7:4711" {
					t.Errorf("introduced %t, client %v", ok, c.client)
				}
				wantAfter(t, start, row.want)
				server.Close()
				var counts, want float64
				for _, reason := range []string{proxyMalformed, proxySlow} {
					counts += counted(l.server.metrics.proxyErrors.WithLabelValues(reason))
				}
				if row.reason != "" {
					want = 1
				}
				if counts != want || want > 0 && counted(l.server.metrics.proxyErrors.WithLabelValues(row.reason)) != 1 || len(book.lines(t, "refused")) != int(want) {
					t.Errorf("%v counted and %d logged, want %v of %q", counts, len(book.lines(t, "refused")), want, row.reason)
				}
			})
		})
	}
}
