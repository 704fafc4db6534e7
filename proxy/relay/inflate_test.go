package relay_test

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// deflated is a message as RFC 7692 §7.2.1 has it made.
func deflated(t testing.TB, p []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(p)
	z.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// compressed makes the frames of a compressed message of a client, of size
// bytes of payload at most.
func compressed(op frame.OpCode, payload []byte, size int) (p []byte) {
	for first := true; first || len(payload) > 0; first = false {
		n := min(size, len(payload))
		f := fragment(op, payload[:n], &[4]byte{1, 2, 3, 4}, n == len(payload))
		if first {
			f[0] |= 0x40
		}
		p = append(p, f...)
		payload, op = payload[n:], frame.OpContinuation
	}
	return p
}

// TestInflated passes messages of all kinds and sizes, in frames and reads of
// any size: they leave as they came, and are seen as they were.
func TestInflated(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	var seen []byte
	grant := inspected(relay.Client, func(m relay.Message) relay.Verdict {
		seen = bytes.Clone(m.Payload)
		return relay.Verdict{}
	})
	grant.Deflate = true
	l := limits()
	l.Memory = relay.NewMemory(8 << 20)
	s := relay.New(l, grant, epoch)
	for i := range 250 {
		text := make([]byte, random.IntN(1<<random.IntN(18)))
		for i := range text {
			text[i] = byte(random.IntN(1 + i%7))
		}
		payload := deflated(t, text, random.IntN(11)-1)
		sent := compressed(frame.OpBinary, payload, 1+len(payload)/(1+random.IntN(3)))
		want := bytes.Clone(sent)
		var out []byte
		for len(sent) > 0 {
			n := 1 + random.IntN(len(sent))
			s.Feed(relay.Client, sent[:n], epoch)
			out = append(out, drain(s, epoch)[relay.Upstream]...)
			sent = sent[n:]
		}
		if !bytes.Equal(out, want) || !bytes.Equal(seen, text) {
			t.Fatalf("message %d of %d bytes, %d compressed: %d were relayed of %d, %d seen; %+v", i, len(text), len(payload), len(out), len(want), len(seen), s.Result())
		}
	}
	if l.Memory.Used() != 0 {
		t.Errorf("%d bytes are lent", l.Memory.Used())
	}
}

// TestBomb is Z-01 and Z-02: ten megabytes of zeros in ten kilobytes, in one
// frame or in a thousand. It costs less than 2 MiB, and its sender the session,
// also where messages may be large but not so much larger than they travel.
func TestBomb(t *testing.T) {
	bomb := deflated(t, make([]byte, 10<<20), 9)
	if len(bomb) > 12<<10 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	for i, size := range []int{len(bomb), 11, len(bomb), 11} {
		sent := compressed(frame.OpBinary, bomb, size)
		l := limits()
		if i >= 2 {
			l.From[relay.Client].MaxMessage, l.From[relay.Client].MaxRatio, l.From[relay.Client].RatioFrom = 64<<20, 50, 1<<20
		}
		l.Inflate, l.Memory = true, relay.NewMemory(1<<20)
		s := relay.New(l, &relay.Grant{Deflate: true}, epoch)
		runtime.GC() // the pools
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s.Feed(relay.Client, sent, epoch)
		runtime.ReadMemStats(&after)
		if cost := after.TotalAlloc - before.TotalAlloc; cost > 2<<20 {
			t.Errorf("in frames of %d bytes it costs %d bytes", size, cost)
		}
		if r := s.Result(); r.Cause != relay.TooBig || r.Told[relay.Client] != 1009 || s.Stats(relay.Client).Frames != 0 || l.Memory.Used() != 0 {
			t.Errorf("in frames of %d bytes: %+v, %d frames were relayed, %d bytes are lent", size, r, s.Stats(relay.Client).Frames, l.Memory.Used())
		}
	}
}

// TestInflatedRate is Z-03: messages of a kilobyte that inflate to a megabyte
// are a hundred megabytes per second to a rate of bytes.
func TestInflatedRate(t *testing.T) {
	message := compressed(frame.OpBinary, deflated(t, make([]byte, 1<<20), 9), 1<<20)
	if len(message) > 2<<10 {
		t.Fatalf("the message has %d bytes", len(message))
	}
	l := rated(relay.Rate{Of: relay.Bytes, PerSecond: 1 << 20, Burst: 4 << 20, Action: relay.ActClose})
	l.Inflate = true
	s := relay.New(l, &relay.Grant{Deflate: true}, epoch)
	for range 6 {
		s.Feed(relay.Client, message, epoch)
		drain(s, epoch)
	}
	if r, n := s.Result(), s.Stats(relay.Client).Messages; n != 4 || r.Told[relay.Client] != 1008 || r.Reason != "too many bytes" {
		t.Errorf("%d messages were relayed, then %+v; want 4 and 1008", n, r)
	}
}

// TestInflateAllocatesNothing inflates messages over and over.
func TestInflateAllocatesNothing(t *testing.T) {
	l := limits()
	l.Inflate, l.Memory = true, relay.NewMemory(1<<20)
	s := relay.New(l, &relay.Grant{Deflate: true}, epoch)
	for _, size := range []int{20, 200, 5000} {
		message := compressed(frame.OpText, deflated(t, transcript.Filler(size), 6), size)
		n := testing.AllocsPerRun(1000, func() {
			s.Feed(relay.Client, message, epoch)
			for op, ok := s.Next(); ok; op, ok = s.Next() {
				s.Written(op.Side, len(op.Data), epoch)
			}
		})
		if n > pooledAllocs {
			t.Errorf("%d bytes: %v allocations, want none", size, n)
		}
	}
	if s.Ended() {
		t.Errorf("%+v", s.Result())
	}
}

func BenchmarkInflate(b *testing.B) {
	l := limits()
	l.Inflate, l.Memory = true, relay.NewMemory(1<<20)
	s := relay.New(l, &relay.Grant{Deflate: true}, epoch)
	random := rand.New(rand.NewPCG(13, 14))
	for _, size := range []int{200, 16 << 10} {
		text := make([]byte, size)
		for i := range text {
			text[i] = "etaoin shrdlu{}\":,0123"[random.IntN(22)]
		}
		message := compressed(frame.OpText, deflated(b, text, 6), size)
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				s.Feed(relay.Client, message, epoch)
				drain(s, epoch)
			}
		})
	}
}

