package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/framegate/framegate/internal/wstest"
)

// A h3Gateway is a gateway with a client that speaks HTTP/3 to it.
type h3Gateway struct {
	*h2Gateway
	client http.RoundTripper
}

func startH3(t *testing.T, up *wstest.Recorder, more string) *h3Gateway {
	t.Helper()
	storage := t.TempDir()
	g := startGateway(t, strings.Replace(twoProtocols(storage, "ws://"+up.Addr(), more), "[h1, h2]", "[h1, h2, h3]", 1))
	trust := trusting(t, storage, "app.example.com")
	return &h3Gateway{&h2Gateway{g, wstest.HTTP2(t, g.addr, trust), trust}, wstest.HTTP3(t, g.addr, trust)}
}

// A WebSocket lives on a stream of HTTP/3 (RFC 9220).
func TestWebSocketOverHTTP3(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.EchoWith("Sec-WebSocket-Protocol: chat", "Set-Cookie: a=b"))
	g := startH3(t, up, "")
	s := wstest.OpenStream(t, g.client, wstest.HS0("/ws?x=1").Add("Sec-WebSocket-Protocol: chat"))
	if s.Status != http.StatusOK || s.Header.Get("Sec-WebSocket-Protocol") != "chat" || s.Header.Get("Set-Cookie") != "a=b" {
		t.Fatalf("status %d, header %v", s.Status, s.Header)
	}
	for _, n := range []int{0, 125, 126, 70_000} {
		payload := make([]byte, n)
		s.Send(wstest.ClientFrame(0x82, payload))
		s.ExpectFrame(0x82, payload)
	}
	s.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "bye")))
	s.ExpectClose(1000)
	s.ExpectEOF(wstest.Patience)
	s.End()
	waitFor(t, "its line", func() bool { return len(g.log.lines(t, "connection")) == 1 })
	line := g.log.lines(t, "connection")[0]
	if line["protocol"] != "HTTP/3.0" || line["close_code"] != 1000.0 || line["path"] != "/ws" {
		t.Errorf("the log says %v", line)
	}
}

// Clients of earlier versions are told of it.
func TestHTTP3IsAnnounced(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Page("hello"))
	g := startH3(t, up, "")
	for name, client := range map[string]http.RoundTripper{"2": g.h2Gateway.client, "3": g.client} {
		r, _ := http.NewRequest(http.MethodPost, "https://app.example.com/", strings.NewReader("body"))
		resp, err := client.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		want := `h3=":` + wstest.Port(t, g.addr) + `"; ma=86400`
		if name == "3" {
			want = ""
		}
		if got := resp.Header.Get("Alt-Svc"); got != want || string(body) != "hello" {
			t.Errorf("HTTP/%s: Alt-Svc %q, want %q; body %q", name, got, want, body)
		}
	}
}

// dialQUIC opens a connection that speaks for itself.
func (g *h3Gateway) dialQUIC(t *testing.T, change func(*tls.Config)) (*quic.Conn, error) {
	t.Helper()
	conf := g.trust.Clone()
	conf.NextProtos = []string{"h3"}
	change(conf)
	ctx, cancel := context.WithTimeout(t.Context(), wstest.Patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, g.addr, conf, nil)
	if err == nil {
		t.Cleanup(func() { conn.CloseWithError(0, "") })
	}
	return conn, err
}

// The name decides about the certificate, and the certificate about the host, as over TCP.
func TestNamesOverQUIC(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startH3(t, up, "")
	for name, change := range map[string]func(*tls.Config){
		"an unknown name": func(c *tls.Config) { c.ServerName = "other.example.com"; c.InsecureSkipVerify = true },
		"another ALPN":    func(c *tls.Config) { c.NextProtos = []string{"hq-interop"} },
	} {
		if _, err := g.dialQUIC(t, change); err == nil {
			t.Errorf("%s: the handshake succeeded", name)
		}
	}
	r, _ := wstest.HS0("/ws").Connect("websocket")
	r.Host, r.Body = "other.example.com", io.NopCloser(strings.NewReader(""))
	resp, err := g.client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another host: status %d, want 421", resp.StatusCode)
	}
}

// A connection that asks for nothing ends, as one of TCP does (row R-01 of security.md).
func TestSilentQUICConnectionEnds(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startH3(t, up, "")
	conn, err := g.dialQUIC(t, func(*tls.Config) {})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	<-conn.Context().Done()
	if took := time.Since(start); took > h3FirstRequest+2*time.Second {
		t.Errorf("it ended after %v", took)
	}
	waitFor(t, "its place", func() bool { return g.Server.connections.InUse() == 0 })
}

