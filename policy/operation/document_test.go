package operation

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func newDocument(build bool) *document {
	return &document{want: &want{}, build: build, maxDepth: 32, maxFound: 1}
}

func TestInRange(t *testing.T) {
	for number, want := range map[string]bool{
		"0": true, "-0": true, "0.0": true, "0e999": true, "0.000e-999999999999": true, "-0.0E+5": true,
		"1": true, "-1": true, "1.5": true, "1e300": true, "9.99e307": true, "1e308": false, "1e309": false, "10e307": false, "0.1e309": false,
		"0.1e308": true, "1e-300": true, "1e-301": false, "0.1e-299": true, "0.01e-299": false, "10e-301": true, "1e-308": false, "5e-324": false,
		"1e400": false, "1e-400": false, "1e99999999999999999999": false, "1e-99999999999999999999": false, "1e+5": true, "1E5": true,
		strings.Repeat("9", 307): true, strings.Repeat("9", 308): true, strings.Repeat("9", 309): false,
		"0." + strings.Repeat("0", 299) + "1": true, "0." + strings.Repeat("0", 300) + "1": false, "0." + strings.Repeat("0", 999): true,
		strings.Repeat("9", 1000) + "e-999": true, "0." + strings.Repeat("0", 999) + "1e999": true,
	} {
		if got := inRange([]byte(number)); got != want {
			t.Errorf("%.40s: %t", number, got)
		}
	}
}

// The law: it is the decimal exponent of the number, so whatever is in range has one meaning for every parser of doubles.
func TestInRangeIsExponent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
		v, err := strconv.ParseFloat(number, 64)
		magnitude := math.Log10(math.Abs(v))
		got := inRange([]byte(number))
		switch {
		case got && (err != nil || v != 0 && (magnitude < -300.5 || magnitude > 308.5)):
			t.Fatalf("%s is in range", number)
		case !got && err == nil && magnitude > -299.5 && magnitude < 307.5:
			t.Fatalf("%s is out of range", number)
		}
	})
}

// The law: what is strict JSON here, encoding/json accepts and reads the same value from; and no object has a name twice, so that there is no
// other value to read.
func FuzzStrict(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,2.5e3,"\u0041\n",null,true,{}],"b":{"c":[]}}`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `"\ud83d\ude00"`, `"\ud83d"`, `1e400`, `1e-400`, `-0`,
		"\xef\xbb\xbf{}", `[1,]`, `{}{}`, ` [ ] `, "\"\xff\"", "\x00", `[[[[]]]]`, `{"":{"":{}}}`, `nul`, `"`, `01`, `1.`, `{"a"}`, `[`, "\"\u2028\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		built, scanned := newDocument(true), newDocument(false)
		err := built.read(text)
		if (scanned.read(text) == nil) != (err == nil) {
			t.Fatalf("%q: with a value %v, without one the contrary", text, err)
		}
		if !bytes.Equal(text, before) {
			t.Fatalf("%q was changed to %q", before, text)
		}
		if err != nil {
			if built.value != nil {
				t.Fatalf("%q: an error and a value", text)
			}
			return
		}
		var want any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("%q: accepted, and encoding/json says %v", text, err)
		}
		if !reflect.DeepEqual(built.value, want) || scanned.value != nil {
			t.Fatalf("%q: read %#v, encoding/json reads %#v", text, built.value, want)
		}
		if names := countNames(text); names != countMembers(want) {
			t.Fatalf("%q: %d names, and %d members", text, names, countMembers(want))
		}
		if want := nesting(want); built.depth != want || scanned.depth != want {
			t.Fatalf("%q: depth %d and %d, want %d", text, built.depth, scanned.depth, want)
		}
	})
}

// countNames counts the names in a JSON text as they are written, duplicates too.
func countNames(text []byte) int {
	n := 0
	d := json.NewDecoder(bytes.NewReader(text))
	var objects []bool // of each open bracket, whether a name comes next
	for {
		token, err := d.Token()
		if err != nil {
			return n
		}
		last := len(objects) - 1
		switch token {
		case json.Delim('{'), json.Delim('['):
			objects = append(objects, token == json.Delim('{'))
			continue
		case json.Delim('}'), json.Delim(']'):
			objects = objects[:last]
			continue
		}
		if _, isText := token.(string); isText && last >= 0 && objects[last] && d.More() && bytes.HasPrefix(bytes.TrimLeft(text[d.InputOffset():], " \t\r\n"), []byte(":")) {
			n++
		}
	}
}

