package operation

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// capture is a wanted text that was found.
type capture struct {
	leaf       role
	kind       jsontext.Kind // text, number or boolean
	element    int           // index in the outermost array; 0 outside of one
	start, end int           // in document.texts
}

// document is one JSON text, read once and strictly. It is reused.
type document struct {
	decoder jsontext.Decoder
	input   bytes.Buffer
	scratch []byte

	// What to do.
	want     *want
	build    bool // make the value
	maxDepth int
	maxFound int

	// What was found.
	depth     int // of nested arrays and objects
	value     any
	elements  int // of the outermost array; -1 if it is none
	texts     []byte
	found     []capture
	ambiguous bool // a name could be taken for a wanted one
	many      bool // more than maxFound captures
}

var (
	errNumber   = errors.New("number out of range")
	errDeep     = errors.New("nested too deep")
	errTrailing = errors.New("something stands behind the value")
)

// read reads text, which must stay as it is meanwhile. An error says that it is not strict JSON, or nested deeper than maxDepth; then
// nothing was found.
func (d *document) read(text []byte) error {
	d.reset()
	d.input = *bytes.NewBuffer(text) // of which the decoder reads without copying
	d.decoder.Reset(&d.input)
	value, err := d.next(d.want, 0, 0)
	if err == nil {
		if _, end := d.decoder.ReadToken(); end != io.EOF {
			err = errTrailing
		}
	}
	if err != nil {
		d.reset()
		return err
	}
	d.value = value
	return nil
}

// reset makes it what it is of a message without JSON.
func (d *document) reset() {
	d.value, d.depth, d.elements, d.ambiguous, d.many = nil, 0, -1, false, false
	d.texts, d.found = d.texts[:0], d.found[:0]
}

// release lets go of the text and the value.
func (d *document) release() {
	d.value, d.input = nil, bytes.Buffer{}
	d.decoder.Reset(&d.input)
	const kept = 4 << 10
	if cap(d.texts) > kept || cap(d.scratch) > kept || cap(d.found) > kept/8 {
		d.texts, d.scratch, d.found = nil, nil, nil
	}
}

// next reads one value below depth others. Its result is nil unless it is to be built.
func (d *document) next(w *want, depth, element int) (any, error) {
	switch d.decoder.PeekKind() {
	case '{':
		return d.object(w, depth+1, element)
	case '[':
		return d.array(w, depth+1, element)
	case '"':
		raw, err := d.decoder.ReadValue()
		if err != nil {
			return nil, err
		}
		return d.text(w, raw, element), nil
	case '0':
		raw, err := d.decoder.ReadValue()
		if err != nil {
			return nil, err
		}
		return d.number(w, raw, element)
	}
	token, err := d.decoder.ReadToken()
	if err != nil {
		return nil, err
	}
	if token.Kind() == 'n' {
		return nil, nil
	}
	d.capture(w, token.Kind(), element, strconv.AppendBool(d.scratch[:0], token.Bool()))
	return token.Bool(), nil
}

// open reads the bracket of an array or object at a depth, which counts itself.
func (d *document) open(depth int) error {
	if depth > d.maxDepth {
		return errDeep
	}
	d.depth = max(d.depth, depth)
	_, err := d.decoder.ReadToken()
	return err
}

func (d *document) object(w *want, depth, element int) (any, error) {
	if err := d.open(depth); err != nil {
		return nil, err
	}
	var members map[string]any
	if d.build {
		members = map[string]any{}
	}
	for d.decoder.PeekKind() != '}' {
		raw, err := d.decoder.ReadValue() // which refuses a name that was there
		if err != nil {
			return nil, err
		}
		name := d.unquote(raw)
		sub, ambiguous := w.member(name)
		d.ambiguous = d.ambiguous || ambiguous
		key := ""
		if d.build {
			key = string(name)
		}
		value, err := d.next(sub, depth, element)
		if err != nil {
			return nil, err
		}
		if d.build {
			members[key] = value
		}
	}
	if _, err := d.decoder.ReadToken(); err != nil || !d.build {
		return nil, err
	}
	return members, nil
}

