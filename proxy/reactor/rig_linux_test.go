package reactor

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/proxy/relay"
)

// epoch is when the clocks of rigs begin.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// maxTurns is what no single change of a rig may take: more is a loop that
// spins.
const maxTurns = 5000

// A ledger is the owner of a session.
type ledger struct {
	mu     sync.Mutex
	more   [2]relay.Stats
	hits   []transcript.Hit
	faults []any
	ended  int
	result relay.Result
	stats  [2]relay.Stats
	over   chan struct{} // closed by Ended, where not nil
}

func (g *ledger) Relayed(from relay.Side, more relay.Stats) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &g.more[from]
	*c = c.Add(more)
}

func (g *ledger) Ruled(from relay.Side, hit relay.Hit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hits = append(g.hits, transcript.Hit{From: from, Hit: hit})
}

func (g *ledger) Panicked(fault any, _ []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.faults = append(g.faults, fault)
}

func (g *ledger) Ended(r relay.Result, stats [2]relay.Stats) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended++
	g.result, g.stats = r, stats
	if g.over != nil && g.ended == 1 {
		close(g.over)
	}
}

// A wiring says what connects a rig's session to its peers.
type wiring struct {
	name    string
	network string // unix or tcp
	tls     uint16 // its version, or 0
}

// wirings are all that a session must not be able to tell from each other. Of
// TCP the kernel's buffers cannot be filled for certain, so there no peer stalls.
func wirings() []wiring {
	return []wiring{
		{name: "unix", network: "unix"}, {name: "tcp", network: "tcp"},
		{name: "unix TLS 1.2", network: "unix", tls: tls.VersionTLS12},
		{name: "unix TLS 1.3", network: "unix", tls: tls.VersionTLS13},
		{name: "tcp TLS 1.3", network: "tcp", tls: tls.VersionTLS13},
	}
}

// A rig is a loop that a test turns by hand, with a clock that stands still
// meanwhile, and one session.
type rig struct {
	t       testing.TB
	loop    *loop
	handle  Handle
	session *session
	core    *relay.Session
	peers   [2]*peer
	ledger  *ledger
	hooks   Hooks // the ledger, or what wraps it
}

// newLoopByHand returns a loop that nobody runs.
func newLoopByHand(t testing.TB, tick time.Duration) *loop {
	t.Helper()
	g := newGroup()
	l, err := newLoop(g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.release)
	g.loops = []*loop{l}
	l.start, l.now = epoch, epoch
	l.wheel.tick = tick
	return l
}

// newRig hands a session over.
func newRig(t testing.TB, l *loop, w wiring, limits *relay.Limits, grant *relay.Grant, early [2][]byte) *rig {
	t.Helper()
	r := &rig{t: t, loop: l, ledger: &ledger{}}
	r.hooks = r.ledger
	r.begin(w, limits, grant, early)
	return r
}

func (r *rig) begin(w wiring, limits *relay.Limits, grant *relay.Grant, early [2][]byte) {
	r.t.Helper()
	r.core = relay.New(limits, grant, r.loop.now)
	r.hand(r.connect([2]wiring{w, w}), early)
	r.rest()
}

// connect makes the peers, and returns what a driver is given.
func (r *rig) connect(w [2]wiring) (conns [2]net.Conn) {
	r.t.Helper()
	for side := range conns {
		r.peers[side], conns[side] = newPeer(r.t, w[side], relay.Side(side))
	}
	return conns
}

// hand adds the session to the loop's group, which adopts it in its next turn.
func (r *rig) hand(conns [2]net.Conn, early [2][]byte) {
	r.t.Helper()
	h, err := r.loop.group.Add(r.core, conns[relay.Client], conns[relay.Upstream], early, r.hooks)
	if err != nil {
		r.t.Fatal(err)
	}
	r.handle, r.session = h, h.s
	for side := range r.peers {
		r.peers[side].leg = &r.session.legs[side]
		r.peers[side].start = r.loop.now
	}
}

// turn lets the loop make one turn.
func (r *rig) turn() { r.loop.turn(r.loop.poll(), r.loop.now) }

