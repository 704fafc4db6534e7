package main_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	proxyproto "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"github.com/framegate/framegate/internal/wstest"
)

// startBalancer passes connections of TCP on to addr, each behind the bytes of header. What it makes ends with the test.
func startBalancer(t *testing.T, addr string, header []byte) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	address := wstest.Serve(t, func(client net.Conn) {
		defer client.Close()
		server, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer server.Close()
		defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
		server.Write(header)
		back := make(chan struct{})
		go func() {
			defer close(back)
			io.Copy(client, server)
			client.(*net.TCPConn).CloseWrite()
		}()
		io.Copy(server, client)
		server.(*net.TCPConn).CloseWrite()
		<-back
	})
	t.Cleanup(cancel) // before Serve waits
	return address
}

// balancerHeader is a header of version 2.
func balancerHeader(t *testing.T, client, local string, tlvs ...proxyproto.TLV) []byte {
	t.Helper()
	source, _ := net.ResolveTCPAddr("tcp", client)
	destination, _ := net.ResolveTCPAddr("tcp", local)
	h := proxyproto.HeaderProxyFromAddrs(2, source, destination)
	if err := h.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// told is an application behind the PROXY protocol. It answers, by HTTP and by WebSocket, with what it is told of the client, and echoes one message.
func told(t *testing.T) (addr string) {
	t.Helper()
	type connKey struct{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(connKey{}).(*proxyproto.Conn)
		tlvs, _ := c.ProxyHeader().TLVs()
		text := fmt.Sprintf("%s to %s for %s by %s", c.RemoteAddr(), c.LocalAddr(), r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"))
		for _, tlv := range tlvs {
			text += fmt.Sprintf(" %#x", byte(tlv.Type))
		}
		if r.Header.Get("Upgrade") == "" {
			io.WriteString(w, text)
			return
		}
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer ws.CloseNow()
		ws.Write(r.Context(), websocket.MessageText, []byte(text))
		if _, message, err := ws.Read(r.Context()); err == nil {
			ws.Write(r.Context(), websocket.MessageText, message)
			ws.Read(r.Context())
		}
	}))
	s.Listener = &proxyproto.Listener{Listener: s.Listener, ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.REQUIRE, nil }}
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// startBehind starts a gateway behind load balancers of some networks: one listener with TLS, and one without.
func startBehind(t *testing.T, app, from, more string) *wstest.Process {
	t.Helper()
	return wstest.Start(t, fmt.Sprintf(`
listeners:
  - {address: "127.0.0.1:0", tls: {certificates: internal}, protocols: [h1, h2], proxy_protocol: {from: [%s]}%s}
  - {address: "127.0.0.1:0", tls: {certificates: "off"}, protocols: [h1], proxy_protocol: {from: [%[1]s]}%[2]s}
routes: [{name: app, hosts: [app.example.com], upstream: app, policies: [p]}]
upstreams: {app: {servers: ["ws://%[3]s"], proxy_protocol: v2}}
policies: {p: {addresses: {deny: [203.0.113.0/24]}, origin: {absent: allow}}}
log: {level: debug}
`, from, more, app))
}

// TestRowsBalancer has load balancers tell by the PROXY protocol who the client is: that is whom policies, logs, header fields and servers hear of, on
// every version of HTTP, with TLS behind the header or before the load balancer.
func TestRowsBalancer(t *testing.T) {
	t.Parallel()
	authority := proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte("app.example.com")}
	unique := proxyproto.TLV{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: []byte("id-1")}
	own := []proxyproto.TLV{{Type: proxyproto.PP2_TYPE_NOOP, Value: []byte("x")}, {Type: proxyproto.PP2_TYPE_CRC32C, Value: make([]byte, 4)}} // of one hop alone
	ssl, err := tlvparse.PP2SSL{Client: tlvparse.PP2_BITFIELD_CLIENT_SSL, TLV: []proxyproto.TLV{{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte("TLSv1.3")}}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	p := startBehind(t, told(t), "127.0.0.1", ", trusted_proxies: [198.51.100.7]")
	sealed, plain := p.Addrs[0], p.Addrs[1]
	config := p.ClientTLS()
	config.ServerName = "app.example.com"
	for name, row := range map[string]struct {
		header        []byte
		fields        []string
		sealed, plain string // answers; of what is refused empty
	}{
		"v1":             {[]byte("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"), nil, "192.0.2.7:4711 to 198.51.100.1:443 for 192.0.2.7 by https", "192.0.2.7:4711 to 198.51.100.1:443 for 192.0.2.7 by http"},
		"v2":             {balancerHeader(t, "[2001:db8::7]:4711", "[2001:db8::1]:443"), nil, "[2001:db8::7]:4711 to [2001:db8::1]:443 for 2001:db8::7 by https", "[2001:db8::7]:4711 to [2001:db8::1]:443 for 2001:db8::7 by http"},
		"v2 with more":   {balancerHeader(t, "192.0.2.7:4711", "198.51.100.1:443", append(own, authority, unique)...), nil, "192.0.2.7:4711 to 198.51.100.1:443 for 192.0.2.7 by https 0x2 0x5", "192.0.2.7:4711 to 198.51.100.1:443 for 192.0.2.7 by http 0x2 0x5"},
		"TLS before it":  {balancerHeader(t, "192.0.2.7:4711", "198.51.100.1:443", ssl), nil, "192.0.2.7:4711 to 198.51.100.1:443 for 192.0.2.7 by https 0x20", "192.0.2.7:4711 to 198.51.100.1:443 for 192.0.2.7 by https 0x20"},
		"a client lies":  {balancerHeader(t, "192.0.2.7:4711", "198.51.100.1:443"), []string{"X-Forwarded-For: 10.0.0.1"}, "192.0.2.7:4711 to 198.51.100.1:443 for 192.0.2.7 by https", "192.0.2.7:4711 to 198.51.100.1:443 for 192.0.2.7 by http"},
		"a proxy before": {balancerHeader(t, "198.51.100.7:4711", "198.51.100.1:443", authority), []string{"X-Forwarded-For: 192.0.2.9"}, "192.0.2.9:0 to 198.51.100.1:443 for 192.0.2.9, 198.51.100.7 by https", "192.0.2.9:0 to 198.51.100.1:443 for 192.0.2.9, 198.51.100.7 by http"},
		"who is denied":  {balancerHeader(t, "203.0.113.9:4711", "198.51.100.1:443"), nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sealed, plain := startBalancer(t, sealed, row.header), startBalancer(t, plain, row.header)
			request := wstest.HS0("/ws").Without("Origin").Add(row.fields...)
			session := func(way string, c *wstest.Client, status int, want string) {
				t.Helper()
				switch {
				case want == "" && status != 403 || want != "" && status != 101 && status != 200:
					t.Errorf("%s: status %d, want %q", way, status, want)
				case want != "":
					if got := string(c.Frame().Payload); got != want {
						t.Errorf("%s: the server is told %q, want %q", way, got, want)
					}
					c.Send(wstest.ClientFrame(0x81, []byte("hello")))
					c.ExpectFrame(0x81, []byte("hello"))
				}
			}
			c := wstest.Dial(t, plain)
			c.Send(request.Bytes())
			session("HTTP/1.1", c, c.Head().Status, row.plain)
			c = wstest.DialTLS(t, sealed, config)
			c.Send(request.Bytes())
			session("HTTP/1.1, TLS", c, c.Head().Status, row.sealed)
			s := wstest.OpenStream(t, wstest.HTTP2(t, sealed, config), request)
			session("HTTP/2", s.Client, s.Status, row.sealed)
			c = wstest.Dial(t, plain)
			c.Send(wstest.Plain("/page").Add(row.fields...).Bytes())
			if resp := c.Response(); row.plain == "" && resp.Status != 403 || row.plain != "" && string(resp.Body) != row.plain {
				t.Errorf("page: %q, %q, want %q", resp.Line, resp.Body, row.plain)
			}
		})
	}
	t.Cleanup(func() {
		for _, line := range p.Logs("refused") {
			if client, _ := line["client"].(string); client != "203.0.113.9:4711" {
				t.Errorf("the log says %v, want the client of the header", line)
			}
		}
	})
}

