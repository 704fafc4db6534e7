package reactor

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/proxy/stream"
)

// A pipe is a connection in memory for the goroutine driver, as its peer sees
// it.
type pipe struct {
	start   time.Time
	mu      sync.Mutex
	change  sync.Cond
	arrived [][]byte
	end     error // behind what arrived; nil while the peer may send
	stalled bool
	closed  bool
	events  []transcript.Event
}

func newPipe() *pipe {
	p := &pipe{start: time.Now()}
	p.change.L = &p.mu
	return p
}

var errPipeReset = errors.New("connection reset by peer")

func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && len(p.arrived) == 0 && p.end == nil {
		p.change.Wait()
	}
	switch {
	case p.closed:
		return 0, net.ErrClosed
	case len(p.arrived) == 0:
		return 0, p.end
	}
	n := copy(b, p.arrived[0])
	if p.arrived[0] = p.arrived[0][n:]; len(p.arrived[0]) == 0 {
		p.arrived = p.arrived[1:]
	}
	return n, nil
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled && !p.closed && p.end != errPipeReset {
		p.change.Wait()
	}
	switch {
	case p.closed:
		return 0, net.ErrClosed
	case p.end == errPipeReset:
		return 0, errPipeReset
	}
	p.note(relay.Write, append([]byte(nil), b...))
	return len(b), nil
}

func (p *pipe) note(kind relay.OpKind, b []byte) {
	p.events = append(p.events, transcript.Event{At: time.Since(p.start), Kind: kind, Data: b})
}

func (p *pipe) CloseWrite() error { p.do(func() { p.note(relay.HalfClose, nil) }); return nil }
func (p *pipe) Close() error      { return p.over(relay.Close) }
func (p *pipe) Abort() error      { return p.over(relay.Abort) }

func (p *pipe) over(kind relay.OpKind) error {
	p.do(func() {
		p.closed = true
		p.note(kind, nil)
	})
	return nil
}

// do changes what the peer does, or what is done to it.
func (p *pipe) do(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.change.Broadcast()
}

// A streamed is a transcript.Subject: a session under the goroutine driver, in
// a synctest bubble.
type streamed struct {
	core   *relay.Session
	driver *stream.Driver
	pipes  [2]*pipe
	over   chan relay.Result
}

func newStreamed(l *relay.Limits, grant *relay.Grant) *streamed {
	s := &streamed{core: relay.New(l, grant, time.Now()), pipes: [2]*pipe{newPipe(), newPipe()}, over: make(chan relay.Result, 1)}
	s.driver = stream.New(s.core, s.pipes[relay.Client], s.pipes[relay.Upstream], nil)
	go func() { s.over <- s.driver.Run([2][]byte{}) }()
	synctest.Wait()
	return s
}

// peer does something to the end of a side that has not ended.
func (s *streamed) peer(side relay.Side, do func(p *pipe)) {
	p := s.pipes[side]
	p.do(func() {
		if p.end == nil {
			do(p)
		}
	})
	synctest.Wait()
}

func (s *streamed) Send(from relay.Side, b []byte) {
	s.peer(from, func(p *pipe) { p.arrived = append(p.arrived, append([]byte(nil), b...)) })
}
func (s *streamed) EOF(from relay.Side)   { s.peer(from, func(p *pipe) { p.end = io.EOF }) }
func (s *streamed) Reset(from relay.Side) { s.peer(from, func(p *pipe) { p.end = errPipeReset }) }
func (s *streamed) Break(relay.Side)      { panic("no script breaks a peer here") }
func (s *streamed) Stall(to relay.Side, on bool) {
	s.pipes[to].do(func() { s.pipes[to].stalled = on })
	synctest.Wait()
}
func (s *streamed) Fail(c relay.Cause) { s.driver.Fail(c); synctest.Wait() }
func (s *streamed) Adopt(l *relay.Limits, g *relay.Grant) {
	s.driver.Do(func(core *relay.Session, now time.Time) { core.Adopt(l, g, now) })
	synctest.Wait()
}
func (s *streamed) Abort()                 { s.driver.Abort(); synctest.Wait() }
func (s *streamed) Sleep(d time.Duration)  { time.Sleep(d); synctest.Wait() }
func (s *streamed) Hits() []transcript.Hit { return nil }

func (s *streamed) Events(to relay.Side) (events []transcript.Event) {
	p := s.pipes[to]
	p.do(func() { events, p.events = p.events, nil })
	return events
}

func (s *streamed) Result() (relay.Result, [2]relay.Stats, bool) {
	return s.core.Result(), [2]relay.Stats{s.core.Stats(relay.Client), s.core.Stats(relay.Upstream)}, s.core.Done()
}

// stop ends the session, if it has not ended.
func (s *streamed) stop() {
	s.driver.Abort()
	<-s.over
}
