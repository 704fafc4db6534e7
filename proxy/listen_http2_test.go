package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/framegate/framegate/internal/wstest"
)

// twoProtocols is a configuration of one TLS listener that speaks HTTP/1.1 and HTTP/2, and of one route of app.example.com.
func twoProtocols(storage, server, more string) string {
	return fmt.Sprintf(`version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: internal}, protocols: [h1, h2]}]
routes: [{name: app, hosts: [app.example.com], upstream: app%s}]
upstreams: {app: {servers: ["%s"]}}
tls: {storage: {file: %q}}
admin: {address: "off"}
`, more, server, storage)
}

// A h2Gateway is a gateway with a client that speaks HTTP/2 to it.
type h2Gateway struct {
	*gateway
	client http.RoundTripper
	trust  *tls.Config
}

func startH2(t *testing.T, up *wstest.Recorder, more string) *h2Gateway {
	t.Helper()
	storage := t.TempDir()
	g := startGateway(t, twoProtocols(storage, "ws://"+up.Addr(), more))
	trust := trusting(t, storage, "app.example.com")
	return &h2Gateway{g, wstest.HTTP2(t, g.addr, trust), trust}
}

// A WebSocket lives on a stream of HTTP/2 as it does on a connection of its own (RFC 8441).
func TestWebSocketOverHTTP2(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.EchoWith("Sec-WebSocket-Protocol: chat", "Set-Cookie: a=b"))
	g := startH2(t, up, "")
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
	waitFor(t, "its line", func() bool { return len(g.log.lines(t, "connection")) == 1 })
	line := g.log.lines(t, "connection")[0]
	if line["protocol"] != "HTTP/2.0" || line["close_code"] != 1000.0 {
		t.Errorf("the log says %v", line)
	}
}

// open opens a WebSocket on a stream of its own and demands that it is accepted.
func (g *h2Gateway) open(t *testing.T, req *wstest.Request) *wstest.Stream {
	t.Helper()
	s := wstest.OpenStream(t, g.client, req)
	if s.Status != http.StatusOK {
		t.Fatalf("%s: status %d, want 200", req.Line, s.Status)
	}
	return s
}

// A hundred sockets share one connection, and none waits for another.
func TestHTTP2CarriesAHundredSockets(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startH2(t, up, ", ping_interval: 5m") // which may come before the last of them is open
	all := make([]*wstest.Stream, 100)
	for i := range all {
		all[i] = g.open(t, wstest.HS0("/ws"))
	}
	for i, s := range all {
		s.Send(wstest.ClientFrame(0x81, fmt.Appendf(nil, "%d", i)))
	}
	for i, s := range all {
		s.ExpectFrame(0x81, fmt.Appendf(nil, "%d", i))
	}
	if got := g.Server.connections.InUse(); got != 101 {
		t.Errorf("%d places are taken, want one for the connection and one for each session", got)
	}
	for _, s := range all {
		s.End()
	}
	waitFor(t, "the end of the sessions", func() bool { return g.Server.connections.InUse() == 1 })
}

// What a client does to its stream counts like the same on a connection of its own (rows P-15 and P-16 of security.md).
func TestEndsOfHTTP2Streams(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Accept())
	g := startH2(t, up, "")
	part := wstest.ClientFrame(0x81, make([]byte, 4_000))[:3_000] // short enough to be relayed whole or not at all
	for name, end := range map[string]func(*wstest.Stream){
		"/reset": (*wstest.Stream).Reset,
		"/fin":   (*wstest.Stream).End,
	} {
		s := g.open(t, wstest.HS0(name))
		s.Send(wstest.ClientFrame(0x81, []byte("whole")))
		s.Send(part)
		u := up.Wait(name)
		u.WaitFrames(1)
		end(s)
		if u.WaitEnd(wstest.Patience); string(u.Body()) == "" {
			t.Errorf("%s: nothing reached the upstream", name)
		}
		frames, rest := u.Frames()
		if len(rest) > 0 {
			t.Errorf("%s: %d bytes of an incomplete frame reached the upstream", name, len(rest))
		}
		if last := frames[len(frames)-1]; len(frames) != 2 || !last.IsClose() {
			t.Errorf("%s: the upstream got %v", name, frames)
		}
	}
	waitFor(t, "both lines", func() bool { return len(g.log.lines(t, "connection")) == 2 })
	for _, line := range g.log.lines(t, "connection") {
		if line["cause"] != "client_lost" || line["messages_client"] != 1.0 {
			t.Errorf("the log says %v", line)
		}
	}
}

