//lint:file-ignore SA1019 ws.ReadFrame is for peers that are trusted: here the gateway under test and its client, with frames of a few bytes

package main_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/framegate/framegate/internal/wstest"
)

// What the gateway's heap may have grown by between two rests, in bytes, whatever came and went between them.
// It is much for the short run, in which the collector's rhythm shows, and little for a minute: 50 bytes a connection.
const churnGrowth = 2 << 20

// churnTime is how long connections come and go: FRAMEGATE_CHURN, by default 3 s. `make churn` takes a minute, in which as many come as in an
// hour of ten a second.
func churnTime(t *testing.T) time.Duration {
	t.Helper()
	value := os.Getenv("FRAMEGATE_CHURN")
	if value == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 || d > time.Hour {
		t.Fatalf("FRAMEGATE_CHURN=%q: want a duration up to 1h, such as 60s", value)
	}
	return d
}

// TestChurn has connections come and go as fast as they can, plain and TLS, ended by a Close or cut. After the second half of the time the
// gateway holds no more memory, goroutines and descriptors than after the first.
func TestChurn(t *testing.T) {
	t.Parallel()
	duration := churnTime(t)
	c := &churned{t: t, upstream: echoUpstream(t)}
	c.Process = wstest.Start(t, fmt.Sprintf(`
listeners:
  - {address: "127.0.0.1:0", tls: {certificates: "off"}}
  - {address: "127.0.0.1:0", tls: {certificates: internal}}
routes: [{name: churn, hosts: [localhost], upstream: app, policies: [counted], close_timeout: 1s}]
upstreams: {app: {servers: ["ws://%s"]}}
policies:
  counted:
    connections: {per_ip: 30000}
    handshakes: {per_ip: 100000/s burst 100000}
    client: {messages: 100/s, bytes: 1MiB/s}
`, c.upstream))
	for i := range c.Addrs {
		c.once(i, 0) // what the first ones make for all
	}
	c.churn(duration / 2)
	before := c.rest()
	c.churn(duration / 2)
	after := c.rest()
	t.Logf("after the first half: %v; after the second: %v; %d connections in all, in %v", before, after, c.made.Load(), duration)
	if after.heap > before.heap+churnGrowth {
		t.Errorf("the heap grew from %.0f to %.0f bytes", before.heap, after.heap)
	}
	c.WaitUsage(before.Usage, wstest.Patience)
	if c.made.Load() < int64(duration/time.Second)*10 {
		t.Errorf("only %d connections in %v", c.made.Load(), duration)
	}
}

// churned is a gateway through which connections come and go.
type churned struct {
	*wstest.Process
	t        *testing.T
	upstream string
	made     atomic.Int64
}

// held is what the gateway holds at rest.
type held struct {
	wstest.Usage
	heap, resident float64
}

func (h held) String() string {
	return fmt.Sprintf("%.0f KiB of heap, %.0f KiB resident, %v", h.heap/1024, h.resident/1024, h.Usage)
}

// churn makes connections for a time.
func (c *churned) churn(d time.Duration) {
	var workers sync.WaitGroup
	deadline := time.Now().Add(d)
	for n := range 16 {
		workers.Go(func() {
			for ; time.Now().Before(deadline) && !c.t.Failed(); n++ {
				c.once(n%2, n/2%3)
			}
		})
	}
	workers.Wait()
}

// once makes a connection, sends a message to and fro, and ends it: 0 and 1 by a Close, 2 without one.
func (c *churned) once(listener, end int) {
	ctx, cancel := context.WithTimeout(context.Background(), wstest.Patience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Addrs[listener])
	if err != nil {
		c.t.Error(err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(wstest.Patience))
	if listener == 1 {
		conn = tls.Client(conn, c.ClientTLS())
	}
	if err := converse(conn, end); err != nil {
		c.t.Errorf("connection %d: %v", c.made.Load(), err)
	}
	c.made.Add(1)
}

func converse(conn net.Conn, end int) error {
	if _, err := conn.Write(wstest.HS0("/churn").With("Host", "localhost").Without("Origin").Bytes()); err != nil {
		return err
	}
	head := make([]byte, 0, 1024)
	for len(head) < 4 || string(head[len(head)-4:]) != "\r\n\r\n" {
		n, err := conn.Read(head[len(head) : len(head)+1])
		if head = head[:len(head)+n]; err != nil || len(head) == cap(head) {
			return fmt.Errorf("%w in the answer %q", err, head)
		}
	}
	if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewTextFrame([]byte("hello")))); err != nil {
		return err
	}
	if f, err := ws.ReadFrame(conn); err != nil || string(f.Payload) != "hello" {
		return fmt.Errorf("got %q, %w", f.Payload, err)
	}
	if end == 2 {
		return nil
	}
	if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "")))); err != nil {
		return err
	}
	if f, err := ws.ReadFrame(conn); err != nil || f.Header.OpCode != ws.OpClose {
		return fmt.Errorf("got %+v, %w, want a Close", f.Header, err)
	}
	return nil
}

// rest waits until all sessions are gone and the gateway has collected what they left, and returns what it holds.
func (c *churned) rest() held {
	c.t.Helper()
	h := held{heap: math.Inf(1)}
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	gone := time.Time{}
	for deadline := time.Now().Add(time.Minute); ; <-poll.C {
		m := c.Metrics()
		switch now := time.Now(); {
		case now.After(deadline):
			c.t.Fatalf("%v sessions are left", m[`framegate_connections{route="churn"}`])
		case m[`framegate_connections{route="churn"}`] > 0:
		case gone.IsZero():
			gone = now
		case now.Sub(gone) > 4*time.Second && m["go_memstats_last_gc_time_seconds"]*1e9 > float64(gone.UnixNano()):
			h.resident, h.Usage = m["process_resident_memory_bytes"], c.Usage()
			return h
		default:
			h.heap = min(h.heap, m["go_memstats_heap_alloc_bytes"])
		}
	}
}

// echoUpstream is a server that sends each frame back, and keeps nothing.
func echoUpstream(t *testing.T) (address string) {
	return wstest.Serve(t, func(conn net.Conn) {
		defer conn.Close()
		if err := echoFrames(conn); err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("upstream: %v", err)
		}
	})
}

func echoFrames(conn net.Conn) error {
	if _, err := ws.Upgrade(conn); err != nil {
		return err
	}
	for {
		f, err := ws.ReadFrame(conn)
		if err != nil {
			return err
		}
		if err := ws.WriteFrame(conn, ws.NewFrame(f.Header.OpCode, true, ws.UnmaskFrame(f).Payload)); err != nil {
			return err
		}
		if f.Header.OpCode == ws.OpClose {
			return nil
		}
	}
}
