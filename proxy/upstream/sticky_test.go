package upstream

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

var (
	firstKey  = strings.Repeat("first key ", 4)
	secondKey = strings.Repeat("second key ", 4)
)

// stickyPool is a gateway's pool whose cookies are made with keys.
func stickyPool(t *testing.T, name string, keys Secrets, servers ...string) *Pool {
	t.Helper()
	p := Compile(name, Config{Servers: urls(servers...), Sticky: &StickyConfig{Cookie: &CookieConfig{Key: keys}}}, failOn(t))
	p.Attach(testRegistry(), time.Now())
	return p
}

// visit makes a request with cookies and returns the server that it came to, and the cookie that it was given.
func visit(t *testing.T, p *Pool, cookies ...string) (server, given string) {
	t.Helper()
	f := &Facts{Now: time.Now(), Header: http.Header{}}
	if len(cookies) > 0 {
		f.Header["Cookie"] = cookies
	}
	k := p.Pick(f)
	l := k.Next()
	if l == nil {
		t.Fatal("no server")
	}
	defer l.Release()
	field := k.SetCookie(l)
	if field == "" {
		return l.Server().String(), ""
	}
	given, attributes, _ := strings.Cut(field, ";")
	if attributes != " Path=/; Secure; HttpOnly; SameSite=Lax" {
		t.Errorf("got the attributes %q", attributes)
	}
	return l.Server().String(), given
}

// A client keeps its server by its cookie, which it is given once, and which tells nothing.
func TestStickyCookie(t *testing.T) {
	t.Parallel()
	p := stickyPool(t, "app", Secrets{firstKey}, fiveServers...)
	seen := map[string]string{}
	for range 5 {
		server, cookie := visit(t, p)
		value, ok := strings.CutPrefix(cookie, "__Host-fg=")
		raw, err := base64.RawURLEncoding.DecodeString(value)
		if !ok || err != nil || len(raw) != 16 || strings.Contains(string(raw), "10.0") {
			t.Fatalf("got the cookie %q", cookie)
		}
		seen[server] = cookie
	}
	if len(seen) != 5 {
		t.Fatalf("%d servers in five turns", len(seen))
	}
	for server, cookie := range seen {
		for _, sent := range []string{cookie, "a=b; " + cookie + "; c", " " + cookie} {
			if got, again := visit(t, p, sent); got != server || again != "" {
				t.Errorf("%q: got %s and the cookie %q, want %s and none", sent, got, again, server)
			}
		}
		if got, _ := visit(t, p, "a=b", cookie); got != server {
			t.Errorf("in a second field: got %s, want %s", got, server)
		}
	}
}

// What is no good cookie of this pool is a pick like any other, with a new cookie.
func TestStickyRefuses(t *testing.T) {
	t.Parallel()
	p := stickyPool(t, "app", Secrets{firstKey}, fiveServers...)
	_, good := visit(t, p)
	_, foreign := visit(t, stickyPool(t, "other", Secrets{firstKey}, fiveServers...))
	_, keyless := visit(t, stickyPool(t, "app", Secrets{secondKey}, fiveServers...))
	flipped := []byte(good)
	flipped[len(flipped)-3] ^= 1
	_, gone := visit(t, stickyPool(t, "app", Secrets{firstKey}, "ws://10.0.0.9:9000"))
	for what, sent := range map[string][]string{
		"flipped": {string(flipped)}, "another pool's": {foreign}, "another key's": {keyless}, "of no server": {gone},
		"empty": {"__Host-fg="}, "without a value": {"__Host-fg"}, "short": {good[:len(good)-1]}, "long": {good + "A"},
		"4 KiB": {"__Host-fg=" + strings.Repeat("A", 4096)}, "twice": {good + "; " + good}, "in two fields": {good, good},
		"quoted": {`__Host-fg="` + good[10:] + `"`}, "other case": {strings.ToLower(good)}, "padded": {good + "=="},
	} {
		servers := map[string]bool{}
		for range 10 {
			server, cookie := visit(t, p, sent...)
			servers[server] = true
			if cookie == "" {
				t.Errorf("%s: taken for a good cookie", what)
			}
		}
		if len(servers) != 5 {
			t.Errorf("%s: leads to %v", what, servers)
		}
	}
}

