package condition

import (
	"slices"
	"testing"
)

func TestKeys(t *testing.T) {
	for source, want := range map[string][]string{
		`request.path == "/"`: nil,
		`request.headers["x-a"] == "1" && request.headers["x-b"] == "2"`:        {"x-a", "x-b"},
		`"x-a" in request.headers && request.headers["x-a"] == "1"`:             {"x-a"},
		`has(request.headers.tenant) && request.headers.tenant == "a"`:          {"tenant"},
		`request.headers["x" + "-a"] == "1"`:                                    {"*"},
		`request.headers[request.path] == "1"`:                                  {"*"},
		`request.headers.exists(name, name == "x-a")`:                           {"*"},
		`size(request.headers) > 1`:                                             {"*"},
		`request.query["a"] == ["1"] && "b" in request.query`:                   nil,
		`claims.headers == "x" && request.host == "a"`:                          nil,
		`request.subprotocols.exists(p, p == "a") || "x-c" in request.headers`:  {"x-c"},
		`request.method in ["GET"] && request.headers["authorization"] == "no"`: {"authorization"},
	} {
		c, err := Handshake().Compile(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		got, all := c.Keys("request", "headers")
		if all {
			got = []string{"*"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", source, got, want)
		}
	}
}
