package reactor

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// The tests of this file pin what the reactor takes for granted of crypto/tls:
// that tls.Conn.Read goes on after Transport said that it would block, wherever
// in a record that is.

// testLimits are limits of which no timer is in a test's way.
func testLimits() *relay.Limits {
	l := relay.Defaults()
	l.Random = func() [4]byte { return [4]byte{0xf0, 0, 0, 1} }
	l.From[relay.Client].MaxFrame, l.From[relay.Client].MaxMessage = 1<<30, 1<<30
	l.From[relay.Upstream] = l.From[relay.Client]
	return &l
}

// sends is a frame as a side sends it.
func sends(from relay.Side, op frame.OpCode, payload []byte) []byte {
	if from == relay.Client {
		return frame.Append(nil, op, payload, &[4]byte{1, 2, 3, 4})
	}
	return frame.Append(nil, op, payload, nil)
}

// arrive lets bytes arrive at the gateway as they are, without TLS.
func (p *peer) arrive(b []byte) {
	p.t.Helper()
	if n, errno := send(int32(p.wire.fd), b); errno != 0 || n != len(b) {
		p.t.Fatalf("%d of %d bytes could be sent: %v", n, len(b), errno)
	}
}

// got returns all that the peer was sent.
func (p *peer) got() (b []byte) {
	for _, e := range p.events {
		b = append(b, e.Data...)
	}
	return b
}

// tlsRig is a rig with TLS of a version on both sides.
func tlsRig(t testing.TB, version uint16) *rig {
	return newRig(t, newLoopByHand(t, wheelTick), wiring{name: "unix TLS", network: "unix", tls: version}, testLimits(), nil, [2][]byte{})
}

// bothSidesAndVersions runs a test with the gateway as a server, which is the
// client's side, and as a client.
func bothSidesAndVersions(t *testing.T, test func(t *testing.T, version uint16, from relay.Side)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, from := range []relay.Side{relay.Client, relay.Upstream} {
			t.Run(fmt.Sprintf("%s, %v", tls.VersionName(version), from), func(t *testing.T) { test(t, version, from) })
		}
	}
}

// records returns all that a side sends, whose last word is close_notify, and
// the frames in it.
func records(p *peer, version uint16) (stream, frames []byte) {
	var all [][]byte
	for _, size := range []int{5, 0, 300, 125} {
		all = append(all, sends(p.side, frame.OpText, transcript.Filler(size)))
	}
	frames = bytes.Join(all, nil)
	if version == tls.VersionTLS12 {
		p.wire.held = &stream
		for _, f := range all {
			p.tls.Write(f)
		}
		p.tls.CloseWrite()
		p.wire.held = nil
		return stream, frames
	}
	s := newSealer(p)
	add := func(b ...[]byte) { stream = append(stream, bytes.Join(b, nil)...) }
	add(s.data(all[0]), s.keyUpdate(updateRequested), s.data(all[1][:1]), s.record(dataRecord, nil, 3), s.data(all[1][1:]))
	if p.side == relay.Upstream {
		add(s.ticket(1000), s.data(all[2][:200]), s.ticket(30), s.data(all[2][200:]))
	} else {
		add(s.data(all[2]))
	}
	add(s.keyUpdate(0), s.record(dataRecord, all[3], 100), s.keyUpdate(updateRequested), s.closeNotify())
	return stream, frames
}

// TestRecordsInPieces feeds records in pieces of 1 to 7 bytes, and in one
// piece, while the other side's messages are written to the same connection:
// between two pieces the descriptor would block each time.
func TestRecordsInPieces(t *testing.T) {
	bothSidesAndVersions(t, func(t *testing.T, version uint16, from relay.Side) {
		for size := 1; size <= 8; size++ {
			r := tlsRig(t, version)
			p, other := r.peers[from], r.peers[from.Other()]
			stream, frames := records(p, version)
			if size == 8 {
				size = len(stream)
			}
			var answers []byte
			for at := 0; at < len(stream); at += size {
				if r.core.Ended() {
					t.Fatalf("pieces of %d: ended at %d of %d: %+v", size, at, len(stream), r.core.Result())
				}
				if at/size%97 == 0 {
					answer := sends(other.side, frame.OpText, fmt.Appendf(nil, "at %d", at))
					answers = append(answers, answer...)
					r.Send(other.side, answer)
				}
				p.arrive(stream[at:min(at+size, len(stream))])
				r.rest()
			}
			if got := other.got(); !bytes.HasPrefix(got, frames) {
				t.Errorf("pieces of %d: %d bytes have crossed, want %d", size, len(got), len(frames))
			}
			if got := p.got(); !bytes.HasPrefix(got, answers) {
				t.Errorf("pieces of %d: %d bytes came back, want %d", size, len(got), len(answers))
			}
			want := relay.ClientLost
			if from == relay.Upstream {
				want = relay.UpstreamLost
			}
			if got := r.core.Result(); got.Cause != want {
				t.Errorf("pieces of %d: after close_notify %+v", size, got)
			}
			r.stop()
		}
	})
}

