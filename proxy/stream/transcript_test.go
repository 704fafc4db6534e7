package stream_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/proxy/stream"
)

// A run is a session under the driver, for a transcript.
type run struct {
	session *relay.Session
	driver  *stream.Driver
	conns   [2]*conn
	over    chan relay.Result
	counted [2]relay.Stats
	mu      sync.Mutex
	hits    []transcript.Hit // guarded by mu
}

func (r *run) count(from relay.Side, more relay.Stats) {
	c := &r.counted[from]
	*c = c.Add(more)
}

// newRun makes a session inside of a synctest bubble, and does not run it yet.
func newRun(t testing.TB, l *relay.Limits, grant *relay.Grant) *run {
	r := &run{conns: [2]*conn{newConn(t), newConn(t)}, over: make(chan relay.Result, 1)}
	r.session = relay.New(l, grant, time.Now())
	r.driver = stream.New(r.session, r.conns[0], r.conns[1], r.count)
	r.driver.OnHit = func(from relay.Side, hit relay.Hit) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hits = append(r.hits, transcript.Hit{From: from, Hit: hit})
	}
	return r
}

// start runs a session.
func start(t testing.TB, l *relay.Limits, grant *relay.Grant, early [2][]byte) *run {
	r := newRun(t, l, grant)
	go func() { r.over <- r.driver.Run(early) }()
	synctest.Wait()
	return r
}

func (r *run) Send(from relay.Side, p []byte) { r.conns[from].send(p); synctest.Wait() }
func (r *run) EOF(from relay.Side)            { r.conns[from].eof(); synctest.Wait() }
func (r *run) Reset(from relay.Side)          { r.conns[from].reset(); synctest.Wait() }
func (r *run) Stall(to relay.Side, on bool)   { r.conns[to].stall(on); synctest.Wait() }
func (r *run) Break(to relay.Side)            { r.conns[to].breakWrites(); synctest.Wait() }
func (r *run) Fail(c relay.Cause)             { r.driver.Fail(c); synctest.Wait() }
func (r *run) Adopt(l *relay.Limits, g *relay.Grant) {
	r.driver.Do(func(core *relay.Session, now time.Time) { core.Adopt(l, g, now) })
	synctest.Wait()
}
func (r *run) Abort()                { r.driver.Abort(); synctest.Wait() }
func (r *run) Sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

func (r *run) Events(to relay.Side) []transcript.Event { return r.conns[to].take() }

func (r *run) Hits() (hits []transcript.Hit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	hits, r.hits = r.hits, nil
	return hits
}

func (r *run) Result() (relay.Result, [2]relay.Stats, bool) {
	return r.session.Result(), [2]relay.Stats{r.session.Stats(relay.Client), r.session.Stats(relay.Upstream)}, r.session.Done()
}

// stop ends the session, if it has not ended, and checks what it leaves.
func (r *run) stop(t testing.TB) (result relay.Result) {
	t.Helper()
	r.driver.Abort()
	time.Sleep(time.Second) // a write may take its time
	synctest.Wait()
	select {
	case result = <-r.over:
	default:
		t.Fatal("both connections are closed, and Run has not returned")
	}
	for side, c := range r.conns {
		if c.closed != 1 {
			t.Errorf("the connection to the %v was closed %d times", relay.Side(side), c.closed)
		}
		if got, want := r.counted[side], r.session.Stats(relay.Side(side)); got != want {
			t.Errorf("of the %v %+v were counted, want %+v", relay.Side(side), got, want)
		}
	}
	return result
}

// TestTranscripts plays the transcripts of package relay through the driver.
func TestTranscripts(t *testing.T) {
	for _, script := range transcript.Read(t, "../relay/testdata/*.txt") {
		t.Run(script.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r *run
				got, err := script.Play(func(l *relay.Limits, grant *relay.Grant) transcript.Subject {
					if r != nil {
						r.stop(t)
					}
					r = start(t, l, grant, [2][]byte{})
					return r
				})
				if err != nil {
					t.Error(err)
				}
				r.stop(t)
				script.Check(t, got, false)
			})
		})
	}
}
