package transcript

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/framegate/framegate/proxy/relay"
)

// Verdict reads everything that a side sent as an endpoint would that has all
// of it in memory, and returns the close code that the first violation
// deserves, or 0, and the number of frames before it. Nothing after a Close
// counts.
func Verdict(p []byte, from relay.Side, l *relay.Limits, deflate bool) (code, good int) {
	shape := l.From[from]
	var open, compressed bool
	var text []byte
	var kind byte
	var size uint64
	var fragments int
	frames, _ := Split(p)
	for i, f := range frames {
		if code := headerVerdict(f, from, deflate, open); code != 0 {
			return code, i
		}
		if f.Control() {
			if !f.Complete() {
				return 0, i
			}
			if f.Op == 8 {
				return closeVerdict(f.Payload), i
			}
			continue
		}
		if !open {
			kind, compressed, text, size, fragments = f.Op, f.RSV != 0, nil, 0, 0
		}
		open = !f.Fin
		fragments++
		size += f.Length
		switch {
		case kind == 1 && shape.NoText, kind == 2 && shape.NoBinary:
			return 1003, i
		case f.Length > shape.MaxFrame, size > shape.MaxMessage, fragments > shape.MaxFragments:
			return 1009, i
		}
		if text = append(text, f.Payload...); kind == 1 && !compressed && !isText(text, f.Fin && f.Complete()) {
			return 1007, i
		}
	}
	return 0, len(frames)
}

// headerVerdict is RFC 6455 5.2 to 5.5 and RFC 7692 6.1.
func headerVerdict(f Frame, from relay.Side, deflate, open bool) int {
	data := f.Op <= 2
	switch {
	case !f.Minimal(), f.Length > 1<<63-1,
		f.Masked != (from == relay.Client),
		f.RSV&3 != 0, f.RSV != 0 && (!deflate || f.Op == 0 || !data),
		f.Op > 2 && f.Op < 8, f.Op > 10,
		!data && (!f.Fin || f.Length > 125),
		data && open != (f.Op == 0):
		return 1002
	}
	return 0
}

func closeVerdict(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	if len(p) == 1 {
		return 1002
	}
	switch code := binary.BigEndian.Uint16(p); {
	case code < 1000, code >= 1004 && code <= 1006, code >= 1015 && code < 3000, code >= 5000:
		return 1002
	}
	if !utf8.Valid(p[2:]) {
		return 1007
	}
	return 0
}

// isText reports whether p is UTF-8, or may become so.
func isText(p []byte, final bool) bool {
	for len(p) > 0 {
		if !utf8.FullRune(p) {
			return !final
		}
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			return false
		}
		p = p[n:]
	}
	return true
}

// Crossed checks what a side got against what the other one sent: frames that
// are valid, byte for byte those that came in, in order, each once, and between
// them only control frames that the gateway makes. It returns how many of the
// frames that were sent have been looked at.
func Crossed(to relay.Side, got, sent []byte, l *relay.Limits, grant *relay.Grant, whole bool) (seen int, err error) {
	out, rest := Split(got)
	in, _ := Split(sent)
	if grant == nil {
		grant = new(relay.Grant)
	}
	anything := *l
	anything.From[to.Other()] = relay.Shape{MaxFrame: 1 << 63, MaxMessage: 1 << 63, MaxFragments: 1 << 30}
	if code, n := Verdict(got, to.Other(), &anything, grant.Deflate); code != 0 {
		return 0, fmt.Errorf("frame %d that the %v got deserves %d", n, to, code)
	}
	if whole && (len(rest) > 0 || len(out) > 0 && !out[len(out)-1].Complete()) {
		return 0, fmt.Errorf("the %v got a frame that is cut, and no reset", to)
	}
	if i := slices.IndexFunc(out, func(f Frame) bool { return f.Op == 8 }); i >= 0 && (i < len(out)-1 || len(rest) > 0) {
		return 0, fmt.Errorf("the %v got %d frames after Close", to, len(out)-1-i)
	}
	if Drops(l, grant, to.Other()) {
		return len(in), crossedInPart(to, out, in, l, grant)
	}
	for i, f := range out {
		if n := match(f, in[seen:]); n > 0 {
			seen += n
		} else if !made(f, to, l, grant) {
			return 0, fmt.Errorf("frame %d that the %v got, %x, was not sent in this order", i, to, f.Raw)
		}
	}
	return seen, nil
}

// match returns how many frames of in were used up by f: those that may be
// dropped, and f itself. 0 is no match.
func match(f Frame, in []Frame) int {
	for i, g := range in {
		if bytes.Equal(f.Raw, g.Raw) || !f.Complete() && bytes.HasPrefix(g.Raw, f.Raw) {
			return i + 1
		}
		if g.Op != 9 && g.Op != 10 {
			return 0
		}
	}
	return 0
}

// Drops reports whether messages of a side may vanish, or are kept until they
// are whole.
func Drops(l *relay.Limits, grant *relay.Grant, from relay.Side) bool {
	return grant.Inspectors[from] != nil || l.Inflate && grant.Deflate || slices.ContainsFunc(l.From[from].Rates, func(r relay.Rate) bool {
		return !r.Shadow && (r.Action == relay.ActDrop || r.Action == relay.ActReply)
	})
}

// crossedInPart is Crossed where messages may vanish, each whole, and where
// control frames may overtake the message that they are interleaved with.
func crossedInPart(to relay.Side, out, in []Frame, l *relay.Limits, grant *relay.Grant) error {
	var control []Frame // that was sent and may still come
	for _, f := range in {
		if f.Control() {
			control = append(control, f)
		}
	}
	var data []Frame
	for i, f := range out {
		if made(f, to, l, grant) {
			continue
		}
		if !f.Control() {
			data = append(data, f)
			continue
		}
		n := match(f, control)
		if n == 0 {
			return fmt.Errorf("frame %d that the %v got, %x, was not sent in this order", i, to, f.Raw)
		}
		control = control[n:]
	}
	sent := messages(in)
	for i, m := range messages(data) {
		n := slices.IndexFunc(sent, func(whole []byte) bool { return bytes.Equal(m, whole) })
		if n < 0 && i == len(messages(data))-1 {
			n = slices.IndexFunc(sent, func(whole []byte) bool { return bytes.HasPrefix(whole, m) })
		}
		if n < 0 {
			return fmt.Errorf("message %d that the %v got, %x, was not sent in this order", i, to, m)
		}
		sent = sent[n+1:]
	}
	return nil
}

// messages returns the frames of each message in one piece.
func messages(frames []Frame) (all [][]byte) {
	open := false
	for _, f := range frames {
		if f.Control() {
			continue
		}
		if !open {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], f.Raw...)
		open = !f.Fin
	}
	return all
}

// made reports whether f is a frame that the gateway makes.
func made(f Frame, to relay.Side, l *relay.Limits, grant *relay.Grant) bool {
	switch f.Op {
	case 1: // a frame that is cut may be the start of a reply
		replies := slices.ContainsFunc(l.From[to].Rates, func(r relay.Rate) bool { return r.Action == relay.ActReply })
		return (replies || grant.Inspectors[to] != nil) && f.Fin && f.Length == uint64(len(Replied)) && strings.HasPrefix(Replied, string(f.Payload))
	case 8:
		return true
	case 9:
		return len(f.Payload) <= 4 && bytes.HasPrefix([]byte{0xf0, 0, 0}, f.Payload[:min(3, len(f.Payload))])
	case 10:
		return l.AnswerPings
	}
	return false
}
