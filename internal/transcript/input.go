package transcript

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/framegate/framegate/proxy/relay"
)

// ops are the names of the opcodes.
func ops() map[string]byte {
	return map[string]byte{"cont": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}
}

// words splits a line at its spaces, but not inside of quotes.
func words(line string) ([]string, error) {
	var all []string
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		word, _, _ := strings.Cut(line, " ")
		if line[0] == '"' {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("%s: not a Go string", line)
			}
			word = quoted
		}
		all = append(all, word)
		line = line[len(word):]
	}
	return all, nil
}

// A sender makes the bytes of one side's input lines.
type sender struct {
	side relay.Side
	rest []byte // of the frame that was cut
}

// line returns the bytes of frames that are separated by bars.
func (s *sender) line(all []string) ([]byte, error) {
	var p []byte
	for len(all) > 0 {
		n := slices.Index(all, "|")
		if n < 0 {
			n = len(all)
		}
		b, err := s.item(all[:n])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(all[:n], " "), err)
		}
		p = append(p, b...)
		all = all[min(n+1, len(all)):]
	}
	return p, nil
}

// item returns the bytes of one frame, or of what stands for one.
func (s *sender) item(all []string) ([]byte, error) {
	var b []byte
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("no frame")
	case all[0] == "raw":
		return hex.DecodeString(strings.Join(all[1:], ""))
	case all[0] == "rest":
		b = s.rest
	default:
		f, err := s.frame(all)
		if err != nil {
			return nil, err
		}
		b = f.Append(nil)
		if n := slices.IndexFunc(all, func(w string) bool { return strings.HasPrefix(w, "split=") }); n >= 0 {
			if b, err = f.split(strings.TrimPrefix(all[n], "split=")); err != nil {
				return nil, err
			}
		}
	}
	s.rest = nil
	if n := slices.IndexFunc(all, func(w string) bool { return strings.HasPrefix(w, "cut=") }); n >= 0 {
		cut, err := strconv.Atoi(strings.TrimPrefix(all[n], "cut="))
		if err != nil || cut < 0 || cut > len(b) {
			return nil, fmt.Errorf("%s: the frame has %d bytes", all[n], len(b))
		}
		b, s.rest = b[:cut], b[cut:]
	}
	return b, nil
}

// frame makes a frame of its words.
func (s *sender) frame(all []string) (*Frame, error) {
	f := &Frame{Fin: true, Masked: s.side == relay.Client, Key: [4]byte{1, 2, 3, 4}}
	form, length := -1, -1
	var ok bool
	if f.Op, ok = ops()[all[0]]; !ok {
		n, err := strconv.ParseUint(strings.TrimPrefix(all[0], "op="), 10, 4)
		if err != nil {
			return nil, fmt.Errorf("unknown opcode %q", all[0])
		}
		f.Op = byte(n)
	}
	for _, w := range all[1:] {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "nofin":
			f.Fin = false
		case "rsv1", "rsv2", "rsv3":
			f.RSV |= 4 >> (key[3] - '1')
		case "masked", "unmasked":
			f.Masked = key == "masked"
		case "key":
			_, err = hex.Decode(f.Key[:], []byte(value))
		case "len16", "len64":
			form = map[string]int{"len16": 2, "len64": 8}[key]
		case "len":
			length, err = strconv.Atoi(value)
		case "size":
			var n int
			n, err = strconv.Atoi(value)
			f.Payload = append(f.Payload, Filler(n)...)
		case "zeros":
			var n int
			n, err = strconv.Atoi(value)
			f.Payload = append(f.Payload, deflatedZeros(n)...)
		case "cut", "split":
		default:
			err = f.text(w)
		}
		if err != nil {
			return nil, err
		}
	}
	if f.Length = uint64(len(f.Payload)); length >= 0 {
		f.Length = uint64(length)
	}
	if f.Form = minimal(f.Length); form >= 0 {
		f.Form = form
	}
	if !f.Masked {
		f.Key = [4]byte{}
	}
	return f, nil
}

// split returns the frame's message in fragments.
func (f *Frame) split(fragments string) (p []byte, err error) {
	n, err := strconv.Atoi(fragments)
	if err != nil || n < 2 || !f.Fin {
		return nil, fmt.Errorf("split=%s: want at least 2 fragments, of a whole message", fragments)
	}
	part := *f
	for i := range n {
		part.Payload = f.Payload[len(f.Payload)*i/n : len(f.Payload)*(i+1)/n]
		part.Length, part.Fin = uint64(len(part.Payload)), i == n-1
		part.Form = minimal(part.Length)
		p = part.Append(p)
		part.Op, part.RSV = 0, 0
	}
	return p, nil
}

// text appends a quoted payload, or the code of a Close.
func (f *Frame) text(word string) error {
	if f.Op == 8 && len(f.Payload) == 0 {
		if code, err := strconv.ParseUint(word, 10, 16); err == nil {
			f.Payload = binary.BigEndian.AppendUint16(f.Payload, uint16(code))
			return nil
		}
	}
	p, err := strconv.Unquote(word)
	if err != nil {
		return fmt.Errorf("unknown word %q", word)
	}
	f.Payload = append(f.Payload, p...)
	return nil
}
