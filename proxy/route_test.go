package proxy

import "testing"

// newRouter makes a router of routes that are named by their host and path.
func newRouter(t *testing.T, patterns ...[2]string) *router {
	t.Helper()
	r := &router{}
	for _, p := range patterns {
		if taken := r.add(p[0], p[1], &route{name: p[0] + p[1]}); taken != "" {
			t.Fatalf("%s%s belongs to %s already", p[0], p[1], taken)
		}
	}
	return r
}

func TestRouterFinds(t *testing.T) {
	t.Parallel()
	r := newRouter(t,
		[2]string{"a.example.com", "/*"},
		[2]string{"a.example.com", "/ws"},
		[2]string{"a.example.com", "/ws/*"},
		[2]string{"a.example.com", "/ws/deep/*"},
		[2]string{"a.example.com", "/ws/deep/exact"},
		[2]string{"a.example.com", "/slash/"},
		[2]string{"b.example.com", "/only"},
		[2]string{"*.example.com", "/*"},
		[2]string{"*.b.example.com", "/wild/*"},
		[2]string{"[::1]", "/*"},
	)
	for _, row := range []struct{ host, path, want string }{
		{"a.example.com", "/", "a.example.com/*"},
		{"a.example.com", "/x", "a.example.com/*"},
		{"a.example.com", "/ws", "a.example.com/ws"}, // an exact path before every prefix
		{"a.example.com", "/ws/", "a.example.com/ws/*"},
		{"a.example.com", "/ws/x", "a.example.com/ws/*"},
		{"a.example.com", "/wsx", "a.example.com/*"}, // a prefix ends at a slash
		{"a.example.com", "/WS", "a.example.com/*"},
		{"a.example.com", "/ws/deep", "a.example.com/ws/deep/*"}, // the longest prefix
		{"a.example.com", "/ws/deep/x/y", "a.example.com/ws/deep/*"},
		{"a.example.com", "/ws/deep/exact", "a.example.com/ws/deep/exact"},
		{"a.example.com", "/ws/deep/exact/", "a.example.com/ws/deep/*"},
		{"a.example.com", "/slash/", "a.example.com/slash/"},
		{"a.example.com", "/slash", "a.example.com/*"},
		{"b.example.com", "/only", "b.example.com/only"},
		{"b.example.com", "/other", ""}, // no fall-through to the wildcard
		{"c.example.com", "/x", "*.example.com/*"},
		{"x.b.example.com", "/wild", "*.b.example.com/wild/*"}, // a wildcard is one label
		{"x.b.example.com", "/x", ""},
		{"y.x.b.example.com", "/wild", ""},
		{"x.c.example.com", "/", ""},
		{"example.com", "/", ""},
		{"com", "/", ""},
		{"", "/", ""},
		{".example.com", "/", "*.example.com/*"}, // no canonical host; it could do no harm
		{"[::1]", "/x", "[::1]/*"},
		{"::1", "/x", ""},
	} {
		got := ""
		if rt := r.find(row.host, row.path); rt != nil {
			got = rt.name
		}
		if got != row.want {
			t.Errorf("%s%s: found %q, want %q", row.host, row.path, got, row.want)
		}
	}
	if rt := (&router{}).find("a.example.com", "/"); rt != nil {
		t.Errorf("an empty router found %q", rt.name)
	}
}

// The order of the file does not matter.
func TestRouterFindsTheLongestPrefixInAnyOrder(t *testing.T) {
	t.Parallel()
	prefixes := []string{"/*", "/a/*", "/a/b/*", "/a/b/c/*"}
	for shift := range prefixes {
		r := &router{}
		for i := range prefixes {
			p := prefixes[(i+shift)%len(prefixes)]
			r.add("h", p, &route{name: p})
		}
		for path, want := range map[string]string{"/": "/*", "/ab": "/*", "/a": "/a/*", "/a/bc": "/a/*", "/a/b/": "/a/b/*", "/a/b/c": "/a/b/c/*", "/a/b/c/d/e": "/a/b/c/*"} {
			if got := r.find("h", path).name; got != want {
				t.Errorf("%s: found %s, want %s", path, got, want)
			}
		}
	}
}

func TestRouterKnowsWhatIsTaken(t *testing.T) {
	t.Parallel()
	r := newRouter(t, [2]string{"h", "/a"}, [2]string{"h", "/a/*"}, [2]string{"*.h", "/a"}, [2]string{"h", "/*"})
	for _, row := range []struct{ host, path, taken string }{
		{"h", "/a", "h/a"},
		{"h", "/a/*", "h/a/*"},
		{"*.h", "/a", "*.h/a"},
		{"h", "/*", "h/*"},
		{"*.h", "/a/*", ""},
		{"h", "/", ""},
		{"g", "/a", ""},
	} {
		if got := r.add(row.host, row.path, &route{name: "new"}); got != row.taken {
			t.Errorf("%s%s belongs to %q, want %q", row.host, row.path, got, row.taken)
		}
	}
}