// No text but the given ones leads anywhere.
func TestStickyGuesses(t *testing.T) {
	t.Parallel()
	p := stickyPool(t, "app", Secrets{firstKey, secondKey}, fiveServers...)
	_, good := visit(t, p)
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for range 20000 {
		guess := []byte(good[10:])
		for range 1 + rand.IntN(3) {
			guess[rand.IntN(len(guess))] = letters[rand.IntN(64)]
		}
		f := http.Header{"Cookie": {"__Host-fg=" + string(guess)}}
		if server, _ := p.current.Load().keeper("__Host-fg", f); server != nil && string(guess) != good[10:] {
			t.Fatalf("%q leads to %s", guess, server)
		}
	}
}

// Several gateways agree by the key alone. One that has a new key takes what the old one made, and gives a new cookie.
func TestStickyGatewaysAgree(t *testing.T) {
	t.Parallel()
	one := stickyPool(t, "app", Secrets{firstKey}, fiveServers...)
	two := stickyPool(t, "app", Secrets{firstKey}, fiveServers[2], fiveServers[0], fiveServers[1], fiveServers[4], fiveServers[3], "ws://10.0.0.6:9000")
	rotated := stickyPool(t, "app", Secrets{secondKey, firstKey}, fiveServers...)
	done := stickyPool(t, "app", Secrets{secondKey}, fiveServers...)
	for range 5 {
		server, cookie := visit(t, one)
		if got, again := visit(t, two, cookie); got != server || again != "" {
			t.Errorf("another gateway takes the client of %s to %s, and gives %q", server, got, again)
		}
		got, renewed := visit(t, rotated, cookie)
		if got != server || renewed == "" || renewed == cookie {
			t.Errorf("in a rotation: %s instead of %s, with the cookie %q", got, server, renewed)
		}
		for what, p := range map[string]*Pool{"in a rotation": rotated, "after it": done} {
			if got, again := visit(t, p, renewed); got != server || again != "" {
				t.Errorf("%s the new cookie leads to %s instead of %s, and gets %q", what, got, server, again)
			}
		}
	}
}

// 10,000 sessions with cookies over five servers, of which one goes and one comes: only those of the server that went move, and stay where they
// came to.
func TestStickyMovesFew(t *testing.T) {
	t.Parallel()
	const n = 10000
	config := func(servers ...string) Config {
		return Config{Servers: urls(servers...), Balance: "least_connections", Sticky: &StickyConfig{Cookie: &CookieConfig{Key: Secrets{firstKey}}}}
	}
	one := mustCompile(t, config(fiveServers...))
	type session struct{ server, cookie string }
	come := func(p *Pool, cookie string) session {
		f := &Facts{Header: http.Header{"Cookie": {cookie}}}
		k := p.Pick(f)
		l := k.Next()
		if given, _, _ := strings.Cut(k.SetCookie(l), ";"); given != "" {
			cookie = given
		}
		return session{l.Server().String(), cookie}
	}
	all := make([]session, n)
	for i := range all {
		all[i] = come(one, "")
	}
	for server, live := range loads(one) {
		if live != n/5 {
			t.Errorf("%d sessions at %s, want %d", live, server, n/5)
		}
	}
	changed := append([]string{"ws://10.0.0.6:9000"}, fiveServers[1:]...)
	two, three := mustCompile(t, config(changed...)), mustCompile(t, config(changed...))
	moved := 0
	for _, s := range all {
		next := come(two, s.cookie)
		if next.server != s.server {
			if moved++; s.server != "10.0.0.1:9000" {
				t.Fatalf("a session of %s moved", s.server)
			}
		}
		if again := come(three, next.cookie); again.server != next.server {
			t.Fatalf("two gateways take a session to %s and to %s", next.server, again.server)
		}
	}
	if moved != n/5 {
		t.Errorf("%d sessions moved, want the %d of the server that went", moved, n/5)
	}
	// Those that moved went to where there was room while the others came back.
	for server, live := range loads(two) {
		if live > n/5*5/4 {
			t.Errorf("%d sessions at %s, want at most %d", live, server, n/5*5/4)
		}
	}
}

