package jwt

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestDecodeObject(t *testing.T) {
	type object = map[string]any
	tests := []struct {
		text string
		want object // nil for none
	}{
		{`{}`, object{}},
		{" {\r\n\t} ", object{}},
		{`{"a":null,"b":true,"c":false,"d":"\u00e9\ud83d\ude00"}`, object{"a": nil, "b": true, "c": false, "d": "é😀"}},
		{`{"a":[],"b":[1,[2,{}]],"c":{"d":{}}}`, object{"a": []any{}, "b": []any{int64(1), []any{int64(2), object{}}}, "c": object{"d": object{}}}},
		{`{"sub":1,"SUB":2,"Sub":3}`, object{"sub": int64(1), "SUB": int64(2), "Sub": int64(3)}},
		{`{"":1}`, object{"": int64(1)}},

		{`{"n":0}`, object{"n": int64(0)}},
		{`{"n":-0}`, object{"n": int64(0)}},
		{`{"n":9007199254740991}`, object{"n": int64(1<<53 - 1)}},
		{`{"n":-9007199254740991}`, object{"n": int64(-1<<53 + 1)}},
		{`{"n":9007199254740992}`, object{"n": float64(1 << 53)}},
		{`{"n":9223372036854775808}`, object{"n": float64(1 << 63)}},
		{`{"n":1.5}`, object{"n": 1.5}},
		{`{"n":1e3}`, object{"n": 1000.0}},
		{`{"n":1.7976931348623157e308}`, object{"n": math.MaxFloat64}},
		{`{"n":1e-400}`, object{"n": 0.0}},
		{`{"n":1e400}`, nil},
		{`{"n":-1e400}`, nil},
		{`{"n":` + strings.Repeat("9", 400) + `}`, nil},
		{`{"n":01}`, nil},
		{`{"n":+1}`, nil},
		{`{"n":.5}`, nil},
		{`{"n":0x10}`, nil},
		{`{"n":NaN}`, nil},
		{`{"n":Infinity}`, nil},

		{`{"sub":1,"sub":2}`, nil}, // J-16
		{`{"sub":1,"\u0073ub":2}`, nil},
		{`{"sub":1,"x":{"a":1,"a":1}}`, nil},
		{`{"x":[{"a":1,"\u0061":1}]}`, nil},
		{`{"a":"\ud800"}`, nil},
		{`{"a":"\ude00\ud83d"}`, nil},
		{`{"\udfff":1}`, nil},
		{"{\"a\":\"\xff\"}", nil},
		{"{\"a\":\"\xed\xa0\x80\"}", nil},
		{"{\"a\":\"\n\"}", nil},
		{"{\"a\":\"\x00\"}", nil},
		{`{"a":"\x41"}`, nil},

		{``, nil},
		{` `, nil},
		{`null`, nil},
		{`[]`, nil},
		{`"a"`, nil},
		{`{`, nil},
		{`{"a"`, nil},
		{`{"a":`, nil},
		{`{"a":1`, nil},
		{`{"a":1,}`, nil},
		{`{"a":[1,]}`, nil},
		{`{"a":[1}`, nil},
		{`{"a":}`, nil},
		{`{"a":]}`, nil},
		{`{a:1}`, nil},
		{`{'a':1}`, nil},
		{`{"a":1}}`, nil},
		{`{"a":1}null`, nil},
		{`{"a":1}{"a":1}`, nil},
		{`{"a":1,/**/"b":2}`, nil},
		{"\ufeff{}", nil},

		{`{"a":` + nested(16) + `}`, nil},
		{strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17), nil},
		{strings.Repeat(`{"a":`, 10_000), nil},
		{`{"a":` + strings.Repeat("[", 10_000), nil},
	}
	for _, test := range tests {
		got, err := decodeObject([]byte(test.text), len(test.text))
		if (err == nil) != (test.want != nil) || err == nil && !reflect.DeepEqual(got, test.want) {
			t.Errorf("%.80s: %#v, %v, want %#v", test.text, got, err, test.want)
		}
	}
}

func TestDecodeObjectBounds(t *testing.T) {
	for _, test := range []struct {
		text string
		most int
		good bool
	}{
		{`{"a":` + nested(15) + `}`, 100, true},
		{`{"a":` + nested(16) + `}`, 100, false},
		{`{}`, 0, true},
		{`{"a":1}`, 1, true},
		{`{"a":1}`, 0, false},
		{`{"a":[1,2],"b":{"c":3}}`, 5, true},
		{`{"a":[1,2],"b":{"c":3}}`, 4, false},
	} {
		if _, err := decodeObject([]byte(test.text), test.most); (err == nil) != test.good {
			t.Errorf("%s with at most %d values: %v", test.text, test.most, err)
		}
	}
}
