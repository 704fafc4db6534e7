package strictyaml

import (
	"errors"
	"fmt"
	"testing"
)

const documentText = `version: 1
routes:
  - name: chat
    hosts: [a, b]
  - name: api
    hosts:
      - c
upstreams:
  chat:
    servers: [ws://127.0.0.1:1]
  chat.eu:
    servers:
      - ws://127.0.0.1:2
  "a[0]": {servers: [x]}
labels: {token: "bearer ${PASSWORD}", short: "${UNSET:-abc}", number: "${PORT}"}
`

func TestAt(t *testing.T) {
	_, doc := decode(t, documentText)
	same(t, "file", doc.File(), "gateway.yaml")
	for path, want := range map[string][2]Position{ // value, key
		"":                             {{1, 1}, {1, 1}},
		"version":                      {{1, 10}, {1, 1}},
		"versions":                     {{1, 1}, {1, 1}},
		"routes":                       {{3, 3}, {2, 1}},
		"routes[0]":                    {{3, 5}, {3, 5}},
		"routes[0].name":               {{3, 11}, {3, 5}},
		"routes[0].hosts[1]":           {{4, 16}, {4, 16}},
		"routes[1].hosts[0]":           {{7, 9}, {7, 9}},
		"routes[1].hosts[1]":           {{7, 7}, {6, 5}},
		"routes[1].policies[3].x":      {{5, 5}, {5, 5}},
		"routes[2]":                    {{3, 3}, {2, 1}},
		"routes[01]":                   {{3, 3}, {2, 1}},
		"routes[99999999999999999999]": {{3, 3}, {2, 1}},
		"routes[0":                     {{3, 3}, {2, 1}},
		"routes.0":                     {{3, 3}, {2, 1}},
		"upstreams.chat":               {{10, 5}, {9, 3}},
		"upstreams.chat.servers[0]":    {{10, 15}, {10, 15}},
		"upstreams.chat.eu.servers[0]": {{13, 9}, {13, 9}},
		`upstreams["chat.eu"].servers`: {{13, 7}, {12, 5}},
		"upstreams.chat.eu":            {{12, 5}, {11, 3}},
		`upstreams["a[0]"].servers[0]`: {{14, 22}, {14, 22}},
		"upstreams.a[0].servers[0]":    {{14, 22}, {14, 22}},
		"nothing.of.this":              {{1, 1}, {1, 1}},
		"[0]":                          {{1, 1}, {1, 1}},
		"..":                           {{1, 1}, {1, 1}},
	} {
		same(t, "At "+path, doc.At(path), want[0])
		same(t, "KeyAt "+path, doc.KeyAt(path), want[1])
	}
}

func TestDocumentOfABrokenFile(t *testing.T) {
	doc, errs := Decode("f", []byte("a: [\n"), nil, &sample{})
	if len(errs) != 1 || doc.At("a") != (Position{1, 1}) || doc.KeyAt("") != (Position{1, 1}) {
		t.Errorf("%v %v", errs, doc.At("a"))
	}
	same(t, "error", doc.Errorf("a", "is %q", "b").Error(), `f:1:1: a: is "b"`)
}

func TestReport(t *testing.T) {
	_, doc := decode(t, documentText)
	var errs Errors
	report := doc.Report("routes[1]", &errs)
	report("hosts[0]", "host %q is %s", "c", "odd")
	report("", "no policies")
	doc.Report("", &errs)("upstreams.chat", "unused")
	errs.Sort()
	same(t, "errors", errs.Error(), `gateway.yaml:5:5: routes[1]: no policies
gateway.yaml:7:9: routes[1].hosts[0]: host "c" is odd
gateway.yaml:10:5: upstreams.chat: unused`)
}

func TestErrorfConceals(t *testing.T) {
	_, doc := decode(t, documentText)
	const token = "bearer hunter2secret"
	for _, c := range []struct {
		path, format string
		arg          any
		want         string
	}{
		{"labels.token", "bad token %q", token, "bad token the expanded value"},
		{"labels.token", "bad token %v", errors.New("parse 2sec: no"), "bad token the expanded value"},
		{"labels.token", "bad token %q", "hunter2", "bad token the expanded value"},
		{"labels.token", "bad token %s", "<hunter2secret>", "bad token the expanded value"},
		{"labels.token", "bad token %d", 2, "bad token the expanded value"},
		{"labels.token", "bad token, want %q", "basic", `bad token, want "basic"`},
		{"labels.token", "bad token, want %q", "", `bad token, want ""`},
		{"labels", "bad %v", map[string]string{"a": token}, "bad the expanded value"},
		{"routes[0]", "label %q", token, "label the expanded value"},
		{"routes[0]", "label %w", fmt.Errorf("x: %s", "hunter2secret"), "label the expanded value"},
		{"routes[0]", "label %q", "xyz", `label "xyz"`},
		{"routes[0]", "a default is no secret elsewhere: %s", "abc", "a default is no secret elsewhere: abc"},
		{"labels.short", "but it is at its own place: %s", "abc", "but it is at its own place: the expanded value"},
		{"routes[0]", "port %s", "8080", "port the expanded value"},
		{"routes[0]", "port %s", "808", "port 808"},
	} {
		if c.format == "label %w" {
			c.format = "label %v"
		}
		same(t, c.path, doc.Errorf(c.path, c.format, c.arg).Message, c.want)
	}
}

func TestPaths(t *testing.T) {
	for _, c := range [][3]string{
		{"", "", ""}, {"a", "", "a"}, {"", "b", "b"}, {"a", "b", "a.b"}, {"a", "[0]", "a[0]"}, {"a[0]", "b", "a[0].b"},
	} {
		same(t, "join", Join(c[0], c[1]), c[2])
	}
	for _, c := range [][3]string{
		{"", "a-B_9", "a-B_9"}, {"a", "b", "a.b"}, {"a", "b.c", `a["b.c"]`}, {"", "", `[""]`}, {"a[0]", `"`, `a[0]["\""]`},
		{"", "é", `["é"]`}, {"", "\x1b", `["\x1b"]`},
	} {
		same(t, "key", Key(c[0], c[1]), c[2])
	}
}
