package transcript

import (
	"bytes"
	"compress/flate"
	"io"
	"strconv"
	"sync"

	"github.com/framegate/framegate/proxy/relay"
)

// A Program is what a fuzzer's bytes mean: zeros, where they end.
type Program []byte

// Next returns the next byte.
func (p *Program) Next() int {
	if len(*p) == 0 {
		return 0
	}
	b := (*p)[0]
	*p = (*p)[1:]
	return int(b)
}

// Pick returns one of a few choices.
func Pick[T any](p *Program, all ...T) T { return all[p.Next()%len(all)] }

// Frame makes a frame of a side that is more often right than wrong.
func (p *Program) Frame(from relay.Side) []byte {
	f := Frame{Fin: true, Masked: from == relay.Client, Op: Pick[byte](p, 1, 2, 0, 1, 2, 0, 9, 10, 9, 10, 8, 3)}
	if f.Masked {
		f.Key = Pick(p, [4]byte{1, 2, 3, 4}, [4]byte{}, [4]byte{0xff, 0x80, 0, 0xe2})
	}
	flaws := p.Next()
	f.Fin = flaws&1 == 0 || f.Op > 2 && flaws&2 == 0
	if flaws&0x0c == 0x0c {
		f.RSV = 4
	}
	if flaws&0xf0 == 0xf0 {
		f.RSV, f.Masked = Pick[byte](p, 0, 2, 1), !f.Masked
	}
	switch n := p.Next(); {
	case f.Op == 8 && n%4 > 0:
		f.Payload = append(Pick(p, []byte{3, 0xe8}, []byte{15, 0xa0}, []byte{3, 0xed}, []byte{3}), p.text(n%8)...)
	case f.Op > 2:
		f.Payload = p.text(n % 10)
	case n < 200:
		f.Payload = p.text(n % 50)
	default:
		f.Payload = append(Filler(Pick(p, 125, 126, 4080, 4088, 4092, 4093, 5000, 9000)), p.text(3)...)
	}
	if f.RSV == 4 && f.Fin && p.Next()%4 > 0 {
		f.Payload = Deflated(f.Payload)
	}
	f.Length = uint64(len(f.Payload))
	switch {
	case f.Length > 65535:
		f.Form = 8
	case f.Length > 125:
		f.Form = 2
	}
	if flaws == 0x5a {
		f.Form = 8
	}
	return f.Append(nil)
}

// text returns some bytes that are often UTF-8.
func (p *Program) text(n int) []byte {
	var b []byte
	for range n {
		b = append(b, Pick(p, "a", "b", "é", "€", "𝄞", "\xe2", "\x82", "\xac", "\xff", "\xf4")...)
	}
	return b
}

// Deflated is a message as RFC 7692 §7.2.1 has it made.
func Deflated(p []byte) []byte {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, flate.BestSpeed) // the level is one
	z.Write(p)
	z.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// zeros are what deflatedZeros has made, by their number: to make millions takes longer than to relay them.
var zeros sync.Map

func deflatedZeros(n int) []byte {
	b, ok := zeros.Load(n)
	if !ok {
		b, _ = zeros.LoadOrStore(n, Deflated(make([]byte, n)))
	}
	return b.([]byte)
}

// Inflated is what the payload of a compressed message says, as far as it can
// be read.
func Inflated(p []byte) []byte {
	out, _ := io.ReadAll(flate.NewReader(bytes.NewReader(append(bytes.Clone(p), 0, 0, 0xff, 0xff))))
	return out
}

// Limits makes limits, and what a session is granted.
func (p *Program) Limits() (*relay.Limits, *relay.Grant) {
	s := newSettings()
	l := &s.limits
	flags := p.Next()
	l.AnswerPings = flags&1 != 0
	if flags&2 != 0 {
		l.From[relay.Client] = relay.Shape{MaxFrame: 6000, MaxMessage: 9000, MaxFragments: 3, NoBinary: flags&4 != 0}
		l.From[relay.Upstream] = relay.Shape{MaxFrame: 130, MaxMessage: 200, MaxFragments: 5, NoText: flags&8 != 0}
	}
	if flags&16 != 0 {
		l.HighWater, l.LowWater = 3000, 100
	}
	if flags&32 != 0 {
		l.WriteTimeout, l.FrameGrace, l.IdleTimeout = 0, 0, 0
	}
	s.grant.Deflate = flags&64 != 0
	if flags&128 != 0 {
		l.Inflate = p.Next()%2 == 0
		for range 1 + p.Next()%4 {
			shape := &l.From[Pick(p, relay.Client, relay.Client, relay.Upstream)]
			shape.Rates = append(shape.Rates, p.rate(len(shape.Rates)))
		}
	}
	if flags&128 != 0 && p.Next()%2 == 0 {
		from := Pick(p, relay.Client, relay.Upstream)
		d := s.denier(from)
		d.NoText, d.NoBinary = p.Next()%4 == 0, p.Next()%4 == 0
		for range p.Next() % 3 {
			d.Rules = append(d.Rules, Denial{Word: Pick(p, "a", "é", "ba", "k"), Shadow: p.Next()%4 == 0, Verdict: relay.Verdict{
				Action: Pick(p, relay.ActDrop, relay.ActClose, relay.ActReply), Reply: Replied, Rule: uint16(denials + len(d.Rules)),
			}})
		}
		for i := range l.From[from].Rates {
			if r := &l.From[from].Rates[i]; r.Of == relay.Messages && p.Next()%2 == 0 {
				r.Operation = s.operation(Pick(p, "a", "b", "€"))
			}
		}
	}
	return l, &s.grant
}

// rate makes a rate.
func (p *Program) rate(rule int) relay.Rate {
	r := relay.Rate{
		Name: strconv.Itoa(rule),
		Of:   Pick(p, relay.Messages, relay.Bytes, relay.Frames, relay.Messages), Rule: uint16(rule), Shadow: p.Next()%8 == 0,
		PerSecond: Pick(p, 0.5, 10, 1000, 100_000), Burst: Pick(p, 1, 3, 40, 5000, 20_000),
		Action: Pick(p, relay.ActDelay, relay.ActClose, relay.ActDrop, relay.ActReply), Reply: Replied,
	}
	if r.Of == relay.Frames {
		r.Action = Pick(p, relay.ActDelay, relay.ActClose)
	}
	return r
}

// Replied is the text of the replies of a Program's rates.
const Replied = "slow down"