// TestRecordEndsWithTheBuffer sends records of each size, one by one: of some
// the last byte is the last one that the buffer of tls.Conn has room for, so
// the read is no short one, and there is nothing behind it.
func TestRecordEndsWithTheBuffer(t *testing.T) {
	bothSidesAndVersions(t, func(t *testing.T, version uint16, from relay.Side) {
		r := tlsRig(t, version)
		exact := 0
		for size := range 2100 { // the buffers begin with 500 to 2,050 bytes
			f := sends(from, frame.OpBinary, transcript.Filler(size))
			r.Send(from, f)
			other := r.peers[from.Other()]
			if got := other.got(); !bytes.Equal(got, f) {
				t.Fatalf("a message of %d bytes: %d have crossed, want %d", size, len(got), len(f))
			}
			other.events = nil
			if !r.session.legs[from].drained {
				exact++
			}
		}
		if exact == 0 {
			t.Error("no read was filled to its last byte")
		}
		r.stop()
	})
}

// TestRecordsFillTheLoopsBuffer sends at once what fills the loop's buffer to
// its last byte, a byte less and one more, and what leaves room for another
// record and just not. Nobody announces what tls.Conn then still holds.
func TestRecordsFillTheLoopsBuffer(t *testing.T) {
	bothSidesAndVersions(t, func(t *testing.T, version uint16, from relay.Side) {
		for _, size := range []int{
			readSize - minRecordRoom - 1, readSize - minRecordRoom, readSize - minRecordRoom + 1,
			readSize - 1, readSize, readSize + 1, 2 * readSize,
		} {
			r := tlsRig(t, version)
			p, other := r.peers[from], r.peers[from.Other()]
			header := len(sends(from, frame.OpBinary, make([]byte, size))) - size
			f := sends(from, frame.OpBinary, transcript.Filler(size-header))
			p.tls.Write(f)
			r.rest()
			if got := other.got(); !bytes.Equal(got, f) {
				t.Errorf("%d of %d bytes have crossed", len(got), len(f))
			}
			r.stop()
		}
	})
}

// TestManySmallRecords has more records wait than one turn reads: the others
// get their turn, and none is forgotten.
func TestManySmallRecords(t *testing.T) {
	bothSidesAndVersions(t, func(t *testing.T, version uint16, from relay.Side) {
		r := tlsRig(t, version)
		f := sends(from, frame.OpText, []byte("x"))
		const many = 3*maxRecords + 1
		for range many {
			r.peers[from].tls.Write(f)
		}
		turns := 0
		for ; r.core.Stats(from).Messages < many; turns++ {
			if r.turn(); turns > maxTurns {
				t.Fatalf("only %d messages have crossed", r.core.Stats(from).Messages)
			}
		}
		if turns < 4 {
			t.Errorf("%d records were read in %d turns, want %d in each", many, turns, maxRecords)
		}
		r.rest()
		if got, want := r.peers[from.Other()].got(), bytes.Repeat(f, many); !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes have crossed", len(got), len(want))
		}
		r.stop()
	})
}

// TestBrokenRecords ends a connection amid a record, and spoils one: what came
// before is relayed, the session ends, and who broke it is told by an alert.
func TestBrokenRecords(t *testing.T) {
	bothSidesAndVersions(t, func(t *testing.T, version uint16, from relay.Side) {
		good, bad := sends(from, frame.OpText, []byte("good")), sends(from, frame.OpText, []byte("bad"))
		for name, spoil := range map[string]func(p *peer, record []byte){
			"cut":     func(p *peer, record []byte) { p.arrive(record[:len(record)-1]); unix.Shutdown(p.wire.fd, unix.SHUT_WR) },
			"spoiled": func(p *peer, record []byte) { record[len(record)-1] ^= 1; p.arrive(record) },
		} {
			r := tlsRig(t, version)
			p, other := r.peers[from], r.peers[from.Other()]
			p.tls.Write(good)
			var record []byte
			p.wire.held = &record
			p.tls.Write(bad)
			p.wire.held, p.deaf = nil, true
			spoil(p, record)
			r.rest()
			if got := other.got(); !bytes.HasPrefix(got, good) || bytes.Contains(got, bad) {
				t.Errorf("%s: the %v got %q", name, other.side, got)
			}
			if cause := r.core.Result().Cause; cause != relay.ClientLost && cause != relay.UpstreamLost {
				t.Errorf("%s: ended by %v", name, cause)
			}
			if _, err := io.Copy(io.Discard, p.tls); name == "spoiled" && (err == nil || !strings.Contains(err.Error(), "bad record MAC")) {
				t.Errorf("%s: the %v was told %v", name, from, err)
			} else if name == "cut" && err != nil && !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("%s: the %v was told %v", name, from, err)
			}
			r.stop()
		}
	})
}
