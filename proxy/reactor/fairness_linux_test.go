package reactor

import (
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// TestFloodHasOneReadInATurn counts what one session that floods gets done
// while more sessions than a turn has events each wait with a message: at most
// one read in each turn, and no more turns than the others need without it.
func TestFloodHasOneReadInATurn(t *testing.T) {
	const many = maxEvents + 50
	l := newLoopByHand(t, wheelTick)
	flooder := newRig(t, l, wiring{network: "unix"}, testLimits(), nil, [2][]byte{})
	var others []*rig
	for range many {
		others = append(others, newRig(t, l, wiring{network: "unix"}, testLimits(), nil, [2][]byte{}))
	}
	flood := sends(relay.Client, frame.OpBinary, transcript.Filler(1<<20))
	for range 64 {
		flooder.peers[relay.Client].send(flood) // far more than the kernel takes: the rest follows
	}
	for _, r := range others {
		r.peers[relay.Client].send(sends(relay.Client, frame.OpText, []byte("hello")))
	}
	waiting, turns, before := len(others), 0, flooder.peers[relay.Upstream].taken()
	for ; waiting > 0; turns++ {
		if turns > 10 {
			t.Fatalf("after %d turns %d of %d sessions still wait", turns, waiting, many)
		}
		flooder.turn()
		flooder.peers[relay.Client].act(l.now)
		flooder.peers[relay.Upstream].act(l.now)
		waiting = 0
		for _, r := range others {
			if r.core.Stats(relay.Client).Messages == 0 {
				waiting++
			}
		}
	}
	if most := (many+1)/maxEvents + 2; turns > most {
		t.Errorf("%d turns for %d sessions, want %d at most", turns, many, most)
	}
	if got := flooder.peers[relay.Upstream].taken() - before; got > turns*bulkSize || got == 0 {
		t.Errorf("meanwhile %d bytes of the flood have crossed in %d turns, want one read of at most %d bytes in each", got, turns, bulkSize)
	}
	for _, r := range append(others, flooder) {
		r.leave()
	}
}

// taken is how many bytes the peer has got.
func (p *peer) taken() int { return len(p.got()) }

// A crowd is many sessions on one loop, in chains: what a session writes to
// its upstream is what the next one reads from its client. So a descriptor
// serves two sessions, and a message passes through all of its chain.
type crowd struct {
	t     *testing.T
	group *Group
	heads []int // descriptors: where a client writes
	tails []int // and an upstream reads
	epoll int   // of the tails
}

const chain = 4

func newCrowd(t *testing.T, sessions int) *crowd {
	t.Helper()
	g, err := New(1)
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{t: t, group: g}
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	for i := range sessions / chain {
		head, tail := c.add(chain)
		if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, tail, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			t.Fatal(err)
		}
		c.heads, c.tails = append(c.heads, head), append(c.tails, tail)
	}
	return c
}

// add makes a chain of n sessions.
func (c *crowd) add(n int) (head, tail int) {
	c.t.Helper()
	head, front := c.pair()
	for range n {
		back, next := c.pair()
		if _, err := c.group.Add(relay.New(testLimits(), nil, time.Now()), c.transport(front), c.transport(back), [2][]byte{}, &ledger{}); err != nil {
			c.t.Fatal(err)
		}
		front = next
	}
	return head, front
}

func (c *crowd) pair() (a, b int) {
	c.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	return fds[0], fds[1]
}

func (c *crowd) transport(fd int) *Transport {
	c.t.Helper()
	file := os.NewFile(uintptr(fd), "leg")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		c.t.Fatal(err)
	}
	return NewTransport(conn)
}

// burst sends a message through each chain at once, and returns how long each
// one took.
func (c *crowd) burst() []time.Duration {
	c.t.Helper()
	n := len(c.heads)
	message := sends(relay.Client, frame.OpText, []byte("hello"))
	start, took := make([]time.Time, n), make([]time.Duration, 0, n)
	for i, fd := range c.heads {
		start[i] = time.Now()
		if _, err := unix.Write(fd, message); err != nil {
			c.t.Fatal(err)
		}
	}
	events, buf := make([]unix.EpollEvent, 128), make([]byte, 64)
	for len(took) < n {
		found, err := unix.EpollWait(c.epoll, events, 10_000)
		if err == unix.EINTR {
			continue
		}
		if found <= 0 {
			c.t.Fatalf("after %d of %d messages: %v", len(took), n, err)
		}
		now := time.Now()
		for _, e := range events[:found] {
			unix.Read(c.tails[e.Fd], buf)
			took = append(took, now.Sub(start[e.Fd]))
		}
	}
	return took
}

// close ends all chains from both ends, which their sessions pass on.
func (c *crowd) close() {
	for _, fd := range slices.Concat(c.heads, c.tails, []int{c.epoll}) {
		unix.Close(fd)
	}
	c.group.Close()
}

// TestFloodHardlyDelaysOthers has all of 5,000 sessions of a loop relay a
// message at once, again and again, while one more floods every other time:
// the others' p99 stays under twice that without the flood. What the machine
// does besides hits both alike; a single bad spell of it is no failure.
func TestFloodHardlyDelaysOthers(t *testing.T) {
	sessions := 5000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if most := int(limit.Cur) / 3; most < sessions {
		sessions = most
		t.Logf("the limit of descriptors allows %d sessions only", sessions)
	}
	c := newCrowd(t, sessions)
	defer c.close()
	head, tail := c.add(1) // the session that floods
	var drained sync.WaitGroup
	drained.Go(func() { sink(tail) })
	c.burst()

	var quiet, flooded time.Duration
	for try := 1; try <= 5; try++ {
		var samples [2][]time.Duration
		for range 6 {
			samples[0] = append(samples[0], c.burst()...)
			stop := startFlood(head)
			samples[1] = append(samples[1], c.burst()...)
			stop()
		}
		quiet, flooded = p99(samples[0]), p99(samples[1])
		t.Logf("p99 of %d messages through %d sessions each: %v quiet, %v beside a flood", len(samples[0]), chain, quiet, flooded)
		if flooded < 2*quiet {
			break
		}
	}
	if flooded >= 2*quiet {
		t.Errorf("beside a flood the p99 of the others is %v, want less than twice the %v without it", flooded, quiet)
	}
	unix.Close(head)
	drained.Wait()
	unix.Close(tail)
}

// p99 is the 99th percentile.
func p99(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)*99/100]
}

// startFlood writes messages as fast as they are taken, up to the end of one
// after stop was called.
func startFlood(fd int) (stop func()) {
	message := sends(relay.Client, frame.OpBinary, transcript.Filler(60_000))
	var over atomic.Bool
	var writer sync.WaitGroup
	writer.Go(func() {
		for !over.Load() {
			for p := message; len(p) > 0; {
				n, err := unix.Write(fd, p)
				if err != nil && err != unix.EINTR {
					return
				}
				p = p[max(n, 0):]
			}
		}
	})
	return func() {
		over.Store(true)
		writer.Wait()
	}
}

// sink reads a descriptor to its end.
func sink(fd int) {
	buf := make([]byte, 256<<10)
	for {
		if n, err := unix.Read(fd, buf); n <= 0 && err != unix.EINTR {
			return
		}
	}
}
