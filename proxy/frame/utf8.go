package frame

import "encoding/binary"

// UTF8 checks text that arrives in pieces, still masked or not, and fails with
// the first byte after which nothing could make it valid again (RFC 6455 §8.1,
// RFC 3629). Its zero value stands at the start of a text.
type UTF8 struct {
	state uint8
}

// Complete reports whether the text may end here.
func (u *UTF8) Complete() bool { return u.state == between }

// Feed checks the next bytes of the text. key unmasks them, p standing at
// offset in its frame's payload; a zero key means that p is plain. p is not
// changed. Once Feed has returned false it does so for ever.
func (u *UTF8) Feed(p []byte, key [4]byte, offset int64) bool {
	word := keyWord(key, offset)
	state := uint64(u.state)
	for len(p) >= 8 {
		text := binary.LittleEndian.Uint64(p) ^ word
		if text&highBits == 0 && state&stateBits == between {
			p = p[8+ascii(p[8:], word):]
			continue
		}
		state = follow[byte(text)] >> (state & stateBits)
		state = follow[byte(text>>8)] >> (state & stateBits)
		state = follow[byte(text>>16)] >> (state & stateBits)
		state = follow[byte(text>>24)] >> (state & stateBits)
		state = follow[byte(text>>32)] >> (state & stateBits)
		state = follow[byte(text>>40)] >> (state & stateBits)
		state = follow[byte(text>>48)] >> (state & stateBits)
		state = follow[byte(text>>56)] >> (state & stateBits)
		if state&stateBits == invalid {
			u.state = invalid
			return false
		}
		p = p[8:]
	}
	for i, c := range p {
		state = follow[c^byte(word>>(8*i))] >> (state & stateBits)
	}
	u.state = uint8(state & stateBits)
	return u.state != invalid
}

// keyWord returns the key as it meets eight bytes that begin at offset, or at
// any multiple of four from there.
func keyWord(key [4]byte, offset int64) uint64 {
	word := uint64(binary.LittleEndian.Uint32(key[:]))
	word |= word << 32
	n := 8 * uint(offset&3)
	return word>>n | word<<(64-n)
}

const highBits = 0x8080808080808080

// ascii returns how many bytes at the start of p are ASCII once masked with
// word, in whole words of eight.
func ascii(p []byte, word uint64) (n int) {
	for ; len(p)-n >= 32; n += 32 {
		q := p[n : n+32]
		high := binary.LittleEndian.Uint64(q) ^ word
		high |= binary.LittleEndian.Uint64(q[8:]) ^ word
		high |= binary.LittleEndian.Uint64(q[16:]) ^ word
		high |= binary.LittleEndian.Uint64(q[24:]) ^ word
		if high&highBits != 0 {
			break
		}
	}
	for ; len(p)-n >= 8; n += 8 {
		if (binary.LittleEndian.Uint64(p[n:])^word)&highBits != 0 {
			break
		}
	}
	return n
}

// The states of the check are the places in the grammar of RFC 3629 §4. Each
// is the number of the bit in an element of follow where the state after it
// stands, so that a step is one shift: no branch that a peer's choice of text
// could make slow.
const (
	between = 6 * iota // two characters; the zero value of UTF8
	invalid
	tail1 // UTF8-tail to come, once
	tail2
	tail3
	afterE0 // what follows must not make it over-long
	afterED // or a surrogate
	afterF0 // or over-long
	afterF4 // or above U+10FFFF

	stateBits = 1<<6 - 1
)

// follow holds, for each byte, the state after it for every state before it.
// It is a constant that the language cannot express as one.
var follow = grammar()

// grammar is RFC 3629 §4 line by line.
func grammar() (rows [256]uint64) {
	allow := func(from uint, low, high int, to uint64) {
		for c := low; c <= high; c++ {
			rows[c] = rows[c]&^(stateBits<<from) | to<<from
		}
	}
	for from := uint(between); from <= afterF4; from += 6 {
		allow(from, 0x00, 0xff, invalid)
	}
	allow(between, 0x00, 0x7f, between)
	allow(between, 0xc2, 0xdf, tail1)
	allow(between, 0xe0, 0xe0, afterE0)
	allow(between, 0xe1, 0xec, tail2)
	allow(between, 0xed, 0xed, afterED)
	allow(between, 0xee, 0xef, tail2)
	allow(between, 0xf0, 0xf0, afterF0)
	allow(between, 0xf1, 0xf3, tail3)
	allow(between, 0xf4, 0xf4, afterF4)
	allow(afterE0, 0xa0, 0xbf, tail1)
	allow(afterED, 0x80, 0x9f, tail1)
	allow(afterF0, 0x90, 0xbf, tail2)
	allow(afterF4, 0x80, 0x8f, tail2)
	allow(tail3, 0x80, 0xbf, tail2)
	allow(tail2, 0x80, 0xbf, tail1)
	allow(tail1, 0x80, 0xbf, between)
	return rows
}
