package main_test

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// coderClient is a client connection whose messages are read by a goroutine of its own, so that pongs are seen at any time.
type coderClient struct {
	conn     *websocket.Conn
	protocol string
	messages chan coderMessage // closed after the last one
	ended    error             // why reading ended; read it after messages is closed
}

type coderMessage struct {
	typ  websocket.MessageType
	data []byte
}

func dialCoder(ctx context.Context, t *testing.T, e *edge, path string, mode websocket.CompressionMode, wantExtension bool) *coderClient {
	t.Helper()
	client := &http.Client{}
	if e.Gateway != nil {
		transport := &http.Transport{TLSClientConfig: e.Gateway.ClientTLS()}
		t.Cleanup(transport.CloseIdleConnections)
		client.Transport = transport
	}
	conn, resp, err := websocket.Dial(ctx, e.WS+path, &websocket.DialOptions{
		HTTPClient: client, CompressionMode: mode, CompressionThreshold: 1, Subprotocols: []string{"chat.v2", "chat.v1"},
	})
	if err != nil {
		t.Fatalf("dialling %s: %v", path, err)
	}
	if got := resp.Header.Get("Sec-WebSocket-Extensions") != ""; got != wantExtension {
		t.Errorf("%s: extensions %q, wanted some: %v", path, resp.Header.Get("Sec-WebSocket-Extensions"), wantExtension)
	}
	conn.SetReadLimit(-1)
	c := &coderClient{conn: conn, protocol: conn.Subprotocol(), messages: make(chan coderMessage, 1)}
	go c.read(ctx)
	t.Cleanup(func() {
		conn.CloseNow()
		for range c.messages {
		}
	})
	return c
}

func (c *coderClient) read(ctx context.Context) {
	defer close(c.messages)
	for {
		typ, data, err := c.conn.Read(ctx)
		if err != nil {
			c.ended = err
			return
		}
		c.messages <- coderMessage{typ, data}
	}
}

func (c *coderClient) next() (coderMessage, error) {
	message, ok := <-c.messages
	if !ok {
		return message, fmt.Errorf("reading: %w", c.ended)
	}
	return message, nil
}

func (c *coderClient) command(ctx context.Context, text string) (string, error) {
	if err := c.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return "", err
	}
	answer, err := c.next()
	return string(answer.data), err
}

// roundTrip sends one message, compares its echo, and asks the upstream what it had received.
func (c *coderClient) roundTrip(ctx context.Context, typ websocket.MessageType, data []byte, fragments, count int) error {
	between := func() error { return nil }
	if typ == websocket.MessageText {
		between = func() error { return c.conn.Ping(ctx) } // which waits for the pong
	}
	if err := writeCoder(ctx, c.conn, typ, data, fragments, between); err != nil {
		return err
	}
	echo, err := c.next()
	if err != nil {
		return err
	}
	if echo.typ != typ || !bytes.Equal(echo.data, data) {
		return fmt.Errorf("echo of %d bytes of %v differs: %d bytes of %v", len(data), typ, len(echo.data), echo.typ)
	}
	answer, err := c.command(ctx, "!last")
	if err != nil {
		return err
	}
	var last lastMessage
	if err := json.Unmarshal([]byte(answer), &last); err != nil {
		return err
	}
	last.Read, last.Written = 0, 0
	sum := sha256.Sum256(data)
	want := lastMessage{Count: count, Binary: typ == websocket.MessageBinary, Length: len(data), SHA256: hex.EncodeToString(sum[:])}
	if last != want {
		return fmt.Errorf("the upstream received %+v, want %+v", last, want)
	}
	return nil
}

// closed waits for the end and returns the code and reason of the Close that the client saw.
func (c *coderClient) closed() (websocket.StatusCode, string) {
	for range c.messages {
	}
	var e websocket.CloseError
	if !errors.As(c.ended, &e) {
		return -1, c.ended.Error()
	}
	return e.Code, e.Reason
}

// noise returns size random bytes, or as many bytes of random UTF-8 text of characters of one to four bytes.
func noise(size int, typ websocket.MessageType) []byte {
	data := make([]byte, size)
	if typ == websocket.MessageBinary {
		crand.Read(data)
		return data
	}
	letters := []string{"a", "Z", "7", " ", "é", "ß", "€", "語", "😀", "𝄞"}
	const period = 64*kib + 13 // repeats, since a random choice for each letter of 16 MiB takes seconds under the race detector
	for at := 0; at < min(size, period); {
		letter := letters[rand.IntN(len(letters))]
		if at+len(letter) > min(size, period) {
			letter = "x"
		}
		at += copy(data[at:], letter)
	}
	for at := period; at+period <= size; at += period {
		copy(data[at:], data[:period])
	}
	for at := max(period, size-size%period); at < size; at++ {
		data[at] = 'x'
	}
	return data
}

