package wstest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Client is a raw client: it writes the bytes that it is given and reads frames and response heads without a library that would
// mend them. Its methods fail the test themselves, so they belong into the test's goroutine.
type Client struct {
	tb   testing.TB
	tcp  *net.TCPConn
	conn net.Conn
	r    *bufio.Reader

	// Within bounds each read; Patience by default.
	Within time.Duration
}

// Dial opens a TCP connection, which the test's cleanup closes.
func Dial(tb testing.TB, addr string) *Client {
	tb.Helper()
	c, err := TryDial(tb, addr)
	if err != nil {
		tb.Fatalf("dialling the gateway: %v", err)
	}
	return c
}

// TryDial is Dial for an address at which nobody may listen any more.
func TryDial(tb testing.TB, addr string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		return nil, err
	}
	c := NewClient(tb, conn)
	c.tcp = conn.(*net.TCPConn)
	return c, nil
}

// NewClient wraps any connection as a raw client.
func NewClient(tb testing.TB, conn net.Conn) *Client {
	c := &Client{tb: tb, conn: conn, r: bufio.NewReaderSize(conn, 64<<10), Within: Patience}
	tb.Cleanup(c.Close)
	return c
}

// DialTLS opens a TLS connection and completes its handshake.
func DialTLS(tb testing.TB, addr string, config *tls.Config) *Client {
	tb.Helper()
	c := Dial(tb, addr)
	conn := tls.Client(c.conn, config)
	conn.SetDeadline(time.Now().Add(Patience))
	if err := conn.Handshake(); err != nil {
		tb.Fatalf("TLS handshake with the gateway: %v", err)
	}
	conn.SetDeadline(time.Time{})
	c.conn = conn
	c.r.Reset(conn)
	return c
}

// Upgrade sends a request and demands a 101 with the right Sec-WebSocket-Accept. It returns the answer's head.
func (c *Client) Upgrade(req *Request) *Response {
	c.tb.Helper()
	c.Send(req.Bytes())
	return c.Accepted(req)
}

// Accepted reads the answer to req and demands that it is a right 101.
func (c *Client) Accepted(req *Request) *Response {
	c.tb.Helper()
	resp := c.Head()
	if resp.Status != 101 {
		c.tb.Fatalf("%s: status %d, want 101", req.Line, resp.Status)
	}
	var key string
	for _, line := range req.Fields {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Sec-WebSocket-Key") {
			key = strings.TrimSpace(value)
		}
	}
	if got := resp.Get("Sec-WebSocket-Accept"); got != AcceptOf(key) {
		c.tb.Fatalf("Sec-WebSocket-Accept %q, want %q", got, AcceptOf(key))
	}
	return resp
}

// Send writes bytes; the connection may be dead already, which the next read will tell.
func (c *Client) Send(parts ...[]byte) error {
	c.conn.SetWriteDeadline(time.Now().Add(Patience))
	_, err := c.conn.Write(bytes.Join(parts, nil))
	return err
}

// Chop writes b in pieces of n bytes, each one a segment of its own as far as the kernel allows.
func (c *Client) Chop(b []byte, n int) {
	for len(b) > 0 {
		k := min(n, len(b))
		if c.Send(b[:k]) != nil {
			return
		}
		b = b[k:]
	}
}

// Dribble writes b one byte at a time, every so often, until a write fails or stop is closed.
func (c *Client) Dribble(b []byte, every time.Duration, stop <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range b {
		if c.Send(b[i:i+1]) != nil {
			return
		}
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}

// Close ends the connection.
func (c *Client) Close() {
	c.conn.Close()
}

// CloseTCP ends the connection with FIN and, over TLS, without a close_notify.
func (c *Client) CloseTCP() {
	c.tcp.Close()
}

// CloseWrite sends FIN and keeps the other direction.
func (c *Client) CloseWrite() { c.tcp.CloseWrite() }

// Reset ends the connection with a TCP reset.
func (c *Client) Reset() {
	c.tcp.SetLinger(0)
	c.tcp.Close()
}

// SetReadBuffer shrinks the kernel's receive buffer, so that back-pressure shows after little data.
func (c *Client) SetReadBuffer(n int) { c.tcp.SetReadBuffer(n) }

func (c *Client) arm() { c.conn.SetReadDeadline(time.Now().Add(c.Within)) }

// Frame reads one frame.
func (c *Client) Frame() Frame {
	c.tb.Helper()
	f, err := c.ReadFrame()
	if err != nil {
		c.tb.Fatalf("reading a frame from the gateway: %v", err)
	}
	return f
}

// ReadFrame reads one frame; io.EOF means an end between two frames.
func (c *Client) ReadFrame() (Frame, error) {
	c.arm()
	return ReadFrame(c.r)
}

// ReadFrame reads one frame of either side; io.EOF means an end between two frames.
func ReadFrame(r *bufio.Reader) (Frame, error) {
	head := make([]byte, 0, 14)
	for headerSize(head) == 0 || len(head) < headerSize(head) {
		b, err := r.ReadByte()
		if err != nil {
			if len(head) > 0 && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return Frame{}, err
		}
		head = append(head, b)
	}
	length := payloadLength(head)
	if length > 64<<20 {
		return Frame{}, fmt.Errorf("frame of %d bytes", length)
	}
	whole := append(head, make([]byte, length)...)
	if n, err := io.ReadFull(r, whole[len(head):]); err != nil {
		return Frame{}, fmt.Errorf("after %d of %d payload bytes: %w", n, length, err)
	}
	f, _ := ParseFrame(whole)
	return f, nil
}

// ExpectFrame reads one frame and compares its first byte and payload.
func (c *Client) ExpectFrame(first byte, payload []byte) {
	c.tb.Helper()
	f := c.Frame()
	if f.First != first || !bytes.Equal(f.Payload, payload) || f.Masked {
		c.tb.Fatalf("got %v, masked %t, want %v", f, f.Masked, Frame{First: first, Payload: payload})
	}
}

// ExpectClose reads frames up to a Close, which must have the given code; the frames before it are returned.
func (c *Client) ExpectClose(code int) (before []Frame, reason string) {
	c.tb.Helper()
	for {
		f, err := c.ReadFrame()
		if err != nil {
			c.tb.Fatalf("waiting for Close %d after %d other frames: %v", code, len(before), err)
		}
		if !f.IsClose() {
			before = append(before, f)
			continue
		}
		got, reason := f.CloseCode()
		if got != code {
			c.tb.Fatalf("got Close %d %q, want %d; before it %v", got, reason, code, before)
		}
		if f.Masked {
			c.tb.Errorf("the gateway masked its Close to the client")
		}
		return before, reason
	}
}

// ExpectEOF demands that nothing more arrives and that the connection ends in order within the given time.
func (c *Client) ExpectEOF(within time.Duration) {
	c.tb.Helper()
	if rest, err := c.Drain(within); err != nil || len(rest) > 0 {
		c.tb.Errorf("got %d more bytes %.60q and then %v, want the end of the stream", len(rest), rest, errOr(err, "EOF"))
	}
}

// ExpectEnd demands that the connection ends within the given time, in order or by a reset, and returns what came before.
func (c *Client) ExpectEnd(within time.Duration) []byte {
	c.tb.Helper()
	rest, err := c.Drain(within)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.tb.Errorf("the gateway still holds the connection after %v; it sent %d bytes %.60q", within, len(rest), rest)
	}
	return rest
}