// A rawH2 is a client that writes frames of HTTP/2 itself.
type rawH2 struct {
	*http2.Framer
	conn  *tls.Conn
	block bytes.Buffer
	hpack *hpack.Encoder
}

func (g *h2Gateway) raw(t *testing.T) *rawH2 {
	t.Helper()
	config := g.trust.Clone()
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", g.addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(wstest.Patience))
	r := &rawH2{Framer: http2.NewFramer(conn, conn), conn: conn}
	r.hpack = hpack.NewEncoder(&r.block)
	io.WriteString(conn, http2.ClientPreface)
	r.WriteSettings()
	return r
}

// fields encodes alternating names and values.
func (r *rawH2) fields(pairs ...string) []byte {
	r.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		r.hpack.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return r.block.Bytes()
}

// handshake is an extended CONNECT.
func (r *rawH2) handshake(path string, more ...string) []byte {
	return r.fields(append([]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "app.example.com", ":path", path,
		"sec-websocket-version", "13", "origin", "https://app.example.com"}, more...)...)
}

// goAway reads up to the GOAWAY that ends the connection, and its end.
func (r *rawH2) goAway(t *testing.T) http2.ErrCode {
	t.Helper()
	for {
		f, err := r.ReadFrame()
		if err != nil {
			t.Fatalf("the connection ended without GOAWAY: %v", err)
		}
		if f, ok := f.(*http2.GoAwayFrame); ok {
			return f.ErrCode
		}
	}
}

// Who makes work and moves nothing is sent away, and the upstream sees little of it (row P-09 of security.md). Other connections live on.
func TestFloodsOfHTTP2(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startH2(t, up, "")
	victim := g.open(t, wstest.HS0("/victim"))
	for name, flood := range map[string]func(r *rawH2, i int) error{
		"resets": func(r *rawH2, i int) error {
			id := uint32(2*i + 1)
			return errors.Join(r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.handshake("/flood"), EndHeaders: true}), r.WriteRSTStream(id, http2.ErrCodeCancel))
		},
		"pings":    func(r *rawH2, _ int) error { return r.WritePing(false, [8]byte{}) },
		"settings": func(r *rawH2, _ int) error { return r.WriteSettings() },
		"priority": func(r *rawH2, i int) error { return r.WritePriority(uint32(2*i+3), http2.PriorityParam{Weight: 1}) },
	} {
		r := g.raw(t)
		go func() {
			for i := 0; i < 10_000 && flood(r, i) == nil; i++ {
			}
		}()
		if code := r.goAway(t); code != http2.ErrCodeEnhanceYourCalm {
			t.Errorf("%s: GOAWAY with %v", name, code)
		}
	}
	if got := up.Dials(); got > 1+h2MaxResets {
		t.Errorf("the upstream was dialled %d times", got)
	}
	if got := counted(g.metrics.http2Ended.WithLabelValues(h2Flood)); got != 4 {
		t.Errorf("%v connections were counted, want 4", got)
	}
	victim.Send(wstest.ClientFrame(0x81, []byte("still here")))
	victim.ExpectFrame(0x81, []byte("still here"))
}

// A block of header fields has as long as the head of a request has.
func TestSlowFieldsOfHTTP2(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startH2(t, up, "")
	r := g.raw(t)
	block := r.handshake("/slow")
	start := time.Now()
	r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:len(block)-3]})
	go func() {
		for i := len(block) - 3; i < len(block); i++ {
			time.Sleep(2 * headTimeout / 5)
			if r.WriteContinuation(1, i == len(block)-1, block[i:i+1]) != nil {
				return
			}
		}
	}()
	var err error
	for err == nil {
		_, err = r.ReadFrame()
	}
	if took := time.Since(start); took < headTimeout-time.Second || took > headTimeout+3*time.Second {
		t.Errorf("it ended after %v with %v", took, err)
	}
	waitFor(t, "its line", func() bool { return counted(g.metrics.http2Ended.WithLabelValues(h2Slow)) == 1 })
	if up.Dials() > 0 {
		t.Error("the upstream was dialled")
	}
}

