package message

import (
	"strings"
	"testing"
)

const orderSchema = `{
	"type": "object", "required": ["type", "order"], "additionalProperties": false,
	"properties": {
		"type": {"enum": ["place", "cancel"]},
		"order": {
			"type": "object", "required": ["id", "amount", "side"], "additionalProperties": false,
			"properties": {
				"id": {"type": "string", "minLength": 36, "maxLength": 36},
				"amount": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000000},
				"side": {"enum": ["buy", "sell"]},
				"tags": {"type": "array", "maxItems": 8, "items": {"type": "string", "maxLength": 16}},
				"note": {"type": "string", "maxLength": 64}
			}
		}
	}
}`

// order is 200 bytes.
var order = `{"type":"place","order":{"id":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6","amount":12.5,"side":"buy","tags":["desk-a","urgent","client-77","algo"],"note":"` + strings.Repeat("n", 47) + `"}}`

func TestOrderIsWhatItSays(t *testing.T) {
	if len(order) != 200 {
		t.Errorf("it has %d bytes", len(order))
	}
}

// sections are what a message of 200 bytes is measured with.
func sections() map[string]string {
	return map[string]string{
		"operations":           `operations: {from: {json: /type}, allow: [place, cancel], limits: {place: 1000000/s burst 1000000}}`,
		"strict":               `json: strict`,
		"deny":                 `deny: ['(?i)<script', 'javascript:']`,
		"schema":               `json: {schema: order.json}`,
		"condition":            `conditions: ['message.json.order.amount < 1000.0']`,
		"schema and condition": "json: {schema: order.json}\nconditions: ['message.json.order.amount < 1000.0']",
		"everything": `operations: {from: {json: /type}, allow: [place, cancel], limits: {place: 1000000/s burst 1000000}}
json: {schema: order.json}
deny: ['(?i)<script']
conditions: ['message.json.order.amount < 1000.0']`,
	}
}

func BenchmarkInspect(b *testing.B) {
	for name, section := range sections() {
		b.Run(name, func(b *testing.B) {
			i := mustLoad(b, section, files{"order.json": orderSchema})
			s, m := &Session{Address: "192.0.2.1", Route: "orders"}, text(order)
			b.ReportAllocs()
			now := epoch
			for b.Loop() {
				now = now.Add(ms)
				if v := i.Inspect(s, m, now); !v.Pass {
					b.Fatal(describe(v))
				}
			}
		})
	}
}

// Rules that need no value allocate nothing for messages that pass. This goes around the pools, which lose things under the race detector.
func TestNoAllocations(t *testing.T) {
	for _, name := range []string{"operations", "strict"} {
		i := mustLoad(t, sections()[name], nil)
		in := i.newInspection().(*inspection)
		s, m := &Session{}, text(order)
		now := epoch
		if n := testing.AllocsPerRun(200, func() {
			now = now.Add(ms)
			in.begin(s, m, now)
			if v := in.judge(); !v.Pass {
				t.Fatal(describe(v))
			}
			in.end()
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
