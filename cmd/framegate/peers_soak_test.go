package main_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

const (
	soakConnections = 200
	soakMeanPause   = 400 * time.Millisecond // between two messages of one side
	soakSlack       = time.Minute            // for dialling and for the last messages, on top of the time of the traffic
	endMark         = "END "                 // starts the text that ends a side's traffic, which starts with # elsewhere
)

// soakTime is how long the traffic flows: FRAMEGATE_SOAK, by default 3 s, and a third of that with goroutines. `make soak` takes a minute.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	value := os.Getenv("FRAMEGATE_SOAK")
	if value == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 || d > time.Hour {
		t.Fatalf("FRAMEGATE_SOAK=%q: want a duration up to 1h, such as 60s", value)
	}
	return d
}

// soak is one run: clients and the upstream of all connections are in this process, with the gateway between them.
type soak struct {
	t        *testing.T
	edge     *edge
	dialer   ws.Dialer
	stop     chan struct{} // closed when the traffic shall end
	deadline time.Time     // of every connection
	ends     sync.WaitGroup
	upstream net.Listener
	messages atomic.Int64 // that have arrived, all of them right
}

// TestSoak sends numbered messages of random sizes both ways on 200 connections at once, in random fragments that are written in random
// pieces, while further connections come and end in every way that a connection can end. Nothing may be lost, doubled, out of order
// or changed, and afterwards the gateway holds no more goroutines and descriptors than before.
func TestSoak(t *testing.T) {
	t.Parallel()
	duration := soakTime(t)
	t.Run("auto", func(t *testing.T) { testSoak(t, "auto", duration) })
	t.Run("goroutines", func(t *testing.T) { testSoak(t, "goroutines", duration/3) })
}

func testSoak(t *testing.T, driver string, duration time.Duration) {
	s := &soak{t: t, stop: make(chan struct{}), deadline: time.Now().Add(duration + soakSlack)}
	var err error
	s.upstream, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.upstream.Close() })
	s.ends.Go(s.serve)
	s.edge = newEdgeOn(t, driver, s.upstream.Addr().(*net.TCPAddr).Port)
	if s.edge.Gateway != nil {
		s.dialer.TLSConfig = s.edge.Gateway.ClientTLS()
	}

	s.churn(0, 0) // what the gateway makes once, at its first connection, belongs to the start
	if g := s.edge.Gateway; g != nil {
		g.WaitLogs("connection", 1)
		before := g.Usage()
		t.Cleanup(func() { // runs before the gateway's own cleanup, which ends it
			after := g.WaitUsage(before, 15*time.Second)
			t.Logf("before: %v, after: %v, sessions: %d", before, after, len(g.Logs("connection")))
		})
	}

	var clients sync.WaitGroup
	for id := range uint64(soakConnections) {
		clients.Go(func() { s.client(id) })
	}
	const workers = 4
	for worker := range uint64(workers) {
		clients.Go(func() { s.churnUntilStop(1_000_000 * (worker + 1)) })
	}
	// A tenth of what is to be sent must have come, for which a busy machine has as long again as the slack lasts.
	least := int64(soakConnections * duration / soakMeanPause / 5)
	started := time.Now()
	time.AfterFunc(duration, func() {
		for s.messages.Load() < least && time.Since(started) < duration+soakSlack/2 {
			time.Sleep(100 * time.Millisecond)
		}
		close(s.stop)
	})
	clients.Wait()
	s.upstream.Close()
	s.ends.Wait()
	took := time.Since(started)
	t.Logf("%d messages in %v", s.messages.Load(), took)
	if s.messages.Load() < least {
		t.Errorf("only %d messages in %v, want %d at least: a tenth of what was to be sent", s.messages.Load(), took, least)
	}
}

// serve accepts the upstream's connections until the listener is closed, and waits for all of them.
func (s *soak) serve() {
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for {
		conn, err := s.upstream.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() {
			defer conn.Close()
			s.serveOne(conn)
		})
	}
}

func (s *soak) serveOne(conn net.Conn) {
	conn.SetDeadline(s.deadline)
	var path string
	upgrader := ws.Upgrader{OnRequest: func(uri []byte) error {
		path = string(uri)
		return nil
	}}
	if _, err := upgrader.Upgrade(conn); err != nil {
		s.t.Errorf("upstream's handshake: %v", err)
		return
	}
	words := strings.Split(strings.Trim(path, "/"), "/")
	if len(words) != 3 {
		s.t.Errorf("path %q at the upstream", path)
		return
	}
	id, err := strconv.ParseUint(words[1], 10, 64)
	if err != nil {
		s.t.Errorf("path %q at the upstream: %v", path, err)
		return
	}
	l := newLink(conn, nil, false, id)
	if words[0] == "churn" {
		err = s.serveChurn(l, int(words[2][0]-'0'))
	} else {
		err = s.run(l)
	}
	if err != nil {
		s.t.Errorf("upstream's end of %s: %v", path, err)
	}
}

func (s *soak) dial(path string, id uint64) (*link, error) {
	ctx, cancel := context.WithTimeout(context.Background(), soakSlack)
	defer cancel()
	conn, buffered, _, err := s.dialer.Dial(ctx, s.edge.WS+path)
	if err != nil {
		return nil, fmt.Errorf("dialling %s: %w", path, err)
	}
	conn.SetDeadline(s.deadline)
	return newLink(conn, buffered, true, id), nil
}

