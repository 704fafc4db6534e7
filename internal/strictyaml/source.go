package strictyaml

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// maxSource bounds one file; ten thousand routes fit in it.
const maxSource = 4 << 20

// source is the text of a file without its byte order mark.
type source struct {
	text []byte
}

func newSource(data []byte) source {
	return source{bytes.TrimPrefix(data, []byte("\uFEFF"))}
}

// check refuses bytes that the YAML parser would refuse without a position, and characters that it takes for line
// breaks although editors do not: lines would be counted differently, and what looks like a comment could end early.
// It returns "" when the text is fine.
func (s source) check() (Position, string) {
	if len(s.text) > maxSource {
		return Position{1, 1}, fmt.Sprintf("the file is larger than %v", Size(maxSource))
	}
	for i := 0; i < len(s.text); {
		r, n := utf8.DecodeRune(s.text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return s.position(i), fmt.Sprintf("byte 0x%02x is not UTF-8, the file must be UTF-8", s.text[i])
		case r == '\r' && !bytes.HasPrefix(s.text[i+1:], []byte("\n")):
			return s.position(i), "carriage return without a line feed"
		case r == '\n' || r == '\r' || r == '\t':
		case r < ' ' || r >= 0x7F && r < 0xA0:
			return s.position(i), fmt.Sprintf("control character %U", r)
		case r == '\u2028' || r == '\u2029' || r == '\uFEFF' || r == '\uFFFE' || r == '\uFFFF':
			return s.position(i), fmt.Sprintf("invisible character %U", r)
		}
		i += n
	}
	return Position{}, ""
}

// position of the byte at offset.
func (s source) position(offset int) Position {
	before := s.text[:offset]
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	return Position{bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(line) + 1}
}

// line returns the text of the line with the number n, which counts from 1, without its end.
func (s source) line(n int) []byte {
	rest := s.text
	for ; n > 1; n-- {
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}

// within moves a position of the parser into the file: at its end the parser counts a line that may not be there.
func (s source) within(at Position) Position {
	end := s.position(len(s.text))
	switch {
	case at.Line < 1:
		return Position{1, 1}
	case at.Line > end.Line:
		return end
	}
	return Position{at.Line, max(1, min(at.Column, utf8.RuneCount(s.line(at.Line))+1))}
}
