//lint:file-ignore SA1019 http2.Transport is wanted: that of net/http takes no :protocol field

package wstest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	_ "github.com/framegate/framegate/proxy/connectbit" // the client wants it as well
)

// A Stream is a WebSocket client on one stream of HTTP/2 or HTTP/3.
type Stream struct {
	*Client
	Status int
	Header http.Header
	body   *streamConn
}

// Reset resets the stream; its connection lives on.
func (s *Stream) Reset() { s.body.w.CloseWithError(context.Canceled) }

// End ends the client's direction of the stream without a Close frame.
func (s *Stream) End() { s.body.w.Close() }

// OpenStream sends req, a handshake of HTTP/1.1, as the extended CONNECT that says the same (RFC 8441 section 5), to the host that it names. The
// frames that follow are the caller's. A status other than 200 is no failure: the body is then what the Client reads.
func OpenStream(tb testing.TB, transport http.RoundTripper, req *Request) *Stream {
	tb.Helper()
	s, err := TryOpenStream(tb, transport, req)
	if err != nil {
		tb.Fatalf("extended CONNECT: %v", err)
	}
	return s
}

// TryOpenStream is OpenStream where the request may fail.
func TryOpenStream(tb testing.TB, transport http.RoundTripper, req *Request) (*Stream, error) {
	r, err := req.Connect("websocket")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	body, w := io.Pipe()
	r.Body = body
	resp, err := transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	c := &streamConn{r: resp.Body, w: w, cancel: cancel}
	return &Stream{Client: NewClient(tb, c), Status: resp.StatusCode, Header: resp.Header, body: c}, nil
}

// Connect translates a handshake of HTTP/1.1 into an extended CONNECT for the given protocol, with net/http's spelling for HTTP/2.
func (r *Request) Connect(protocol string) (*http.Request, error) {
	_, target, _ := strings.Cut(r.Line, " ")
	target, _, _ = strings.Cut(target, " ")
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, err
	}
	out := &http.Request{Method: http.MethodConnect, URL: u, Header: http.Header{":protocol": {protocol}}, ContentLength: -1}
	u.Scheme = "https"
	for _, line := range r.Fields {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "host":
			out.Host, u.Host = value, value
		case "upgrade", "connection", "sec-websocket-key":
		default:
			out.Header.Add(name, value)
		}
	}
	return out, nil
}

// streamConn makes a net.Conn of the two bodies.
type streamConn struct {
	r      io.ReadCloser
	w      *io.PipeWriter
	cancel context.CancelFunc

	mu    sync.Mutex
	timer *time.Timer
	late  bool
}

func (c *streamConn) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.late {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func (c *streamConn) Write(p []byte) (int, error) { return c.w.Write(p) }

func (c *streamConn) Close() error {
	c.SetReadDeadline(time.Time{})
	c.cancel()
	return errors.Join(c.w.Close(), c.r.Close())
}

// SetReadDeadline ends the stream at t: it cannot be resumed after that, nor need a test.
func (c *streamConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if !t.IsZero() {
		c.timer = time.AfterFunc(time.Until(t), func() {
			c.mu.Lock()
			c.late = true
			c.mu.Unlock()
			c.cancel()
		})
	}
	return nil
}

func (c *streamConn) SetWriteDeadline(time.Time) error { return nil }
func (c *streamConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *streamConn) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "stream"} }
func (c *streamConn) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "stream"} }

// HTTP2 is a client of one gateway, whatever host the requests name. Streams for the same host share a connection.
func HTTP2(tb testing.TB, addr string, config *tls.Config) *http2.Transport {
	t := &http2.Transport{
		TLSClientConfig: config,
		DialTLSContext: func(ctx context.Context, _, _ string, config *tls.Config) (net.Conn, error) {
			return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
		},
		DisableCompression: true,
	}
	tb.Cleanup(t.CloseIdleConnections)
	return t
}

// HTTP3 is a client of one gateway, whatever host the requests name.
func HTTP3(tb testing.TB, addr string, config *tls.Config) http.RoundTripper {
	t := &http3.Transport{
		TLSClientConfig: config,
		Dial: func(ctx context.Context, _ string, config *tls.Config, quicConfig *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, addr, config, quicConfig)
		},
		DisableCompression: true,
	}
	tb.Cleanup(func() { t.Close() })
	return http3Spelling{t}
}

// A Roamer speaks HTTP/3 on one connection, and can go elsewhere with it.
type Roamer struct {
	http.RoundTripper
	tb   testing.TB
	conn *quic.Conn
}

// NewRoamer connects to addr.
func NewRoamer(tb testing.TB, addr string, config *tls.Config) *Roamer {
	tb.Helper()
	r := &Roamer{tb: tb}
	config = config.Clone()
	config.NextProtos = []string{http3.NextProtoH3}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	if r.conn, err = r.at("127.0.0.1:0").Dial(ctx, to, config, &quic.Config{KeepAlivePeriod: time.Second}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.conn.CloseWithError(0, "") })
	t := &http3.Transport{
		DisableCompression: true, TLSClientConfig: config,
		Dial: func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error) { return r.conn, nil },
	}
	tb.Cleanup(func() { t.Close() })
	r.RoundTripper = http3Spelling{t}
	return r
}

// at is where the client is.
func (r *Roamer) at(address string) *quic.Transport {
	r.tb.Helper()
	addr, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		r.tb.Fatal(err)
	}
	udp, err := net.ListenUDP("udp", addr)
	if err != nil {
		r.tb.Fatal(err)
	}
	t := &quic.Transport{Conn: udp}
	r.tb.Cleanup(func() {
		t.Close()
		udp.Close()
	})
	return t
}

// Move goes on from another address, such as 127.0.0.2:0 (RFC 9000, section 9).
func (r *Roamer) Move(from string) {
	r.tb.Helper()
	path, err := r.conn.AddPath(r.at(from))
	if err != nil {
		r.tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := path.Probe(ctx); err != nil {
		r.tb.Fatal(err)
	}
	if err := path.Switch(); err != nil {
		r.tb.Fatal(err)
	}
}

// http3Spelling takes requests as they are written for HTTP/2.
type http3Spelling struct{ t *http3.Transport }

func (s http3Spelling) RoundTrip(r *http.Request) (*http.Response, error) {
	if p := r.Header.Get(":protocol"); p != "" {
		r = r.Clone(r.Context())
		r.Header.Del(":protocol")
		r.Proto = p
	}
	return s.t.RoundTrip(r)
}