func (s *soak) client(id uint64) {
	l, err := s.dial(fmt.Sprintf("/soak/%d/0", id), id)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer l.conn.Close()
	if err := s.run(l); err != nil {
		s.t.Errorf("client's end of connection %d: %v", id, err)
	}
}

// soakEnd is what the reading goroutine of an end tells the writing one.
type soakEnd struct {
	pings  chan []byte   // to be answered
	pongs  chan []byte   // that have come
	ended  chan struct{} // closed when the other side has ended its traffic
	closed chan struct{} // closed when its Close has come, or when reading has failed
}

// run sends one end's traffic until stop, checks the other end's, and closes: the client begins, when both have ended their traffic.
func (s *soak) run(l *link) error {
	e := soakEnd{make(chan []byte, 8), make(chan []byte, 8), make(chan struct{}), make(chan struct{})}
	var writing error
	var writer sync.WaitGroup
	writer.Go(func() {
		if writing = s.write(l, e); writing != nil {
			l.conn.Close() // which ends the reading too
		}
	})
	reading := s.read(l, e)
	if reading != nil {
		l.conn.Close()
	}
	close(e.closed)
	writer.Wait()
	if reading != nil {
		return errors.Join(reading, writing)
	}
	return writing
}

// read reads up to the other end's Close.
func (s *soak) read(l *link, e soakEnd) error {
	for {
		event, err := l.next()
		if err != nil {
			return fmt.Errorf("after %d messages: %w", l.received, err)
		}
		switch event.op {
		case ws.OpPing, ws.OpPong:
			queue := e.pings
			if event.op == ws.OpPong {
				queue = e.pongs
			}
			select {
			case queue <- event.payload:
			default: // each side has at most one ping under way, and its peer's keep-alive is slower than this
				return fmt.Errorf("%v %q is one too many", event.op, event.payload)
			}
		case ws.OpClose:
			if code, reason := ws.ParseCloseFrameData(event.payload); code != 1000 || reason != "done" {
				return fmt.Errorf("closed with %d %q after %d messages", code, reason, l.received)
			}
			return nil
		default:
			count, ended := strings.CutPrefix(string(event.payload[:min(len(endMark)+20, len(event.payload))]), endMark)
			if !ended {
				if err = l.accept(event); err == nil {
					s.messages.Add(1)
				}
			} else if close(e.ended); count != strconv.FormatUint(l.received, 10) {
				err = fmt.Errorf("%d messages have come, %s were sent", l.received, count)
			}
			if err != nil {
				return err
			}
		}
	}
}

// write sends messages and pings at random times, and answers pings between frames.
func (s *soak) write(l *link, e soakEnd) error {
	pause := time.NewTimer(l.pace(soakMeanPause))
	defer pause.Stop()
	stop, peerEnded := s.stop, e.ended
	var ping []byte // that has no pong yet
	ended := false
	for !ended || peerEnded != nil {
		stopping := stop
		if ping != nil {
			stopping = nil // its pong first
		}
		var err error
		select {
		case payload := <-e.pings:
			err = l.chop(l.frame(ws.OpPong, true, payload))
		case payload := <-e.pongs:
			if string(payload) != string(ping) {
				err = fmt.Errorf("pong %q, want %q", payload, ping)
			}
			ping = nil
		case <-pause.C:
			err = s.writeNext(l, &ping)
			pause.Reset(l.pace(soakMeanPause))
		case <-stopping:
			err = l.sendMessage(ws.OpText, fmt.Appendf(nil, "%s%d", endMark, l.sent), nil)
			ended, stop = true, nil
			pause.Stop()
		case <-peerEnded:
			peerEnded = nil
		case <-e.closed:
			select {
			case <-e.ended: // its end and its Close have come before this goroutine's turn
				peerEnded = nil
			default:
			}
			if peerEnded != nil || !ended {
				return errors.New("the other side has closed before the end of the traffic")
			}
		}
		if err != nil {
			return fmt.Errorf("writing after %d messages: %w", l.sent, err)
		}
	}
	if l.isClient {
		return l.sendClose(1000, "done")
	}
	return answerUntilClosed(l, e)
}

// writeNext sends the next message, every sixteenth time with a ping inside when the last one has had its pong.
func (s *soak) writeNext(l *link, ping *[]byte) error {
	if *ping != nil || l.dice.IntN(16) > 0 {
		return l.sendNext(nil)
	}
	return l.sendNext(func() error {
		*ping = fmt.Appendf(nil, "ping %d of %v", l.sent, l.isClient)
		return l.chop(l.frame(ws.OpPing, true, *ping))
	})
}

// answerUntilClosed is the rest of the upstream's life: it answers pings, then the client's Close.
func answerUntilClosed(l *link, e soakEnd) error {
	for {
		select {
		case payload := <-e.pings:
			if err := l.chop(l.frame(ws.OpPong, true, payload)); err != nil {
				return err
			}
		case <-e.closed:
			return l.sendClose(1000, "done")
		}
	}
}
