package frame_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/framegate/framegate/proxy/frame"
)

// unfinished holds every proper prefix of every character's encoding. It is
// made from all of the 1,112,064 characters, so it knows no rule.
var unfinished = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for r := rune(0x80); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		var b [utf8.UTFMax]byte
		for n := range utf8.EncodeRune(b[:], r) {
			if n > 0 {
				all[string(b[:n])] = true
			}
		}
	}
	return all
})

// viable reports whether something could follow p, or nothing, so that the
// whole is valid.
func viable(p []byte) bool {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			return unfinished()[string(p)]
		}
		p = p[n:]
	}
	return true
}

// checkFeed feeds p, and demands the verdict of viable and of utf8.Valid.
func checkFeed(t testing.TB, p []byte) {
	t.Helper()
	var u frame.UTF8
	if got, want := u.Feed(p, [4]byte{}, 0), viable(p); got != want {
		t.Fatalf("Feed(% x) = %v, want %v", p, got, want)
	}
	if got, want := u.Complete(), utf8.Valid(p); got != want {
		t.Fatalf("Complete() = %v after % x, want %v", got, p, want)
	}
}

// TestUTF8EveryStart takes every one and every two bytes.
func TestUTF8EveryStart(t *testing.T) {
	checkFeed(t, nil)
	for i := range 1 << 16 {
		p := []byte{byte(i >> 8), byte(i)}
		checkFeed(t, p)
		checkFeed(t, p[:1])
	}
}

// TestUTF8Tree puts every byte behind every place inside a character where a
// valid text can stand: all that the check can be asked, byte by byte.
func TestUTF8Tree(t *testing.T) {
	for prefix := range unfinished() {
		p := append([]byte(prefix), 0)
		for c := range 256 {
			p[len(p)-1] = byte(c)
			var u frame.UTF8
			for i := range len(prefix) {
				if !u.Feed(p[i:i+1], [4]byte{}, 0) || u.Complete() {
					t.Fatalf("byte %d of % x: refused or complete", i, prefix)
				}
			}
			complete := utf8.Valid(p)
			want := complete || unfinished()[string(p)]
			if got := u.Feed(p[len(prefix):], [4]byte{}, 0); got != want || u.Complete() != complete {
				t.Fatalf("% x: %v, complete %v, want %v, %v", p, got, u.Complete(), want, complete)
			}
		}
	}
}

// TestUTF8EveryCharacter takes all of them, whole and cut everywhere.
func TestUTF8EveryCharacter(t *testing.T) {
	var buf [utf8.UTFMax]byte
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		p := buf[:utf8.EncodeRune(buf[:], r)]
		for cut := range p {
			var u frame.UTF8
			if !u.Feed(p[:cut], [4]byte{}, 0) || u.Complete() != (cut == 0) {
				t.Fatalf("%U cut at %d: first part", r, cut)
			}
			if !u.Feed(p[cut:], [4]byte{}, 0) || !u.Complete() {
				t.Fatalf("%U cut at %d: second part", r, cut)
			}
		}
	}
}

// borders are the bytes at each edge of the ranges in RFC 3629 §4.
var borders = []byte{
	0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
	0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
}

// TestUTF8Borders takes all sequences of one to four border bytes, cut at
// every place into two reads of one frame, at every rotation of the mask.
func TestUTF8Borders(t *testing.T) {
	key := [4]byte{0x37, 0xfa, 0x21, 0xbd}
	var p [4]byte
	var walk func(n int)
	walk = func(n int) {
		checkCuts(t, p[:n], key)
		if n == len(p) {
			return
		}
		for _, c := range borders {
			p[n] = c
			walk(n + 1)
		}
	}
	walk(0)
}

func checkCuts(t *testing.T, p []byte, key [4]byte) {
	t.Helper()
	var could [5]bool
	for n := range len(p) + 1 {
		could[n] = viable(p[:n])
	}
	complete := utf8.Valid(p)
	var buf [4]byte
	for rot := range int64(4) {
		masked := buf[:len(p)]
		for i, c := range p {
			masked[i] = c ^ key[(rot+int64(i))%4]
		}
		for cut := range len(p) + 1 {
			var u frame.UTF8
			if got := u.Feed(masked[:cut], key, rot); got != could[cut] {
				t.Fatalf("% x, first %d at %d: %v, want %v", p, cut, rot, got, could[cut])
			}
			if got := u.Feed(masked[cut:], key, rot+int64(cut)); got != could[len(p)] || u.Complete() != complete {
				t.Fatalf("% x cut at %d, at %d: %v, complete %v, want %v, %v",
					p, cut, rot, got, u.Complete(), could[len(p)], complete)
			}
		}
	}
}

