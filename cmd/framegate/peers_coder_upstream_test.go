package main_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
)

// countedConn counts the bytes of an upstream's connection.
type countedConn struct {
	net.Conn
	read, written atomic.Int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

type countingListener struct{ net.Listener }

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: conn}, nil
}

type connKey struct{}

// startCoderUpstream serves what upstream.mjs serves, with coder/websocket, and returns its port.
func startCoderUpstream(t *testing.T, mode websocket.CompressionMode) int {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serveCoder(t, w, r, mode)
	}))
	server.Listener = countingListener{server.Listener}
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, c)
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().(*net.TCPAddr).Port
}

// coderEcho is one connection of the upstream.
type coderEcho struct {
	conn      *websocket.Conn
	bytes     *countedConn
	fragments int
	ping      bool
	pings     sync.WaitGroup
	pingError atomic.Pointer[error]

	count int
	last  lastMessage
}

// lastMessage is the answer to the command !last.
type lastMessage struct {
	Count   int    `json:"count"`
	Binary  bool   `json:"binary"`
	Length  int    `json:"length"`
	SHA256  string `json:"sha256"`
	Read    int64  `json:"read"`
	Written int64  `json:"written"`
}

func serveCoder(t *testing.T, w http.ResponseWriter, r *http.Request, mode websocket.CompressionMode) {
	offered := strings.Split(r.Header.Get("Sec-WebSocket-Protocol"), ",")
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		CompressionMode: mode, CompressionThreshold: 1, Subprotocols: offered[:1],
	})
	if err != nil {
		t.Errorf("coder/websocket as upstream: %v", err)
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	e := &coderEcho{conn: conn, bytes: r.Context().Value(connKey{}).(*countedConn), ping: r.URL.Query().Has("ping")}
	e.fragments, _ = strconv.Atoi(r.URL.Query().Get("fragments"))
	// The request's context ends with the hijacked connection's server, not with the connection.
	if err := e.run(r.Context()); err != nil {
		t.Errorf("coder/websocket as upstream: %v", err)
	}
	e.pings.Wait()
}

// run echoes until the connection ends, which is no error: the client judges how it ended.
func (e *coderEcho) run(ctx context.Context) error {
	for {
		typ, data, err := e.conn.Read(ctx)
		if err != nil {
			return nil
		}
		if typ == websocket.MessageText && len(data) > 0 && data[0] == '!' {
			if done, err := e.command(ctx, string(data)); done || err != nil {
				return err
			}
			continue
		}
		sum := sha256.Sum256(data)
		e.count++
		e.last = lastMessage{Count: e.count, Binary: typ == websocket.MessageBinary, Length: len(data), SHA256: hex.EncodeToString(sum[:])}
		if e.ping && typ == websocket.MessageBinary {
			e.pings.Go(func() {
				if err := e.conn.Ping(ctx); err != nil {
					e.pingError.Store(&err)
				}
			})
		}
		if err := writeCoder(ctx, e.conn, typ, data, e.fragments, nil); err != nil {
			return fmt.Errorf("echoing %d bytes: %w", len(data), err)
		}
	}
}

func (e *coderEcho) command(ctx context.Context, text string) (done bool, err error) {
	words := strings.SplitN(text, " ", 3)
	switch words[0] {
	case "!last":
		e.last.Read, e.last.Written = e.bytes.read.Load(), e.bytes.written.Load()
		answer, err := json.Marshal(e.last)
		if err != nil {
			return true, err
		}
		return false, e.conn.Write(ctx, websocket.MessageText, answer)
	case "!pongs": // answered from a goroutine of its own, since the pongs come to the reader
		go func() {
			e.pings.Wait()
			answer := "all pongs"
			if err := e.pingError.Load(); err != nil {
				answer = (*err).Error()
			}
			e.conn.Write(ctx, websocket.MessageText, []byte(answer))
		}()
		return false, nil
	case "!close":
		code, err := strconv.Atoi(words[1])
		if err != nil {
			return true, err
		}
		return true, e.conn.Close(websocket.StatusCode(code), words[2])
	case "!terminate":
		return true, e.conn.CloseNow()
	}
	return true, fmt.Errorf("unknown command %q", text)
}

// writeCoder sends one message in at least the given number of frames; between is called after the first one. With one fragment it
// is a single frame. Where compression is on, coder/websocket makes a frame of every piece of its compressor's output.
func writeCoder(ctx context.Context, c *websocket.Conn, typ websocket.MessageType, data []byte, fragments int, between func() error) error {
	if fragments <= 1 {
		return c.Write(ctx, typ, data)
	}
	w, err := c.Writer(ctx, typ)
	if err != nil {
		return err
	}
	from := 0
	for i, to := range cuts(len(data), fragments) {
		if _, err := w.Write(data[from:to]); err != nil {
			return err
		}
		if i == 0 && between != nil {
			if err := between(); err != nil {
				return err
			}
		}
		from = to
	}
	return w.Close()
}

// cuts returns n increasing places at which to cut a message of the given size, its end the last one. Some may be equal.
func cuts(size, n int) []int {
	places := make([]int, n)
	for i := range places {
		places[i] = rand.IntN(size + 1)
	}
	places[n-1] = size
	slices.Sort(places)
	return places
}
