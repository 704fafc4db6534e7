package main_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/gobwas/ws"
)

// The ways in which a short connection ends. A cut is the end of a side's TCP connection without a Close. The gateway gathers a small
// frame before it passes it on, so the other side of a cut inside of one is told as if it were between two frames; nothing can be told
// after a part of a large frame.
const (
	churnClose         = iota // the client closes, the upstream answers
	churnClientCut            // between two frames: the upstream is told 1001
	churnClientSmall          // inside of a small frame: the upstream is told 1001
	churnClientLarge          // inside of a large frame: the upstream's connection ends without a Close
	churnUpstreamCut          // between two frames: the client is told 1011
	churnUpstreamSmall        // inside of a small frame: the client is told 1011
	churnUpstreamLarge        // inside of a large frame: the client's connection ends without a Close
	churnKinds
)

const churnAck = "ack" // the upstream's answer to the messages, so that none is under way when a connection is cut

// churnUntilStop makes short connections, one after the other.
func (s *soak) churnUntilStop(id uint64) {
	for ; ; id++ {
		pause := time.NewTimer(time.Duration(rand.Int64N(int64(300 * time.Millisecond))))
		select {
		case <-s.stop:
			pause.Stop()
			return
		case <-pause.C:
			s.churn(id, int(id%churnKinds))
		}
	}
}

// churn makes one connection, sends a few messages and lets it end in the given way.
func (s *soak) churn(id uint64, kind int) {
	l, err := s.dial(fmt.Sprintf("/churn/%d/%d", id, kind), id)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer l.conn.Close()
	if err := s.churnClient(l, kind); err != nil {
		s.t.Errorf("client's end of short connection %d, kind %d: %v", id, kind, err)
	}
}

func (s *soak) churnClient(l *link, kind int) error {
	for range churnMessages(l) {
		if err := l.sendNext(nil); err != nil {
			return err
		}
	}
	if err := expectText(l, churnAck); err != nil {
		return err
	}
	switch kind {
	case churnClose:
		if err := l.sendClose(4000, "bye"); err != nil {
			return err
		}
		return expectClose(l, 4000)
	case churnClientCut, churnClientSmall, churnClientLarge:
		return l.breakOff(kind - churnClientCut)
	}
	if err := l.sendMessage(ws.OpText, []byte(churnAck), nil); err != nil {
		return err
	}
	if kind == churnUpstreamLarge {
		return expectSilence(l)
	}
	return s.expectCut(l, 1011)
}

// serveChurn is the upstream's end.
func (s *soak) serveChurn(l *link, kind int) error {
	for range churnMessages(l) {
		event, err := l.next()
		if err != nil {
			return err
		}
		if err := l.accept(event); err != nil {
			return err
		}
	}
	if err := l.sendMessage(ws.OpText, []byte(churnAck), nil); err != nil {
		return err
	}
	switch kind {
	case churnClose:
		if err := expectClose(l, 4000); err != nil {
			return err
		}
		return l.sendClose(4000, "bye")
	case churnClientCut, churnClientSmall:
		return s.expectCut(l, 1001)
	case churnClientLarge:
		return expectSilence(l)
	}
	if err := expectText(l, churnAck); err != nil {
		return err
	}
	return l.breakOff(kind - churnUpstreamCut)
}

// churnMessages is how many messages a short connection carries, and resets whether it is cut with an RST. Both ends know.
func churnMessages(l *link) uint64 { return l.sends.conn % 11 }
func resets(l *link) bool          { return l.sends.conn/churnKinds%2 == 1 }

// breakOff ends the TCP connection between two frames (0), inside of a small frame (1) or inside of a large one (2).
func (l *link) breakOff(where int) error {
	reset := resets(l)
	if size := [...]int{0, 1000, 50_000}[where]; size > 0 {
		frame := l.frame(ws.OpBinary, true, make([]byte, size))
		if err := l.chop(frame[:size/2]); err != nil {
			return err
		}
		reset = reset && where == 1 // an RST may overtake the half frame, after which no part of a large one may have been passed on
	}
	l.cut(reset)
	return nil
}

func expectText(l *link, want string) error {
	event, err := l.next()
	if err != nil {
		return fmt.Errorf("waiting for %q: %w", want, err)
	}
	if event.op != ws.OpText || string(event.payload) != want {
		return fmt.Errorf("got %d bytes of %v, want %q", len(event.payload), event.op, want)
	}
	return nil
}

func expectClose(l *link, want ws.StatusCode) error {
	event, err := l.next()
	if err != nil {
		return fmt.Errorf("waiting for Close %d: %w", want, err)
	}
	if code, _ := ws.ParseCloseFrameData(event.payload); event.op != ws.OpClose || code != want {
		return fmt.Errorf("got %v with code %d, want Close %d", event.op, code, want)
	}
	return nil
}

// expectCut waits for what an end is told when the other one was cut between two frames: the gateway's Close.
func (s *soak) expectCut(l *link, want ws.StatusCode) error {
	if s.edge.Gateway == nil {
		return expectSilence(l)
	}
	return expectClose(l, want)
}

// expectSilence waits for the end of the connection, before which no Close and no message may come.
func expectSilence(l *link) error {
	if event, err := l.next(); err == nil {
		return fmt.Errorf("got %v with %d bytes, want the end of the connection", event.op, len(event.payload))
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}