// What is no lawful handshake is refused as on HTTP/1.1 (rows P-02, P-06 and P-13).
func TestRefusalsOverHTTP2(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startH2(t, up, "")
	for name, row := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"another protocol":     {func(r *http.Request) { r.Header.Set(":protocol", "connect-udp") }, 501},
		"another version":      {func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "12") }, 426},
		"no version":           {func(r *http.Request) { r.Header.Del("Sec-WebSocket-Version") }, 400},
		"a foreign origin":     {func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403},
		"another host":         {func(r *http.Request) { r.Host = "other.example.com" }, 421},
		"no such path":         {func(r *http.Request) { r.URL.Path = "/../x" }, 400},
		"early data":           {func(r *http.Request) { r.Header.Set("Early-Data", "1") }, 425},
		"many fields":          {func(r *http.Request) { many(r.Header, 101) }, 431},
		"plain CONNECT":        {func(r *http.Request) { r.Header.Del(":protocol") }, 405},
		"a subprotocol twice":  {func(r *http.Request) { r.Header.Set("Sec-WebSocket-Protocol", "a, a") }, 400},
		"a foreign field name": {func(r *http.Request) { r.Header.Set("X_Auth_Sub", "root") }, 400},
		"an expectation":       {func(r *http.Request) { r.Header.Set("Expect", "200-ok") }, 417},
		"a token of HTTP/1.1":  {func(r *http.Request) { r.Method = "GET"; r.Header.Del(":protocol"); r.Body = nil; r.ContentLength = 0 }, 400},
	} {
		r, err := wstest.HS0("/ws").Connect("websocket")
		if err != nil {
			t.Fatal(err)
		}
		r.Body = io.NopCloser(strings.NewReader(""))
		row.change(r)
		resp, err := g.client.RoundTrip(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != row.status || resp.Header.Get("Connection") != "" {
			t.Errorf("%s: status %d, want %d: %q", name, resp.StatusCode, row.status, body)
		}
	}
	if up.Dials() > 0 {
		t.Errorf("the upstream was dialled %d times", up.Dials())
	}
}

func many(h http.Header, n int) {
	for i := range n {
		h.Set(fmt.Sprintf("X-F%d", i), "")
	}
}

// Plain requests pass as well, each on an upstream connection of its own.
func TestPlainOverHTTP2(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Page("hello"))
	g := startH2(t, up, "")
	for range 3 {
		r, err := http.NewRequest(http.MethodPost, "https://app.example.com/page", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := g.client.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || string(body) != "hello" || resp.ProtoMajor != 2 {
			t.Errorf("got %s %d %q", resp.Proto, resp.StatusCode, body)
		}
	}
	if up.Dials() != 3 {
		t.Errorf("%d connections to the upstream, want 3", up.Dials())
	}
}

// A client that takes nothing has the upstream wait, and is reset after a while; its neighbour on the same connection goes on.
func TestHTTP2ClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	payload := make([]byte, 60_000)
	up := wstest.NewRecorder(t, wstest.Echo)
	up.Handle("/flood", wstest.Then(wstest.Accept(), wstest.Flood(wstest.ServerFrame(0x82, payload), 100<<20)))
	g := startH2(t, up, "")
	neighbour := g.open(t, wstest.HS0("/ws"))
	s := g.open(t, wstest.HS0("/flood"))
	waitFor(t, "the end of the stalled session", func() bool { return len(g.log.lines(t, "connection")) == 1 })
	line := g.log.lines(t, "connection")[0]
	if line["path"] != "/flood" || line["messages_upstream"].(float64) > 1_000 {
		t.Errorf("the log says %v", line)
	}
	_, err := s.Drain(wstest.Patience)
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v, want a reset", err)
	}
	neighbour.Send(wstest.ClientFrame(0x81, []byte("hello")))
	neighbour.ExpectFrame(0x81, []byte("hello"))
}

// until reads until the connection ends, or a stream has its answer.
func (r *rawH2) until(answered func(http2.Frame) bool) (ended error) {
	for {
		f, err := r.ReadFrame()
		if err != nil || answered(f) {
			return err
		}
	}
}