// TestRowsBalancerWithout sends what is no header where one must be, and a header where none may be.
func TestRowsBalancerWithout(t *testing.T) {
	t.Parallel()
	p := startBehind(t, told(t), "127.0.0.1", "")
	malformed := map[string][]byte{
		"no header": wstest.Plain("/page").Bytes(), "no header, TLS": wstest.ClientHello(t, p.ClientTLS()),
		"malformed": []byte("PROXY TCP4 192.0.2.7 198.51.100.1 04711 443\r\n"), "version 3": []byte("\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x00"),
	}
	for name, sent := range malformed {
		for i, addr := range p.Addrs[:2] {
			c := wstest.Dial(t, addr)
			c.Send(sent)
			if rest := c.ExpectEnd(wstest.Patience); len(rest) > 0 {
				t.Errorf("%s, listener %d: answered with %q", name, i, rest)
			}
		}
	}
	wstest.Dial(t, p.Addrs[0]).Close() // a check of the port
	if lines := p.WaitLogs("refused", 2*len(malformed)); len(lines) != 2*len(malformed) || lines[0]["reason"] != "no PROXY header" {
		t.Errorf("%d lines, the first %v", len(lines), lines[0])
	}
	if got := p.Metrics()[`framegate_proxy_protocol_errors_total{reason="malformed"}`]; got != float64(2*len(malformed)) {
		t.Errorf("%v counted, want %d", got, 2*len(malformed))
	}

	elsewhere := startBehind(t, told(t), "192.0.2.0/24", "")
	header := []byte("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n")
	c := wstest.Dial(t, elsewhere.Addrs[1])
	c.Send(header, wstest.Plain("/page").Bytes())
	if resp := c.Response(); resp.Status != 400 {
		t.Errorf("a header from elsewhere: %q, want 400", resp.Line)
	}
	c = wstest.Dial(t, elsewhere.Addrs[0])
	c.Send(header)
	if rest := c.ExpectEnd(wstest.Patience); strings.Contains(string(rest), "HTTP") {
		t.Errorf("a header from elsewhere, TLS: %q", rest)
	}
	c = wstest.Dial(t, elsewhere.Addrs[1])
	c.Send(wstest.Plain("/page").Bytes())
	if resp := c.Response(); resp.Status != 200 || !strings.HasPrefix(string(resp.Body), "127.0.0.1:") {
		t.Errorf("without a header: %q %q", resp.Line, resp.Body)
	}
}

// rowsSlowProxy is row R-03 for the PROXY header: it has the time of the TLS handshake.
func rowsSlowProxy(run func(string, func(*testing.T)), addr string) {
	header := []byte("PROXY TCP6 2001:db8:1111:2222:3333:4444:5555:6666 2001:db8:1111:2222:3333:4444:5555:7777 47111 443\r\n" + strings.Repeat(" ", 1000))
	for name, every := range map[string]time.Duration{"one byte in 4 s": 4 * time.Second, "eight bytes a second": 125 * time.Millisecond, "one byte": time.Hour} {
		run("R-03/PROXY, "+name, func(t *testing.T) {
			c := wstest.Dial(t, addr)
			stop := make(chan struct{})
			defer close(stop)
			go c.Dribble(header, every, stop)
			c.ExpectEnd(12 * time.Second)
		})
	}
}
