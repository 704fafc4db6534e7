package strictyaml

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNearest(t *testing.T) {
	known := []string{"upstream", "hosts", "paths", "policies", "idle_timeout", "max_message", "max_frame", "tls", "on"}
	for word, want := range map[string]string{
		"upstreem": "upstream", "upstraem": "upstream", "Upstream": "upstream", "host": "hosts", "path": "paths", "policy": "",
		"policis": "policies", "idle-timeout": "idle_timeout", "idletimeout": "idle_timeout", "IDLE_TIMEOUT": "idle_timeout",
		"max_mesage": "max_message", "maxframes": "max_frame", "tsl": "tls", "tl": "tls", "xyz": "", "": "", "o": "", "no": "on",
		"t": "", "a": "", "completely": "", strings.Repeat("a", 65): "", "hosts": "hosts",
	} {
		got, ok := Nearest(word, known)
		if got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", word, got, ok, want)
		}
	}
	same(t, "the first of equals", first(Nearest("cat", []string{"bat", "hat", "car"})), "bat")
	same(t, "none known", first(Nearest("a", nil)), "")
	same(t, "long known words are skipped", first(Nearest("abc", []string{strings.Repeat("abc", 30), "abcd"})), "abcd")
}

func first(s string, _ bool) string { return s }

func TestDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"a", ""}: 1, {"", "abc"}: 3, {"abc", "abc"}: 0, {"abc", "acb"}: 1, {"kitten", "sitting"}: 3, {"ca", "abc"}: 3,
		{"äb", "ab"}: 1,
	} {
		if got := distance([]rune(pair[0]), []rune(pair[1])); got != want {
			t.Errorf("%q: %d, want %d", pair, got, want)
		}
	}
	word := rapid.SliceOfN(rapid.RuneFrom([]rune("abc")), 0, 8)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		d := distance(a, b)
		if d != distance(b, a) || (d == 0) != (string(a) == string(b)) || d > max(len(a), len(b)) {
			t.Fatalf("distance of %q and %q is %d", string(a), string(b), d)
		}
	})
}