// Header fields that grow without end, in frames or by compression, cost no more than a head may have, and nobody else anything.
func TestHeaderBombsOfHTTP2(t *testing.T) { // not parallel: it measures the heap
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startH2(t, up, "")
	victim := g.open(t, wstest.HS0("/victim"))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)

	t.Log("a flood of CONTINUATION (CVE-2024-24549 and its kind)")
	r := g.raw(t)
	r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.handshake("/flood")})
	sent := make(chan int)
	go func() {
		n := 0
		chunk := r.fields("x-padding", strings.Repeat("a", 1000))
		for ; n < 100_000 && r.WriteContinuation(1, false, chunk) == nil; n++ {
		}
		sent <- n
	}()
	if err := r.until(func(http2.Frame) bool { return false }); err == nil {
		t.Error("the flood of CONTINUATION goes on")
	}
	if n := <-sent; n == 100_000 {
		t.Errorf("%d frames were taken", n)
	}

	t.Log("a HPACK bomb: one entry of the dynamic table, named thousands of times")
	r = g.raw(t)
	block := append([]byte(nil), r.handshake("/bomb", "x-bomb", strings.Repeat("a", 3000))...)
	for range 10_000 {
		block = append(block, 0x80|62) // the latest entry
	}
	r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true})
	answer := ""
	err := r.until(func(f http2.Frame) bool {
		if h, ok := f.(*http2.HeadersFrame); ok {
			fields, _ := hpack.NewDecoder(4096, nil).DecodeFull(h.HeaderBlockFragment())
			answer = fields[0].Value
		}
		return answer != ""
	})
	if err == nil && answer != "431" {
		t.Errorf("the bomb was answered with %s, want 431 or the connection's end", answer)
	}

	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if up.Dials() != 1 {
		t.Errorf("the upstream was dialled %d times", up.Dials())
	}
	victim.Send(wstest.ClientFrame(0x81, []byte("still here")))
	victim.ExpectFrame(0x81, []byte("still here"))
}

// What may not be said of a stream is an error of it (rows P-03 and P-07).
func TestMalformedStreamsOfHTTP2(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startH2(t, up, "")
	for name, block := range map[string]func(r *rawH2) []byte{
		":protocol on GET": func(r *rawH2) []byte {
			return r.fields(":method", "GET", ":protocol", "websocket", ":scheme", "https", ":authority", "app.example.com", ":path", "/ws")
		},
		"an upper-case name": func(r *rawH2) []byte { return r.handshake("/ws", "X-Upper", "a") },
		"userinfo": func(r *rawH2) []byte {
			return r.fields(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a@app.example.com", ":path", "/ws", "sec-websocket-version", "13")
		},
		"Connection":        func(r *rawH2) []byte { return r.handshake("/ws", "connection", "upgrade") },
		"Transfer-Encoding": func(r *rawH2) []byte { return r.handshake("/ws", "transfer-encoding", "chunked") },
		"TE":                func(r *rawH2) []byte { return r.handshake("/ws", "te", "gzip") },
	} {
		r := g.raw(t)
		r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(r), EndHeaders: true})
		got := ""
		err := r.until(func(f http2.Frame) bool {
			switch f := f.(type) {
			case *http2.RSTStreamFrame:
				got = f.ErrCode.String()
			case *http2.GoAwayFrame:
				got = f.ErrCode.String()
			case *http2.HeadersFrame:
				fields, _ := hpack.NewDecoder(4096, nil).DecodeFull(f.HeaderBlockFragment())
				got = fields[0].Value
			}
			return got != ""
		})
		if err == nil && got != "PROTOCOL_ERROR" && got != "400" {
			t.Errorf("%s: %s, want a PROTOCOL_ERROR or 400", name, got)
		}
		r.conn.Close()
	}
	if up.Dials() > 0 {
		t.Errorf("the upstream was dialled %d times", up.Dials())
	}
}

// Streams whose windows the client never opens have their upstreams wait, at a bounded price.
func TestStalledWindowsOfHTTP2(t *testing.T) {
	t.Parallel()
	const streams = 50
	up := wstest.NewRecorder(t, wstest.Echo)
	up.Handle("/flood", wstest.Then(wstest.Accept(), wstest.Flood(wstest.ServerFrame(0x82, make([]byte, 60_000)), 8<<20)))
	g := startH2(t, up, "")
	victim := g.open(t, wstest.HS0("/victim"))
	r := g.raw(t)
	r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for i := range streams {
		r.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: r.handshake("/flood"), EndHeaders: true})
	}
	answered := 0
	r.until(func(f http2.Frame) bool {
		if _, ok := f.(*http2.HeadersFrame); ok {
			answered++
		}
		return answered == streams
	})
	victim.Send(wstest.ClientFrame(0x81, []byte("still here")))
	victim.ExpectFrame(0x81, []byte("still here"))
	waitFor(t, "the end of the stalled sessions", func() bool { return len(g.log.lines(t, "connection")) == streams })
	// Each had at most its queue of 256 KiB, far from the 8 MiB that its server would send.
	for _, line := range g.log.lines(t, "connection") {
		if taken := line["bytes_upstream"].(float64); taken > 512<<10 {
			t.Errorf("%v bytes were taken for a client that takes none", taken)
		}
	}
}