func TestCoderClient(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		mode     websocket.CompressionMode
		upstream func(t *testing.T) int
	}{
		{"coder upstream, context takeover", websocket.CompressionContextTakeover, func(t *testing.T) int {
			return startCoderUpstream(t, websocket.CompressionContextTakeover)
		}},
		{"coder upstream, no context takeover", websocket.CompressionNoContextTakeover, func(t *testing.T) int {
			return startCoderUpstream(t, websocket.CompressionNoContextTakeover)
		}},
		{"coder upstream, no compression", websocket.CompressionDisabled, func(t *testing.T) int {
			return startCoderUpstream(t, websocket.CompressionDisabled)
		}},
		{"ws upstream, context takeover", websocket.CompressionContextTakeover, func(t *testing.T) int {
			_, port := startUpstream(t, upstreamOptions{Deflate: true})
			return port
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			testCoderClient(t, newEdge(t, test.upstream(t)), test.mode)
		})
	}
}

func testCoderClient(t *testing.T, e *edge, mode websocket.CompressionMode) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	compressed := mode != websocket.CompressionDisabled
	for _, fragments := range []int{1, 5} {
		path := fmt.Sprintf("/echo?fragments=%d&ping=1", fragments)
		c := dialCoder(ctx, t, e, path, mode, compressed)
		if c.protocol != "chat.v2" {
			t.Errorf("subprotocol %q, want chat.v2", c.protocol)
		}
		most := mib // 16 MiB cost seconds under the race detector: ws sends as much, in TestNodeClients
		if fragments > 1 {
			most = 65536 // larger ones in parts are ws's task too, and with compression coder/websocket makes a frame of each 240 bytes
		}
		count := 0
		for _, size := range sizesTo(most) {
			for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
				count++
				if err := c.roundTrip(ctx, typ, noise(size, typ), fragments, count); err != nil {
					t.Fatalf("%s: %d bytes of %v: %v", path, size, typ, err)
				}
			}
		}
		if answer, err := c.command(ctx, "!pongs"); answer != "all pongs" {
			t.Errorf("%s: pongs of the upstream's pings: %q, %v", path, answer, err)
		}
		if err := c.conn.Write(ctx, websocket.MessageText, []byte("!close 4321 from the upstream: ü")); err != nil {
			t.Fatal(err)
		}
		if code, reason := c.closed(); code != 4321 || reason != "from the upstream: ü" {
			t.Errorf("%s: closed with %d %q, want 4321", path, code, reason)
		}
	}
	testCoderEnds(ctx, t, e, mode)
}

func testCoderEnds(ctx context.Context, t *testing.T, e *edge, mode websocket.CompressionMode) {
	compressed := mode != websocket.CompressionDisabled
	c := dialCoder(ctx, t, e, "/echo", mode, compressed)
	// Close waits for the answer; a Close that did not come back as it went would be an error.
	if err := c.conn.Close(4321, "from the client"); err != nil {
		t.Errorf("closing with 4321: %v", err)
	}
	c = dialCoder(ctx, t, e, "/echo", mode, compressed)
	if err := c.conn.Write(ctx, websocket.MessageText, []byte("!terminate")); err != nil {
		t.Fatal(err)
	}
	want := websocket.StatusCode(e.CutCode)
	if e.Gateway == nil {
		want = -1
	}
	if code, reason := c.closed(); code != want {
		t.Errorf("upstream's connection ended: client saw %d %q, want %d", code, reason, want)
	}
}

// TestCoderUpstream runs the `ws` client against coder/websocket. (ws, coder) is the last of the four pairs.
func TestCoderUpstream(t *testing.T) {
	t.Parallel()
	sizes := sizesTo(mib)
	edge := newEdge(t, startCoderUpstream(t, websocket.CompressionContextTakeover))
	client := startPeer(t, "client_ws.mjs", clientOptions{
		URL: edge.WS, Deflate: true, Sizes: sizes, FragmentedSizes: sizes, CutCode: edge.CutCode, WeakUpstream: true,
	}, edge.env()...)
	client.verdict(4*len(sizes) + 8)
}