// awkward are sequences that are valid, that are not, and that stop short.
var awkward = []string{
	"\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
	"\xf0\x90\x80\x80", "\xf3\xbf\xbf\xbf", "\xf4\x8f\xbf\xbf", "é€🙂é", "\xef\xbb\xbf",
	"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2\x7f", "\xc2\xc0", "\xe0\x9f\xbf", "\xe0\x80\x80",
	"\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xfe",
	"\xe2\x82", "\xe2\x82a", "\xf0\x9f\x98", "\xf0\x9f\x98a", "\xf0\x9f", "\xc3", "é\x80",
}

// TestUTF8Blocks puts each awkward sequence at every place of the words and
// the larger blocks that Feed works in, in two frames with keys of their own.
func TestUTF8Blocks(t *testing.T) {
	keys := [2][4]byte{{0x37, 0xfa, 0x21, 0x3d}, {0x80, 0x01, 0xff, 0x7f}}
	for _, s := range awkward {
		for lead := range 43 {
			for _, tail := range []int{0, 1, 7, 8, 41} {
				p := []byte(strings.Repeat("a", lead) + s + strings.Repeat("z", tail))
				want, complete := viable(p), utf8.Valid(p)
				for cut := range len(p) + 1 {
					rot := int64(cut+lead) % 4
					var u frame.UTF8
					first := u.Feed(naiveMask(p[:cut], keys[0], rot), keys[0], rot)
					if first != viable(p[:cut]) {
						t.Fatalf("%q, first %d: %v", p, cut, first)
					}
					got := u.Feed(naiveMask(p[cut:], keys[1], 0), keys[1], 0)
					if got != want || u.Complete() != complete {
						t.Fatalf("%q cut at %d: %v, complete %v, want %v, %v",
							p, cut, got, u.Complete(), want, complete)
					}
				}
			}
		}
	}
}

// TestUTF8Random feeds long texts of all scripts, some with a byte spoilt, in
// frames and reads of any size.
func TestUTF8Random(t *testing.T) {
	random := rand.New(rand.NewPCG(3629, 6455))
	parts := append(slices.Clone(awkward[:12]), "plain ASCII text, ", "Grüße ", "и так далее ", "日本語", "🙂🙂", "x")
	for range 3000 {
		var p []byte
		for range random.IntN(60) {
			p = append(p, parts[random.IntN(len(parts))]...)
		}
		if len(p) > 0 && random.IntN(2) == 0 {
			p[random.IntN(len(p))] ^= byte(1 << random.IntN(8))
		}
		var u frame.UTF8
		ok := true
		var key [4]byte
		offset := int64(0)
		for done := 0; done < len(p) && ok; {
			if random.IntN(3) == 0 { // a new frame
				key, offset = [4]byte{byte(random.Uint32()), byte(random.Uint32()), 0x80, 1}, 0
			}
			n := min(1+random.IntN(100), len(p)-done)
			ok = u.Feed(naiveMask(p[done:done+n], key, offset), key, offset)
			done, offset = done+n, offset+int64(n)
			if want := viable(p[:done]); ok != want {
				t.Fatalf("first %d of %q: %v, want %v", done, p, ok, want)
			}
		}
		if got, want := ok && u.Complete(), utf8.Valid(p); got != want {
			t.Fatalf("%q: %v, want %v", p, got, want)
		}
	}
}

func TestUTF8StaysInvalid(t *testing.T) {
	for _, bad := range []string{"\xff", "aaaaaaaaaaaaaaaaaaaa\xffaaaaaaaaaaaaaaaa"} {
		var u frame.UTF8
		for i, next := range []string{bad, "", "a", strings.Repeat("a", 100), "\xc3", "\xa9"} {
			if u.Feed([]byte(next), [4]byte{}, 0) || u.Complete() {
				t.Errorf("%q: valid again after feed %d", bad, i)
			}
		}
	}
}

func TestUTF8LeavesInput(t *testing.T) {
	p := []byte(strings.Repeat("plain text ", 9) + "Grüße 🙂 \xff and more text behind")
	before := bytes.Clone(p)
	var u frame.UTF8
	u.Feed(p, [4]byte{1, 2, 3, 4}, 3)
	if !bytes.Equal(p, before) {
		t.Errorf("Feed changed its input to %q", p)
	}
}

func TestUTF8Allocs(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	text := naiveMask([]byte(strings.Repeat("Grüße, 日本語, plain ASCII text 🙂 ", 50)), key, 0)
	noAllocs(t, "UTF8.Feed", func() {
		var u frame.UTF8
		u.Feed(text, key, 0)
		u.Feed(text, key, 1) // refused
	})
}
