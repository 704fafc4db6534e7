package jwt

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds how deep JSON may be nested, the outer object counted.
const maxDepth = 16

// maxSafeInteger is the largest integer that every JSON implementation holds exactly (RFC 8259, section 6).
const maxSafeInteger = 1<<53 - 1

// errJSON is constant, since what it is about must not be quoted.
var errJSON = errors.New("not one strict JSON object")

// decodeObject decodes one JSON object by the strict reading (RFC 7493, section 2): no name twice, also not by another spelling of its escapes,
// no lone surrogate, valid UTF-8, nothing behind it. The values are nil, bool, string, int64 (of a number that is written as an integer and
// safe), float64 (of every other one, always finite), []any and map[string]any. There may be most of them, those in others counted.
func decodeObject(data []byte, most int) (map[string]any, error) {
	d := decoder{jsontext.NewDecoder(bytes.NewBuffer(data)), most + 1} // which reads a Buffer without copying
	if d.PeekKind() != '{' {
		return nil, errJSON
	}
	value, err := d.value()
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errJSON
	}
	return value.(map[string]any), nil
}

type decoder struct {
	*jsontext.Decoder
	left int // values that may come
}

func (d *decoder) value() (any, error) {
	t, err := d.ReadToken()
	if d.left--; err != nil || d.left < 0 || d.StackDepth() > maxDepth {
		return nil, errJSON
	}
	switch t.Kind() {
	case 't', 'f':
		return t.Bool(), nil
	case '"':
		return t.String(), nil
	case '0':
		return decodeNumber(t.String())
	case '{':
		return d.members()
	case '[':
		return d.elements()
	}
	return nil, nil // null: what closes is read by its opener
}

func (d *decoder) members() (any, error) {
	members := make(map[string]any)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, errJSON
		}
		key := name.String()
		if members[key], err = d.value(); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return members, err
}

func (d *decoder) elements() (any, error) {
	elements := []any{}
	for d.PeekKind() != ']' {
		value, err := d.value()
		if err != nil {
			return nil, err
		}
		elements = append(elements, value)
	}
	_, err := d.ReadToken()
	return elements, err
}

func decodeNumber(text string) (any, error) {
	if !strings.ContainsAny(text, ".eE") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && -maxSafeInteger <= n && n <= maxSafeInteger {
			return n, nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, errJSON
	}
	return f, nil
}