func (d *document) array(w *want, depth, element int) (any, error) {
	if err := d.open(depth); err != nil {
		return nil, err
	}
	var items []any
	if d.build {
		items = []any{}
	}
	n := 0
	for ; d.decoder.PeekKind() != ']'; n++ {
		if depth == 1 {
			element = n
		}
		value, err := d.next(w.element(n), depth, element)
		if err != nil {
			return nil, err
		}
		if d.build {
			items = append(items, value)
		}
	}
	if depth == 1 {
		d.elements = n
	}
	if _, err := d.decoder.ReadToken(); err != nil || !d.build {
		return nil, err
	}
	return items, nil
}

func (d *document) text(w *want, raw []byte, element int) any {
	if w == nil && !d.build {
		return nil
	}
	text := d.unquote(raw)
	d.capture(w, jsontext.KindString, element, text)
	if !d.build {
		return nil
	}
	return string(text)
}

func (d *document) number(w *want, raw []byte, element int) (any, error) {
	if !inRange(raw) {
		return nil, errNumber
	}
	if !d.build && (w == nil || w.leaf == nothing) {
		return nil, nil
	}
	v, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return nil, errNumber
	}
	if w != nil && w.leaf != nothing {
		// One spelling for each number: 2, 2.0 and 0.2e1 are the same operation.
		d.scratch, _ = jsontext.AppendFormat(d.scratch[:0], raw, jsontext.CanonicalizeRawInts(true), jsontext.CanonicalizeRawFloats(true))
		d.capture(w, jsontext.KindNumber, element, d.scratch)
	}
	return v, nil
}

// unquote returns the text of a JSON string, valid until the next call or read.
func (d *document) unquote(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	d.scratch, _ = jsontext.AppendUnquote(d.scratch[:0], raw) // which was valid when it was read
	return d.scratch
}

func (d *document) capture(w *want, kind jsontext.Kind, element int, text []byte) {
	if w == nil || w.leaf == nothing {
		return
	}
	if len(d.found) == d.maxFound {
		d.many = true
		return
	}
	start := len(d.texts)
	d.texts = append(d.texts, text...)
	d.found = append(d.found, capture{w.leaf, kind, element, start, len(d.texts)})
}

func (d *document) textOf(c capture) []byte { return d.texts[c.start:c.end] }

// inRange says whether a JSON number is 0 or between 1e-300 and 1e308. Beyond that parsers disagree: about infinity, and about 0. And short of
// 1e-307 strconv, like others, takes a hundred microseconds for a number of six bytes.
func inRange(raw []byte) bool {
	const lowest, highest, safe = -300, 307, 20
	mantissa, exponent := raw, 0
	if i := bytes.IndexAny(raw, "eE"); i >= 0 {
		mantissa = raw[:i]
		exponent = clampedExponent(raw[i+1:])
	} else if len(raw) <= safe {
		return true
	}
	mantissa = bytes.TrimPrefix(mantissa, []byte("-"))
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	var first int // the power of ten of the first digit that is not 0
	if whole[0] != '0' {
		first = len(whole) - 1
	} else {
		digits := bytes.TrimLeft(fraction, "0")
		if len(digits) == 0 {
			return true
		}
		first = len(digits) - len(fraction) - 1
	}
	first += exponent
	return first >= lowest && first <= highest
}

// clampedExponent reads an exponent; one that is out of all range stays so, and is small enough to be added to.
func clampedExponent(raw []byte) int {
	const huge = 1 << 40 // more than a message has digits
	n, err := strconv.ParseInt(string(raw), 10, 32)
	switch {
	case err == nil:
		return int(n)
	case raw[0] == '-':
		return -huge
	}
	return huge
}
