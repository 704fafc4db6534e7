package operation

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// packet makes an MQTT packet of its first byte and its body.
func packet(first byte, body string) string {
	p := []byte{first}
	n := len(body)
	for {
		digit := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			p = append(p, digit|0x80)
			continue
		}
		return string(append(p, digit)) + body
	}
}

// field is a text with its length before it.
func field(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }

func unhex(t testing.TB, s string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	connect311 = packet(0x10, field("MQTT")+"\x04\x02\x00\x3c"+field("id"))
	connect5   = packet(0x10, field("MQTT")+"\x05\x02\x00\x3c\x05\x11\x00\x00\x00\x0a"+field("id"))
	publish    = packet(0x30, field("a/b")+"hello")
	subscribe  = packet(0x82, "\x00\x01"+field("a/+")+"\x00"+field("b/#")+"\x01")
	subscribe5 = packet(0x82, "\x00\x01\x02\x0b\x05"+field("a/+")+"\x00"+field("b/#")+"\x2d")
)

func TestMQTT(t *testing.T) {
	const malformed = "problem: message is malformed"
	testRows(t, "mqtt", []row{
		// As npm mqtt 5 and mosquitto_pub send them.
		{blob(unhex(t, "10 13 0004 4d515454 04 02 003c 0007 6d71747470 6a73")), `"connect"`},
		{blob(unhex(t, "30 0c 0005 74 6f 70 69 63 68 65 6c 6c 6f")), `"publish"`},
		{blob(connect311), `"connect"`},
		{blob(connect5), `"connect"`},
		{blob(packet(0x10, field("MQIsdp")+"\x03\x02\x00\x3c"+field("id"))), `"connect"`},
		{blob(packet(0x10, field("MQTT")+"\x84\x02\x00\x3c"+field("id"))), `"connect"`}, // a bridge of mosquitto
		{blob(publish), `"publish"`},
		{blob(packet(0x3d, field("a/b")+"\x00\x01hello")), `"publish"`},
		{blob(subscribe), `"subscribe"`},
		{blob(packet(0xa2, "\x00\x01"+field("a/b"))), `"unsubscribe"`},
		{blob("\xe0\x00"), `"disconnect"`},
		{blob("\xe0\x01\x04"), `"disconnect"`},
		{blob("\xf0\x02\x18\x00"), `"auth"`},
		{blob("\x20\x02\x00\x00"), "~"},
		{blob("\x40\x02\x00\x01"), "~"},
		{blob("\x50\x02\x00\x01"), "~"},
		{blob("\x62\x02\x00\x01"), "~"},
		{blob("\x70\x02\x00\x01"), "~"},
		{blob("\x90\x03\x00\x01\x00"), "~"},
		{blob("\xb0\x02\x00\x01"), "~"},
		{blob("\xc0\x00"), "~"},
		{blob("\xd0\x00"), "~"},
		{blob(publish + "\xc0\x00" + subscribe), `"publish" ~ "subscribe"`},
		{blob(""), ""},
		{blob(strings.Repeat("\xc0\x00", 5)), "~ ~ ~ ~ ~"},
		{blob(strings.Repeat("\xc0\x00", 6)), "problem: too many operations in one message"},
		{blob(packet(0x30, field("t")+strings.Repeat("x", 1<<20))), `"publish"`},

		{text(publish), malformed},
		{blob("\x00\x00"), malformed},
		{blob("\xc1\x00"), malformed},
		{blob("\x36\x00"), malformed}, // QoS 3
		{blob("\x80\x00"), malformed},
		{blob("\x60\x02\x00\x01"), malformed},
		{blob("\x30\xff\xff\xff\xff\x01"), malformed},
		{blob("\x30\xff\xff\xff\xff"), malformed},
		{blob("\x10\x00"), malformed},
		{blob(packet(0x10, field("HTTP")+"\x04\x02\x00\x3c")), malformed},
		{blob(packet(0x10, field("MQTT")+"\x06\x02\x00\x3c")), malformed},
		{blob(packet(0x10, field("MQTT")+"\x03\x02\x00\x3c")), malformed},
		{blob(packet(0x10, field("MQTT"))), malformed},
		{blob(packet(0x10, "\xff\xffMQTT")), malformed},
		{blob("\x10\x7f\xff\xffMQTT"), ""}, // not complete
		{blob(publish + "GET / HTTP/1.1\r\n"), malformed},
	})
}

