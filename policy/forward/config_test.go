package forward

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/internal/wstest"
)

const goodURL = "https://auth.example.com/check"

func TestConfig(t *testing.T) {
	_, ca := wstest.SelfSigned(t, "auth.example.com")
	for name, test := range map[string]struct {
		config Config
		want   []string // of the mistakes, one each
	}{
		"least":         {Config{URL: goodURL}, nil},
		"all":           {Config{URL: goodURL, Method: "POST", Headers: []string{"x-session"}, ResponseHeaders: []string{"X-Auth-User"}, UserHeader: "x-auth-user", OnFailure: "dangerously_allow", CA: ca, Timeout: strictyaml.Duration(time.Second), Cache: strictyaml.Duration(time.Minute)}, nil},
		"http here":     {Config{URL: "http://127.0.0.1:4181/"}, nil},
		"http near":     {Config{URL: "http://10.0.0.1/"}, nil},
		"http by name":  {Config{URL: "http://auth:4181/"}, nil},
		"http afar":     {Config{URL: "http://192.0.2.1/"}, []string{`url: URL "http://192.0.2.1/" is plain http`}},
		"http metadata": {Config{URL: "http://169.254.169.254/"}, []string{"url: "}},
		"http anywhere": {Config{URL: "http://192.0.2.1/", DangerouslyAllowHTTP: true}, nil},
		"no URL":        {Config{}, []string{"url: "}},
		"password":      {Config{URL: "https://user:S3CRET@auth.example.com/"}, []string{"url: URL has a user name"}},
		"CA of http":    {Config{URL: "http://127.0.0.1/", CA: ca}, []string{"ca: url is plain http"}},
		"no CA":         {Config{URL: goodURL, CA: t.TempDir()}, []string{"ca: file "}},
		"method":        {Config{URL: goodURL, Method: "PUT"}, []string{`method: unknown method "PUT", want GET, HEAD or POST`}},
		"on_failure":    {Config{URL: goodURL, OnFailure: "allow"}, []string{`on_failure: unknown value "allow"`}},
		"too slow":      {Config{URL: goodURL, Timeout: strictyaml.Duration(11 * time.Second)}, []string{"timeout: timeout is 11s, want at most 10s"}},
		"negative":      {Config{URL: goodURL, Timeout: -1, Cache: -1}, []string{"timeout: ", "cache: "}},
		"too long":      {Config{URL: goodURL, Cache: strictyaml.Duration(6 * time.Minute)}, []string{"cache: cache is 6m, want at most 5m0s"}},
		"no such user":  {Config{URL: goodURL, ResponseHeaders: []string{"X-User"}, UserHeader: "X-Name"}, []string{`user_header: "X-Name" is not among response_headers`}},
		"bad names": {
			Config{URL: goodURL, Headers: []string{"X_Session", "", "X Session", "X:", "Ünicode", strings.Repeat("x", 65)}},
			[]string{`headers[0]: "X_Session" is not a name`, "headers[1]", "headers[2]", "headers[3]", "headers[4]", "headers[5]"},
		},
		"names of a hop": {
			Config{URL: goodURL, Headers: []string{"connection", "Upgrade", "Sec-WebSocket-Protocol", "x-forwarded-for", "Proxy-Authorization", "Host", "TE"}},
			[]string{`headers[0]: "connection" is made anew by each hop`, "headers[1]", "headers[2]", "headers[3]", "headers[4]", "headers[5]", "headers[6]"},
		},
		"bad response names": {
			Config{URL: goodURL, ResponseHeaders: []string{"X_User", "Content-Length", "X-User", "x-user", "X-Forwarded-User"}},
			[]string{"response_headers[0]", "response_headers[1]", `response_headers[3]: "x-user" is listed twice`, "response_headers[4]"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			x, got := mistakes(test.config)
			if (x == nil) != (len(test.want) > 0) || len(got) != len(test.want) {
				t.Fatalf("checker %v, mistakes %q, want %q", x, got, test.want)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(got[i], want) || strings.Contains(got[i], "S3CRET") {
					t.Errorf("mistake %q, want %q", got[i], want)
				}
			}
		})
	}
}

// A Config from a file has its defaults from the tags, one made by a program from Compile: the same ones.
func TestDefaults(t *testing.T) {
	var decoded Config
	if _, errs := strictyaml.Decode("test.yaml", []byte("url: "+goodURL+"\n"), nil, &decoded); len(errs) > 0 {
		t.Fatal(errs)
	}
	for name, c := range map[string]Config{"decoded": decoded, "made": {URL: goodURL}} {
		x := compile(t, c)
		if x.method != "GET" || x.timeout != 2*time.Second || x.open || x.cache != nil || len(x.Managed()) > 0 ||
			!slices.Equal(x.passed, []string{"Authorization", "Cookie", "Origin"}) {
			t.Errorf("%s: %+v", name, x)
		}
	}
}

func TestManaged(t *testing.T) {
	x := compile(t, Config{URL: goodURL, ResponseHeaders: []string{"x-auth-user", "X-AUTH-GROUPS"}})
	if got := x.Managed(); !slices.Equal(got, []string{"X-Auth-User", "X-Auth-Groups"}) {
		t.Errorf("got %q", got)
	}
}

func TestFields(t *testing.T) {
	for value, want := range map[string]bool{
		"": true, "a b\tc": true, "\xff": true, "a\r\nX: 1": false, "a\nb": false, "a\rb": false, "a\x00b": false, "a\x7f": false, "\x1b[2J": false,
	} {
		if got := isValue(value); got != want {
			t.Errorf("isValue(%q) is %v", value, got)
		}
	}
	for value, want := range map[string]bool{
		`Bearer`: true, `Bearer realm="app", error="invalid_token"`: true, `Negotiate abc==`: true, `Basic realm="a", Digest nonce="b"`: true,
		"": false, " Bearer": false, "Bear er\r\n": false, "Bearer\tx": false, `Bearer realm="ü"`: false, "Bearer,": false, `realm="x"`: false,
		"Bearer " + strings.Repeat("x", maxChallenge): false, "Bearer \x00": false,
	} {
		if got := isChallenge(value); got != want {
			t.Errorf("isChallenge(%q) is %v", value, got)
		}
	}
}