// rest turns the loop until it has nothing to do at this moment.
func (r *rig) rest() {
	r.t.Helper()
	for n := 0; ; n++ {
		moved := false
		for _, p := range r.peers {
			moved = p.act(r.loop.now) || moved
		}
		events := r.loop.poll()
		if events == 0 && len(r.loop.next) == 0 && !moved {
			return
		}
		if n > maxTurns {
			r.t.Fatalf("the loop spins: %d events, %d legs to be read on", events, len(r.loop.next))
		}
		r.loop.turn(events, r.loop.now)
	}
}

// advance lets time pass, and the loop wake up whenever it would.
func (r *rig) advance(d time.Duration) {
	r.t.Helper()
	l, until := r.loop, r.loop.now.Add(d)
	for n := 0; !r.session.over; n++ {
		at := l.start.Add(l.wheel.at(l.wheel.after(r.core.Deadline().Sub(l.start))))
		if at.After(until) {
			break
		}
		if n > maxTurns {
			r.t.Fatal("time does not go on")
		}
		l.turn(l.poll(), at)
		r.rest()
	}
	l.turn(l.poll(), until)
	r.rest()
}

// The methods of a transcript.Subject.

func (r *rig) Send(from relay.Side, p []byte) { r.peers[from].send(p); r.rest() }
func (r *rig) EOF(from relay.Side)            { r.peers[from].end(); r.rest() }
func (r *rig) Reset(from relay.Side)          { r.peers[from].reset(); r.rest() }
func (r *rig) Stall(to relay.Side, on bool)   { r.peers[to].stall(on); r.rest() }
func (r *rig) Break(to relay.Side)            { r.peers[to].breakWrites(); r.rest() }
func (r *rig) Fail(c relay.Cause)             { r.handle.Fail(c); r.rest() }
func (r *rig) Adopt(l *relay.Limits, g *relay.Grant) {
	r.handle.Do(func(core *relay.Session, now time.Time) { core.Adopt(l, g, now) })
	r.rest()
}
func (r *rig) Abort()                { r.handle.Abort(); r.rest() }
func (r *rig) Sleep(d time.Duration) { r.advance(d) }

func (r *rig) Events(to relay.Side) []transcript.Event {
	p := r.peers[to]
	events := p.events
	p.events = nil
	return events
}

func (r *rig) Hits() []transcript.Hit {
	hits := r.ledger.hits
	r.ledger.hits = nil
	return hits
}

func (r *rig) Result() (relay.Result, [2]relay.Stats, bool) {
	return r.core.Result(), [2]relay.Stats{r.core.Stats(relay.Client), r.core.Stats(relay.Upstream)}, r.core.Done()
}

// leave ends the session, if it has not ended, and checks what it leaves.
func (r *rig) leave() {
	r.t.Helper()
	if !r.session.over {
		r.Abort()
	}
	g := r.loop.group
	at := slices.IndexFunc(g.done, func(e ending) bool { return e.hooks == r.hooks })
	if at < 0 {
		r.t.Fatalf("of %d sessions that have ended none is this one", len(g.done))
	}
	r.ledger.Ended(g.done[at].result, g.done[at].stats)
	g.done = slices.Delete(g.done, at, at+1)
	for side, x := range r.session.legs {
		if x.closed == 0 || x.fd != -1 || x.out != nil {
			r.t.Errorf("the %v's descriptor %d is not closed, or %d bytes are queued", relay.Side(side), x.fd, x.waits())
		}
		if got, want := r.ledger.more[side], r.core.Stats(relay.Side(side)); got != want {
			r.t.Errorf("of the %v %+v were counted, want %+v", relay.Side(side), got, want)
		}
		r.peers[side].close()
	}
}

// stop does so with the only session of a loop, of which then nothing is left.
func (r *rig) stop() {
	r.t.Helper()
	r.leave()
	l := r.loop
	for range 2 { // it tells of what was relayed, and then lets go of where that stood
		l.turn(l.poll(), l.now.Add(tellEvery+wheelTick))
	}
	if len(l.group.done) > 0 {
		r.t.Errorf("%d more sessions have ended", len(l.group.done))
	}
	if l.live != 0 || l.sessions.Load() != 0 || l.queued.Load() != 0 || l.paused.Load() != 0 {
		r.t.Errorf("the loop has %d (%d) sessions, %d bytes queued and %d sides paused, want none", l.live, l.sessions.Load(), l.queued.Load(), l.paused.Load())
	}
	for fd, x := range l.legs {
		if x != nil {
			r.t.Errorf("the loop remembers a leg at descriptor %d", fd)
		}
	}
	if l.wheel.next() != noTick || l.noted != nil || len(l.fed) > 0 || l.kept > 0 {
		r.t.Errorf("a timer is left, or %d and %d sessions and %d bytes are", len(l.noted), len(l.fed), l.kept)
	}
}