func TestMQTTTopics(t *testing.T) {
	const malformed = "problem: message is malformed"
	testRows(t, "mqtt-topics", []row{
		{blob(publish), `"publish:a/b"`},
		{blob(packet(0x32, field("é/x")+"\x00\x01hello")), `"publish:é/x"`},
		{blob(packet(0x30, field("")+"\x03\x23\x00\x01hello")), `"publish:"`}, // a topic alias of MQTT 5
		{blob(packet(0x30, field(strings.Repeat("t", 1016)))), `"publish:` + strings.Repeat("t", 1016) + `"`},
		{blob(packet(0x30, field(strings.Repeat("t", 1017)))), "problem: name of operation too long"},
		{blob(subscribe), `"subscribe:a/+" "subscribe:b/#"`},
		{blob(connect5 + subscribe5), `"connect" "subscribe:a/+" "subscribe:b/#"`},
		{blob(packet(0x82, "\x00\x01"+field("$share/group/a/b")+"\x00")), `"subscribe:a/b"`},
		{blob(packet(0x82, "\x00\x01"+field("$share/group")+"\x00")), `"subscribe:$share/group"`},
		{blob(packet(0x82, "\x00\x01"+field("$SYS/#")+"\x00")), `"subscribe:$SYS/#"`},
		{blob(packet(0xa2, "\x00\x01"+field("a/b")+field("c"))), `"unsubscribe:a/b" "unsubscribe:c"`},
		{blob(connect5 + packet(0xa2, "\x00\x01\x00"+field("a/b"))), `"connect" "unsubscribe:a/b"`},
		{blob(connect311), `"connect"`},
		{blob("\xe0\x00"), `"disconnect"`},

		{blob(packet(0x30, field("a/+"))), malformed},
		{blob(packet(0x30, field("#"))), malformed},
		{blob(packet(0x30, field("a\x00"))), malformed},
		{blob(packet(0x30, field("a\xff"))), malformed},
		{blob(packet(0x30, "\x00\x05abc")), malformed},
		{blob(packet(0x30, "\x00")), malformed},
		{blob(packet(0x82, "\x00\x01")), malformed},
		{blob(packet(0x82, "\x00")), malformed},
		{blob(packet(0x82, "\x00\x01"+field("a"))), malformed}, // no options
		{blob(packet(0x82, "\x00\x01"+field("a\x00")+"\x00")), malformed},
		{blob(connect5 + packet(0x82, "\x00\x01\x05"+field("a")+"\x00")), malformed},
		{blob(connect5 + packet(0x82, "\x00\x01")), malformed},
	})
}

// feed reads messages of one connection and returns all names.
func feed(name string, t testing.TB, messages ...[]byte) (names []string, stream *Stream, problem Problem) {
	r := NewReader(sourceOf(t, name), Bounds{Calls: 1 << 20, Depth: 1})
	stream = new(Stream)
	for _, m := range messages {
		r.Read(Message{Payload: m}, stream)
		if r.Problem != Sound {
			return names, stream, r.Problem
		}
		for _, c := range r.Calls {
			if c.State == Named {
				names = append(names, string(c.Name))
			}
		}
		r.Release()
	}
	return names, stream, Sound
}

// Messages may cut the stream of packets anywhere (MQTT-6.0.0-2), and some clients send each field of a packet by itself.
func TestMQTTInPieces(t *testing.T) {
	whole := []byte(connect5 + "\xc0\x00" + publish + subscribe5 + packet(0x30, field("c")+strings.Repeat("x", 300)) + "\xe0\x00")
	for _, name := range []string{"mqtt", "mqtt-topics"} {
		want, stream, problem := feed(name, t, whole)
		if problem != Sound || len(want) < 5 || !stream.Aligned() {
			t.Fatalf("%s: %q, %q", name, want, problem)
		}
		for size := 1; size < len(whole); size++ {
			got, stream, problem := feed(name, t, slices.Collect(slices.Chunk(whole, size))...)
			if problem != Sound || !slices.Equal(got, want) || !stream.Aligned() {
				t.Fatalf("%s in pieces of %d: %q, %q, want %q", name, size, got, problem, want)
			}
		}
		for cut := 1; cut < len(whole); cut++ {
			_, stream, problem := feed(name, t, whole[:cut])
			if problem != Sound {
				t.Fatalf("%s cut at %d: %q", name, cut, problem)
			}
			atEnd := cut == len(connect5) || cut == len(connect5)+2 || cut == len(connect5)+2+len(publish) ||
				cut == len(connect5)+2+len(publish)+len(subscribe5) || cut == len(whole)-2
			if stream.Aligned() != atEnd {
				t.Errorf("%s cut at %d: aligned %t", name, cut, stream.Aligned())
			}
		}
	}
}