// Resets by the hundred end the connection; others live on.
func TestResetsOfHTTP3(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startH3(t, up, "")
	victim := wstest.OpenStream(t, g.client, wstest.HS0("/victim"))
	flood := wstest.HTTP3(t, g.addr, g.trust)
	ended := func() bool { return counted(g.metrics.http2Ended.WithLabelValues(h2Flood)) > 0 }
	var workers sync.WaitGroup
	for range 16 { // a slow machine must reach the rate too
		workers.Go(func() {
			for range 2_000 {
				r, _ := wstest.HS0("/flood").Connect("websocket")
				ctx, cancel := context.WithCancel(t.Context())
				body, w := io.Pipe()
				r.Body = body
				time.AfterFunc(10*time.Millisecond, func() { w.CloseWithError(context.Canceled); cancel() })
				if resp, err := flood.RoundTrip(r.WithContext(ctx)); err == nil {
					resp.Body.Close()
				}
				cancel()
				if ended() {
					return
				}
			}
		})
	}
	workers.Wait()
	waitFor(t, "the end of the flood", func() bool { return ended() })
	victim.Send(wstest.ClientFrame(0x81, []byte("still here")))
	victim.ExpectFrame(0x81, []byte("still here"))
}

// The fields of a request have as long as the head of one has.
func TestSlowFieldsOfHTTP3(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startH3(t, up, "")
	conn, err := g.dialQUIC(t, func(*tls.Config) {})
	if err != nil {
		t.Fatal(err)
	}
	s, err := conn.OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	s.Write([]byte{0x1, 0x40, 0x80, 0}) // a HEADERS frame of 128 bytes, and one of them
	s.SetReadDeadline(start.Add(wstest.Patience))
	if _, err = s.Read(make([]byte, 1)); err == nil || time.Since(start) > headTimeout+2*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	var reset *quic.StreamError
	var ended *quic.ApplicationError
	if !errors.As(err, &reset) && !errors.As(err, &ended) {
		t.Errorf("it ended with %v", err)
	}
}

// There is no early data to be replayed: a client that has been here before makes a whole handshake again (row T-10).
func TestNoEarlyDataOverQUIC(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startH3(t, up, "")
	conf := g.trust.Clone()
	conf.NextProtos, conf.ClientSessionCache = []string{"h3"}, tls.NewLRUClientSessionCache(4)
	for i := range 3 {
		conn, err := quic.DialAddrEarly(t.Context(), g.addr, conf, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-conn.HandshakeComplete()
		time.Sleep(50 * time.Millisecond) // a ticket would have come
		if state := conn.ConnectionState(); state.Used0RTT || state.TLS.DidResume {
			t.Errorf("connection %d: early data %t, resumed %t", i, state.Used0RTT, state.TLS.DidResume)
		}
		conn.CloseWithError(0, "")
	}
}

// A session survives that its client comes to another address, and what policies say about addresses holds for that one (row X-19 of
// security.md).
func TestClientMoves(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		rules  string
		to     string
		others []string // addresses of clients that have connected before
		reason string   // for which it is closed; empty where it goes on
	}{
		"another port":              {"addresses: {allow: [127.0.0.1]}", "127.0.0.1:0", nil, ""},
		"another address":           {"addresses: {allow: [127.0.0.0/8]}, connections: {per_ip: 1}", "127.0.0.2:0", nil, ""},
		"one that is not allowed":   {"addresses: {deny: [127.0.0.2]}", "127.0.0.2:0", nil, "address not allowed"},
		"one with no place left":    {"connections: {per_ip: 1}", "127.0.0.2:0", []string{"127.0.0.2:0"}, "too many connections"},
		"a condition about another": {"conditions: [{require: \"client.address != '127.0.0.2'\"}]", "127.0.0.2:0", nil, "condition not met"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := wstest.NewRecorder(t, wstest.Echo)
			g := startH3(t, up, ", policies: [p]}]\npolicies: {p: {"+row.rules+"}}\n#")
			for _, from := range row.others {
				other := wstest.NewRoamer(t, g.addr, g.trust)
				other.Move(from)
				wstest.OpenStream(t, other, wstest.HS0("/ws"))
			}
			client := wstest.NewRoamer(t, g.addr, g.trust)
			s := wstest.OpenStream(t, client, wstest.HS0("/ws"))
			if s.Status != http.StatusOK {
				t.Fatalf("status %d", s.Status)
			}
			client.Move(row.to)
			payload := []byte("from elsewhere")
			s.Send(wstest.ClientFrame(0x82, payload))
			s.ExpectFrame(0x82, payload)
			if row.reason != "" {
				if _, reason := s.ExpectClose(1008); reason != row.reason {
					t.Errorf("closed for %q, want %q", reason, row.reason)
				}
				return
			}
			if row.to == "127.0.0.2:0" {
				waitFor(t, "the log to say so", func() bool { return len(g.log.lines(t, "client moved")) == 1 })
				// Its place is at the address that it has now, and that of another one is free.
				if again := wstest.OpenStream(t, client, wstest.HS0("/ws")); again.Status != http.StatusTooManyRequests {
					t.Errorf("a second session at the address is answered %d, want 429", again.Status)
				}
				if another := wstest.OpenStream(t, g.client, wstest.HS0("/ws")); another.Status != http.StatusOK {
					t.Errorf("a session at the address where it was is answered %d, want 200", another.Status)
				}
			}
			s.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
			s.ExpectClose(1000)
			s.End()
			waitFor(t, "its line", func() bool { return len(g.log.lines(t, "connection")) > 0 })
			if line := g.log.lines(t, "connection")[0]; !strings.HasPrefix(line["client"].(string), strings.TrimSuffix(row.to, "0")) {
				t.Errorf("the log says %v, want a client at %s", line, row.to)
			}
		})
	}
}