// Drain reads until the connection ends or the time has passed. An orderly end is no error.
func (c *Client) Drain(within time.Duration) ([]byte, error) {
	c.conn.SetReadDeadline(time.Now().Add(within))
	return io.ReadAll(c.r)
}

// IsReset reports whether err is a TCP reset by the gateway.
func IsReset(err error) bool { return isReset(err) }

func errOr(err error, none string) any {
	if err == nil {
		return none
	}
	return err
}

func payloadLength(head []byte) uint64 {
	switch n := uint64(head[1] & 0x7f); n {
	case 126:
		return uint64(head[2])<<8 | uint64(head[3])
	case 127:
		var v uint64
		for _, b := range head[2:10] {
			v = v<<8 | uint64(b)
		}
		return v
	default:
		return n
	}
}

// Response is an HTTP/1.1 response head and, where it was read, its body.
type Response struct {
	Line   string
	Status int
	Fields []string // header lines in their order
	Body   []byte
}

// Get returns the values of a field joined by ", ".
func (r *Response) Get(name string) string {
	var values []string
	for _, line := range r.Fields {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return strings.Join(values, ", ")
}

// Head reads one response head.
func (c *Client) Head() *Response {
	c.tb.Helper()
	resp, err := c.ReadHead()
	if err != nil {
		c.tb.Fatalf("reading the response head: %v", err)
	}
	return resp
}

// ReadHead reads one response head of at most 64 KiB.
func (c *Client) ReadHead() (*Response, error) {
	c.arm()
	var lines []string
	for size := 0; ; {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("after %q: %w", lines, err)
		}
		if size += len(line); size > 64<<10 {
			return nil, errors.New("response head over 64 KiB")
		}
		if !strings.HasSuffix(line, "\r\n") {
			return nil, fmt.Errorf("line %q does not end with CR LF", line)
		}
		if line == "\r\n" {
			break
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "HTTP/1.1 ") || len(lines[0]) < 12 {
		return nil, fmt.Errorf("no status line in %q", lines)
	}
	status, err := strconv.Atoi(lines[0][9:12])
	return &Response{Line: lines[0], Status: status, Fields: lines[1:]}, err
}

// Response reads a whole response: head and the body that its own framing announces.
func (c *Client) Response() *Response {
	c.tb.Helper()
	resp := c.Head()
	if resp.Status == 101 {
		return resp
	}
	if err := c.ReadBody(resp); err != nil {
		c.tb.Fatalf("reading the body of %q: %v", resp.Line, err)
	}
	return resp
}

// ReadBody reads the body of resp by Content-Length, chunks or the end of the connection (RFC 9112 §6.3).
func (c *Client) ReadBody(resp *Response) (err error) {
	c.arm()
	length := resp.Get("Content-Length")
	switch {
	case strings.EqualFold(resp.Get("Transfer-Encoding"), "chunked"):
		return c.readChunks(resp)
	case resp.Status == 204 || resp.Status == 304:
	case length == "":
		resp.Body, err = io.ReadAll(c.r)
	default:
		n, convErr := strconv.ParseInt(length, 10, 64)
		if convErr != nil {
			return convErr
		}
		resp.Body, err = io.ReadAll(io.LimitReader(c.r, n))
		if err == nil && int64(len(resp.Body)) < n {
			err = fmt.Errorf("%d of %d bytes: %w", len(resp.Body), n, io.ErrUnexpectedEOF)
		}
	}
	return err
}

func (c *Client) readChunks(resp *Response) error {
	for {
		c.arm()
		line, err := c.r.ReadString('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(strings.TrimRight(line, "\r\n"), 16, 32)
		if err != nil {
			return err
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, chunk); err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		resp.Body = append(resp.Body, chunk[:n]...)
	}
}