// A packet whose operation does not become known is not kept for ever, and after a problem the stream starts anew.
func TestMQTTHoldsLittle(t *testing.T) {
	long := []byte(packet(0x82, "\x00\x01"+strings.Repeat(field(strings.Repeat("f", 100))+"\x00", 50)))
	if names, _, problem := feed("mqtt-topics", t, long); problem != Sound || len(names) != 50 {
		t.Errorf("whole: %d names, %q", len(names), problem)
	}
	names, stream, problem := feed("mqtt-topics", t, slices.Collect(slices.Chunk(long, 100))...)
	if problem != Malformed || len(names) > 0 || !stream.Aligned() || stream.mqttTopics.held != nil {
		t.Errorf("in pieces: %q, %q, aligned %t", names, problem, stream.Aligned())
	}
	if _, stream, _ := feed("mqtt-topics", t, []byte(publish[:3])); len(stream.mqttTopics.held) != 3 {
		t.Errorf("3 bytes of a packet, %d held", len(stream.mqttTopics.held))
	}
}

// naivePackets finds the packets of a whole stream.
func naivePackets(p []byte) (names []string, ok bool) {
	for len(p) > 0 {
		length, n := 0, 1
		for shift := 0; ; shift += 7 {
			if n == len(p) || shift > 21 {
				return names, false
			}
			length |= int(p[n]&0x7f) << shift
			n++
			if p[n-1] < 0x80 {
				break
			}
		}
		if len(p) < n+length {
			return names, false
		}
		if name := map[byte]string{1: "connect", 3: "publish", 8: "subscribe", 10: "unsubscribe", 14: "disconnect", 15: "auth"}[p[0]>>4]; name != "" {
			names = append(names, name)
		}
		p = p[n+length:]
	}
	return names, true
}

// The law: a stream that is whole has the operations that reading packet by packet finds, and the same however it is cut; with topics they are
// the same too.
func FuzzMQTT(f *testing.F) {
	for _, seed := range []string{connect311, connect5 + subscribe5, publish + publish, "\xc0\x00\xe0\x00", subscribe, "\x30\x80\x80\x80\x00", "\x30\xff"} {
		f.Add([]byte(seed), byte(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, size byte) {
		before := bytes.Clone(stream)
		chunks := slices.Collect(slices.Chunk(stream, int(size)+1))
		for _, name := range []string{"mqtt", "mqtt-topics"} {
			whole, end, problem := feed(name, t, stream)
			pieces, pieced, cutProblem := feed(name, t, chunks...)
			if problem != cutProblem && !(name == "mqtt-topics" && len(stream) > maxHeld) {
				t.Fatalf("%s %x: %q, cut %q", name, stream, problem, cutProblem)
			}
			if problem != Sound {
				continue
			}
			if !slices.Equal(whole, pieces) || end.Aligned() != pieced.Aligned() {
				t.Fatalf("%s %x: %q, cut %q", name, stream, whole, pieces)
			}
			kinds := slices.Clone(whole)
			for i, name := range kinds {
				kinds[i], _, _ = strings.Cut(name, ":")
			}
			want, ok := naivePackets(stream)
			if name == "mqtt-topics" {
				kinds, want = slices.Compact(kinds), slices.Compact(want) // a SUBSCRIBE has several filters
			}
			if ok != end.Aligned() || ok && fmt.Sprint(kinds) != fmt.Sprint(want) {
				t.Fatalf("%s %x: %q, aligned %t, packet by packet %q", name, stream, whole, end.Aligned(), want)
			}
		}
		if !bytes.Equal(stream, before) {
			t.Fatal("the payload was changed")
		}
	})
}