func countMembers(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		n = len(v)
		for _, value := range v {
			n += countMembers(value)
		}
	case []any:
		for _, value := range v {
			n += countMembers(value)
		}
	}
	return n
}

func nesting(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, value := range v {
			deepest = max(deepest, nesting(value))
		}
	case []any:
		for _, value := range v {
			deepest = max(deepest, nesting(value))
		}
	default:
		return 0
	}
	return deepest + 1
}

// The bounds of the package comment, for the texts that cost the most.
func TestMemoryOfValues(t *testing.T) {
	const size, factor = 1 << 20, 100
	for _, item := range []string{`1,`, `[],`, `{},`, `"",`, `"a",`, `{"":0},`, `[[]],`, `{"a":{"b":0}},`, `[{},{},{},{}],`, `{"":[{"":[]}]},`, `1e99,`, `"\u0000",`} {
		text := []byte("[" + strings.Repeat(item, size/len(item)) + "0]")
		d := newDocument(true)
		before := totalAlloc()
		if err := d.read(text); err != nil {
			t.Fatal(err)
		}
		used := int64(totalAlloc() - before)
		if used > factor*int64(len(text)) {
			t.Errorf("%s: %d bytes for each byte, want at most %d", item, used/int64(len(text)), factor)
		}
		t.Logf("%-20s %3d bytes for each byte", item, used/int64(len(text)))
	}
}

func totalAlloc() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// Names of operations are found without an allocation, and a reader that goes back to its pool keeps nothing large.
func TestNoAllocationsWithoutValue(t *testing.T) {
	for source, message := range map[string]Message{
		"json /a/b":  text(`{"x":[1,2,{"y":null}],"a":{"b":"sea\u0072ch"}}`),
		"jsonrpc":    text(`[{"method":"eth_call","params":[1,"x"]},{"method":"eth_chainId"}]`),
		"graphql-ws": text(`{"id":"1","type":"subscribe","payload":{"operationName":"OnMessage"}}`),
		"socket.io":  text(`42/admin,7["chat message",{"a":1}]`),
		"stomp":      text("SEND\ndestination:/queue/a\n\nhello\x00"),
	} {
		r := NewReader(sourceOf(t, source), Bounds{Calls: 5, Depth: 8})
		stream := new(Stream)
		if n := testing.AllocsPerRun(100, func() {
			r.Read(message, stream)
			r.Release()
			if r.Problem != Sound {
				t.Fatal(r.Problem)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", source, n)
		}
	}
}

func TestReleaseKeepsLittle(t *testing.T) {
	r := NewReader(sourceOf(t, "json /type"), Bounds{Calls: 1, Depth: 8, Build: true})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	r.Read(text(`{"type":"\u0061`+strings.Repeat("a", 8<<20)+`"}`), new(Stream))
	r.Release()
	if after := heap(); after > before+64<<10 {
		t.Errorf("%d bytes are kept", after-before)
	}
	runtime.KeepAlive(r)
}

func BenchmarkRead(b *testing.B) {
	message := text(`{"type":"place","order":{"id":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6","amount":12.5,"side":"buy","tags":["desk-a","urgent","client-77","algo","eu-west-1"],"note":"` + strings.Repeat("n", 30) + `"}}`)
	for name, build := range map[string]bool{"names": false, "value": true} {
		b.Run(name, func(b *testing.B) {
			r := NewReader(sourceOf(b, "json /type"), Bounds{Calls: 1, Depth: 32, Build: build})
			stream := new(Stream)
			b.ReportAllocs()
			b.SetBytes(int64(len(message.Payload)))
			for b.Loop() {
				r.Read(message, stream)
				r.Release()
			}
		})
	}
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(message.Payload)))
		for b.Loop() {
			var v any
			if err := json.Unmarshal(message.Payload, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
