package frame_test

import (
	"strings"
	"testing"

	"github.com/framegate/framegate/proxy/frame"
)

func BenchmarkParse(b *testing.B) {
	key := [4]byte{1, 2, 3, 4}
	for _, c := range []struct {
		name string
		h    frame.Header
	}{
		{"2", frame.Header{Fin: true, OpCode: frame.OpText, Length: 125}},
		{"6", frame.Header{Fin: true, OpCode: frame.OpText, Length: 125, Masked: true, Mask: key}},
		{"8", frame.Header{Fin: true, OpCode: frame.OpText, Length: 126, Masked: true, Mask: key}},
		{"14", frame.Header{Fin: true, OpCode: frame.OpText, Length: 1 << 20, Masked: true, Mask: key}},
	} {
		wire := frame.AppendHeader(nil, c.h)
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, n, v := frame.Parse(wire); n != len(wire) || v != nil {
					b.Fatal(n, v)
				}
			}
		})
	}
}

func BenchmarkParserNext(b *testing.B) {
	wire := frame.AppendHeader(nil, frame.Header{
		Fin: true, OpCode: frame.OpText, Length: 300, Masked: true, Mask: [4]byte{1, 2, 3, 4},
	})
	b.Run("whole", func(b *testing.B) {
		var p frame.Parser
		for b.Loop() {
			if _, _, _, done, v := p.Next(wire); !done || v != nil {
				b.Fatal(done, v)
			}
		}
	})
	b.Run("cut", func(b *testing.B) {
		var p frame.Parser
		for b.Loop() {
			p.Next(wire[:3])
			if _, _, _, done, v := p.Next(wire[3:]); !done || v != nil {
				b.Fatal(done, v)
			}
		}
	})
}

// BenchmarkFeed is about the texts that a gateway sees: ASCII in short and in
// long messages, prose with some umlauts, and scripts where no byte is ASCII.
func BenchmarkFeed(b *testing.B) {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	const mixed = `{"user":"Jürgen","text":"Grüße aus Köln, 20 € für 3 Stück 🙂, señor"}` + "\n"
	for _, c := range []struct {
		name, text string
		size       int
	}{
		{"ascii/64B", "the quick brown fox jumps over the lazy dog; ", 64},
		{"ascii/16KiB", "the quick brown fox jumps over the lazy dog; ", 16 << 10},
		{"mixed/64B", mixed, 64},
		{"mixed/16KiB", mixed, 16 << 10},
		{"cyrillic/16KiB", "Съешь же ещё этих мягких французских булок, да выпей чаю. ", 16 << 10},
		{"japanese/16KiB", "いろはにほへとちりぬるをわかよたれそつねならむ", 16 << 10},
		{"emoji/16KiB", "🙂🚀🌍👍", 16 << 10},
	} {
		text := strings.Repeat(c.text, c.size/len(c.text)+1)[:c.size]
		p := []byte(strings.ToValidUTF8(text, ""))
		p = naiveMask(p, key, 1)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				var u frame.UTF8
				if !u.Feed(p, key, 1) || !u.Complete() {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkSequenceNext(b *testing.B) {
	h := frame.Header{Fin: true, OpCode: frame.OpText, Length: 300, Masked: true}
	var q frame.Sequence
	for b.Loop() {
		if _, _, v := q.Next(h, frame.Rules{Masked: true}); v != nil {
			b.Fatal(v)
		}
	}
}