// FuzzInflate states laws between inflate and a reader that has all the time
// and memory in the world: what is accepted is what that one reads, and what is
// refused as too big is longer than the limit.
func FuzzInflate(f *testing.F) {
	for _, text := range []string{"", "Hello", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"} {
		f.Add(deflated(f, []byte(text), 9), uint16(5))
		f.Add(deflated(f, []byte(text), 0), uint16(1000))
	}
	f.Add([]byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 7, 0, 0}, uint16(100))
	f.Add(append(deflated(f, make([]byte, 100_000), 9), 1), uint16(60_000))
	f.Fuzz(func(t *testing.T, p []byte, limit uint16) {
		got, v := relay.Inflate(bytes.Clone(p), uint64(limit))
		z := flate.NewReader(bytes.NewReader(append(bytes.Clone(p), "\x00\x00\xff\xff\x01\x00\x00\xff\xff"...)))
		want, err := io.ReadAll(io.LimitReader(z, 1<<20))
		switch {
		case v == nil && (err != nil || !bytes.Equal(got, want)):
			t.Errorf("%x inflates to %q, want %q, %v", p, got, want, err)
		case v != nil && v.Code == 1009 && len(want) <= int(limit):
			t.Errorf("%x inflates to %d bytes, and is refused at %d", p, len(want), limit)
		case v == nil && len(got) > int(limit):
			t.Errorf("%x inflates to %d bytes, the limit is %d", p, len(got), limit)
		}
	})
}