// A server that is down or full keeps nobody: a new pick, and a new cookie.
func TestStickyFailsOver(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, Config{Servers: []ServerConfig{{URL: "ws://a", MaxConnections: 1}, {URL: "ws://b"}}, Sticky: &StickyConfig{Cookie: &CookieConfig{}}})
	a := p.Servers()[0]
	server, cookie := visit(t, p)
	if server != "a:80" {
		t.Fatalf("began at %s", server)
	}
	a.Mark(Unhealthy)
	if server, again := visit(t, p, cookie); server != "b:80" || again == "" {
		t.Errorf("while a is down: at %s, with the cookie %q", server, again)
	}
	a.Clear(Unhealthy, time.Now())
	lease := p.registry.acquire(a, time.Now())
	if server, again := visit(t, p, cookie); server != "b:80" || again == "" {
		t.Errorf("while a is full: at %s, with the cookie %q", server, again)
	}
	lease.Release()
	if server, again := visit(t, p, cookie); server != "a:80" || again != "" {
		t.Errorf("a is back: at %s, with the cookie %q", server, again)
	}
	k := p.Pick(&Facts{Header: http.Header{"Cookie": {cookie}}})
	first, second := k.Next(), k.Next() // it cannot be reached
	if first.Server() != a || second.Server() == a || k.SetCookie(second) == "" {
		t.Error("no other server, or no new cookie, where the first could not be reached")
	}
}

// The cookie goes before the hash, the hash before the strategy.
func TestStickyCookieBeforeHash(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, Config{Servers: urls(fiveServers...), Sticky: &StickyConfig{Cookie: &CookieConfig{}, Hash: &HashConfig{Header: "X-Room"}}})
	at := func(cookie string) string {
		return p.Pick(&Facts{Header: http.Header{"X-Room": {"seven"}, "Cookie": {cookie}}}).Next().Server().String()
	}
	home := at("")
	for range 10 {
		if got := at(""); got != home {
			t.Fatalf("the same value goes to %s and to %s", home, got)
		}
	}
	for server, cookie := visit(t, p); server == home; server, cookie = visit(t, p) {
		_ = cookie
	}
	server, cookie := visit(t, p)
	if got := at(cookie); got != server {
		t.Errorf("got %s, want that of the cookie, %s", got, server)
	}
}

func TestStickyTTLAndName(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, Config{Servers: urls("ws://a"), Sticky: &StickyConfig{Cookie: &CookieConfig{Name: "__Host-room", TTL: strictyaml.Duration(90 * time.Minute)}}})
	k := p.Pick(&Facts{})
	if got := k.SetCookie(k.Next()); !strings.HasPrefix(got, "__Host-room=") || !strings.HasSuffix(got, "; Max-Age=5400") {
		t.Errorf("got %q", got)
	}
	h := http.Header{"Cookie": {"a=b; __Host-room=x; c=d", "__Host-room=y"}, "X": {"__Host-room=z"}}
	p.RemoveCookie(h)
	if got := fmt.Sprint(h); got != "map[Cookie:[a=b; c=d] X:[__Host-room=z]]" {
		t.Errorf("got %s", got)
	}
}

// Without a sticky section nothing is read and nothing given.
func TestNotSticky(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, Config{Servers: urls("ws://a")})
	k := p.Pick(&Facts{Header: http.Header{"Cookie": {"__Host-fg=x"}}})
	if k.SetCookie(k.Next()) != "" || p.OwnKey() || p.CookieName() != "" {
		t.Error("sticky")
	}
	h := http.Header{"Cookie": {"__Host-fg=x; =y"}}
	if p.RemoveCookie(h); h.Get("Cookie") != "__Host-fg=x; =y" {
		t.Errorf("the application's cookie is touched: %q", h)
	}
}