// descriptors is how many this process has.
func descriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// withDescriptors calls f while this process may open n descriptors and no
// more.
func withDescriptors(t testing.TB, n int, f func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	// The lowest numbers are taken first.
	var free []int
	for range n + 1 {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		free = append(free, fd)
	}
	for _, fd := range free {
		unix.Close(fd)
	}
	limited := before
	limited.Cur = uint64(free[n])
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limited); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	f()
}

// newPeer makes a connection and, with TLS, shakes hands. The gateway's end is
// what a driver is given.
func newPeer(t testing.TB, w wiring, side relay.Side) (*peer, net.Conn) {
	t.Helper()
	p, end := makePeer(t, w, side)
	t.Cleanup(p.close)
	return p, end
}

// makePeer leaves it to the caller to close the peer.
func makePeer(t testing.TB, w wiring, side relay.Side) (*peer, net.Conn) {
	t.Helper()
	own, theirs := newSockets(t, w.network)
	p := &peer{t: t, side: side, tcp: w.network == "tcp", wire: &wire{fd: theirs}}
	file := os.NewFile(uintptr(own), "gateway's end")
	conn, err := net.FileConn(file)
	if file.Close(); err != nil {
		t.Fatal(err)
	}
	var end net.Conn = NewTransport(conn)
	if w.tls != 0 {
		end = p.secure(w, end)
	}
	if err := unix.SetNonblock(theirs, true); err != nil {
		t.Fatal(err)
	}
	return p, end
}

// newSockets connects two descriptors.
func newSockets(t testing.TB, network string) (own, theirs int) {
	t.Helper()
	if network == "unix" {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fds[0], fds[1]
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{dialled, accepted} { // else megabytes pile up before a side is paused
		if err := errors.Join(c.(*net.TCPConn).SetReadBuffer(128<<10), c.(*net.TCPConn).SetWriteBuffer(128<<10)); err != nil {
			t.Fatal(err)
		}
	}
	return detach(t, dialled), detach(t, accepted)
}

// detach returns a blocking descriptor of a connection, which is closed.
func detach(t testing.TB, c net.Conn) int {
	t.Helper()
	file, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	c.Close()
	return fd
}

var (
	certified sync.Once
	served    tls.Certificate
)

// certificate is that of all servers.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	certified.Do(func() { served, _ = wstest.SelfSigned(t, "localhost") })
	return served
}

// secure shakes hands with the gateway's end: as a client does, or an upstream.
func (p *peer) secure(w wiring, end net.Conn) net.Conn {
	p.t.Helper()
	server := &tls.Config{Certificates: []tls.Certificate{certificate(p.t)}, MinVersion: w.tls, MaxVersion: w.tls, DynamicRecordSizingDisabled: true}
	client := &tls.Config{InsecureSkipVerify: true, MinVersion: w.tls, MaxVersion: w.tls, DynamicRecordSizingDisabled: true}
	client.CurvePreferences = []tls.CurveID{tls.CurveP256} // the cheapest: there are thousands of handshakes
	var gateway *tls.Conn
	if p.side == relay.Client {
		client.KeyLogWriter = &p.keys
		gateway, p.tls = tls.Server(end, server), tls.Client(p.wire, client)
	} else {
		server.KeyLogWriter = &p.keys
		gateway, p.tls = tls.Client(end, client), tls.Server(p.wire, server)
	}
	shaken := make(chan error, 1)
	go func() { shaken <- p.tls.Handshake() }()
	if err := errors.Join(gateway.Handshake(), <-shaken); err != nil {
		p.t.Fatal(err)
	}
	return gateway
}

// isEnd reports that a read has met the end, or what cuts it off.
func isEnd(err error) bool { return err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) }
