package wstest

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Victim is a well-behaved session that sends numbered messages through the gateway while something else goes on, and demands
// that every one comes back from an echo, once and in order (invariant I4 of security.md).
type Victim struct {
	tb      testing.TB
	client  *Client
	sent    atomic.Int64
	echoed  atomic.Int64
	stop    chan struct{}
	running sync.WaitGroup
	failure atomic.Pointer[error]
	last    Frame // the Close, read by the reader
}

// victimPace is the time between two messages.
const victimPace = 20 * time.Millisecond

// NewVictim starts a victim on a connection whose upgrade is done. The cleanup stops it and fails the test if a message was
// lost, doubled or out of order, or if the connection ended before.
func NewVictim(tb testing.TB, c *Client) *Victim {
	tb.Helper()
	v := &Victim{tb: tb, client: c, stop: make(chan struct{})}
	v.running.Go(v.send)
	v.running.Go(v.receive)
	tb.Cleanup(v.finish)
	return v
}

func message(n int64) []byte { return fmt.Appendf(nil, "%08d %sVICTIM", n, Canary) }

func (v *Victim) send() {
	pace := time.NewTicker(victimPace)
	defer pace.Stop()
	for {
		select {
		case <-pace.C:
			if err := v.client.Send(ClientFrame(0x81, message(v.sent.Load()))); err != nil {
				v.fail(fmt.Errorf("sending message %d: %w", v.sent.Load(), err))
				return
			}
			v.sent.Add(1)
		case <-v.stop:
			v.settle(pace.C)
			v.client.Send(ClientFrame(0x88, CloseFrame(1000, "done")))
			return
		}
	}
}

// settle waits for the last echoes: behind a Close the gateway gives them a few seconds only.
func (v *Victim) settle(poll <-chan time.Time) {
	for until := time.Now().Add(Patience); v.echoed.Load() < v.sent.Load() && v.failure.Load() == nil && time.Now().Before(until); {
		<-poll
	}
}

func (v *Victim) receive() {
	for {
		f, err := v.client.ReadFrame()
		switch {
		case err != nil:
			v.fail(fmt.Errorf("reading echo %d: %w", v.echoed.Load(), err))
			return
		case f.IsClose():
			v.last = f
			return
		case f.Opcode() == 9:
			v.client.Send(ClientFrame(0x8a, f.Payload))
		case f.Opcode() == 10:
		case !bytes.Equal(f.Payload, message(v.echoed.Load())):
			v.fail(fmt.Errorf("echo %d is %v", v.echoed.Load(), f))
			return
		default:
			v.echoed.Add(1)
		}
	}
}

func (v *Victim) fail(err error) { v.failure.CompareAndSwap(nil, &err) }

// Echoed returns the number of messages that have come back.
func (v *Victim) Echoed() int64 { return v.echoed.Load() }

func (v *Victim) finish() {
	v.tb.Helper()
	close(v.stop)
	v.running.Wait()
	defer v.client.Close()
	if err := v.failure.Load(); err != nil {
		v.tb.Errorf("victim session: %v (%d sent, %d echoed)", *err, v.sent.Load(), v.echoed.Load())
		return
	}
	if sent, echoed := v.sent.Load(), v.echoed.Load(); sent != echoed {
		v.tb.Errorf("victim session: %d messages sent, %d echoed", sent, echoed)
	}
	if code, _ := v.last.CloseCode(); code != 1000 {
		v.tb.Errorf("victim session ended with %v, want close 1000", v.last)
	}
}
