package handshake

import (
	"bufio"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// handshakeCase is a raw handshake and the status that it must get, 0 for acceptance.
type handshakeCase struct {
	name, raw string
	status    int
}

func handshakeCases(t *testing.T) []handshakeCase {
	const key = "Sec-WebSocket-Key => Sec-WebSocket-Key: "
	const version = "Sec-WebSocket-Version => Sec-WebSocket-Version: "
	return []handshakeCase{
		{"H-01", hs0, 0},
		{"H-02 12", with(t, version+"12"), 426},
		{"H-02 0", with(t, version+"0"), 426},
		{"H-02 8", with(t, version+"8"), 426},
		{"H-02 256", with(t, version+"256"), 426},
		{"H-02 013", with(t, version+"013"), 426},
		{"H-02 13x", with(t, version+"13x"), 426},
		{"H-02 13;x", with(t, version+"13;x"), 426},
		{"S-01 1337", with(t, version+"1337") + "GET /internal HTTP/1.1\r\nHost: a\r\n\r\n", 426},
		{"H-03 absent", with(t, "Sec-WebSocket-Version => "), 400},
		{"H-03 empty", with(t, version), 400},
		{"H-03 list", with(t, version+"13, 8"), 400},
		{"H-03 list of one", with(t, version+"13,"), 400},
		{"H-03 twice", with(t, "Sec-WebSocket-Version: 13"), 400},
		{"H-03 twice, one other", with(t, "Sec-WebSocket-Version: 8"), 400},
		{"H-04 absent", with(t, "Sec-WebSocket-Key => "), 400},
		{"H-04 empty", with(t, key), 400},
		{"H-04 twice", with(t, "Sec-WebSocket-Key: "+sampleKey), 400},
		{"H-04 list", with(t, key+sampleKey+", "+sampleKey), 400},
		{"H-04 15 bytes", with(t, key+"AAAAAAAAAAAAAAAAAAAA"), 400},
		{"H-04 17 bytes", with(t, key+"AAAAAAAAAAAAAAAAAAAAAAA="), 400},
		{"H-04 not base64", with(t, key+"dGhlIHNhbXBsZSBub25j!Q=="), 400},
		{"H-06 1.0", with(t, "GET => GET /ws HTTP/1.0"), 400},
		{"H-07 keep-alive", with(t, "Connection => Connection: keep-alive, Upgrade"), 0},
		{"H-07 capitals", with(t, "Connection => CONNECTION: UPGRADE", "Upgrade => upgrade: WebSocket"), 0},
		{"H-07 two fields", with(t, "Connection => Connection: keep-alive\nConnection: upgrade"), 0},
		{"Connection absent", with(t, "Connection => "), 400},
		{"Connection without upgrade", with(t, "Connection => Connection: keep-alive"), 400},
		{"Connection with a longer token", with(t, "Connection => Connection: Upgrade-Insecure"), 400},
		{"Connection with no tokens", with(t, "Connection => Connection: upgrade, \"x\""), 400},
		{"Connection with a space", with(t, "Connection => Connection: upgrade x"), 400},
		{"Upgrade absent", with(t, "Upgrade => "), 400},
		{"Upgrade empty", with(t, "Upgrade => Upgrade:"), 400},
		{"Upgrade list", with(t, "Upgrade => Upgrade: websocket, h2c"), 400},
		{"Upgrade websocket twice in a list", with(t, "Upgrade => Upgrade: websocket, websocket"), 400},
		{"Upgrade twice", with(t, "Upgrade: websocket"), 400},
		{"Upgrade h2c", with(t, "Upgrade => Upgrade: h2c"), 400},
		{"Upgrade with version", with(t, "Upgrade => Upgrade: websocket/13"), 400},
		{"H-09 absent", with(t, "Host => "), 400},
		{"H-09 twice", with(t, "Host: app.example.com"), 400},
		{"H-09 userinfo", with(t, "Host => Host: a@b"), 400},
		{"H-13", with(t, "GET => GET /ws#frag HTTP/1.1"), 400},
		{"H-14 quotes", with(t, "Sec-WebSocket-Extensions: "+strings.Repeat(`a;b="\"`, 8000/7)), 400},
		{"H-14 offers", with(t, "Sec-WebSocket-Extensions: "+strings.Repeat("a, ", 1000)), 400},
		{"H-14 offers in 20 fields", with(t, slices.Repeat([]string{"Sec-WebSocket-Extensions: a"}, 20)...), 400},
		{"extensions empty", with(t, "Sec-WebSocket-Extensions:"), 400},
		{"H-15 no token", with(t, "Sec-WebSocket-Protocol: a b("), 400},
		{"H-15 empty", with(t, "Sec-WebSocket-Protocol:"), 400},
		{"H-15 twice the same", with(t, "Sec-WebSocket-Protocol: a, a"), 400},
		{"H-15 in two fields", with(t, "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"), 400},
		{"O-09 two origins", with(t, "Origin: https://app.example.com"), 400},
		{"O-09 two in one, for the policy", with(t, "Origin => Origin: https://a, https://b"), 0},
		{"O-13 no origin, for the policy", with(t, "Origin => "), 0},
		{"J-03 two authorizations", with(t, "Authorization: Bearer a", "Authorization: Bearer b"), 400},
	}
}

func smugglingCases(t *testing.T) []handshakeCase {
	return []handshakeCase{
		{"S-06", with(t, "Content-Length: 5") + "hello", 400},
		{"S-06 zero", with(t, "Content-Length: 0"), 0},
		{"S-06 zeros", with(t, "Content-Length: 00"), 400},
		{"S-07", with(t, "Transfer-Encoding: chunked") + "0\r\n\r\n", 400},
		{"S-08 Expect", with(t, "Expect: 100-continue"), 417},
		{"S-08 other Expect", with(t, "Expect: x"), 417},
		{"S-08 Trailer", with(t, "Trailer: X-Sum"), 400},
		{"S-08 empty Trailer", with(t, "Trailer:"), 400},
		{"S-09 CONNECT", with(t, "GET => CONNECT app.example.com:443 HTTP/1.1"), 405},
		{"POST", with(t, "GET => POST /ws HTTP/1.1"), 405},
		{"HEAD", with(t, "GET => HEAD /ws HTTP/1.1"), 405},
		{"get", with(t, "GET => get /ws HTTP/1.1"), 405},
		{"OPTIONS *", with(t, "GET => OPTIONS * HTTP/1.1"), 405},
		{"S-10", with(t, "Upgrade => Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"), 400},
		{"S-10 with websocket", with(t, "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"), 400},
		{"S-13", with(t, "Content-Length: 5", "Transfer-Encoding: chunked"), 400},
		{"S-14", with(t, "Transfer-Encoding: xchunked"), 501},
		{"S-18", strings.ReplaceAll(hs0, "\r\n", "\n"), 400},
		{"S-22", with(t, "X_Auth_Sub: admin"), 400},
		{"T-10", with(t, "Early-Data: 1"), 425},
		{"T-10 other value", with(t, "Early-Data: 0"), 425},
		{"rule 4: Connection names Authorization", with(t, "Connection => Connection: Upgrade, Authorization"), 400},
		{"rule 4: Connection names Origin", with(t, "Connection => Connection: Upgrade, ORIGIN"), 400},
		{"rule 4: Connection names Cookie", with(t, "Connection => Connection: Upgrade, cookie"), 400},
		{"rule 4: Connection names Host", with(t, "Connection => Connection: Upgrade, host"), 400},
		{"rule 4: Connection names forwarding", with(t, "Connection => Connection: Upgrade, X-Forwarded-For"), 400},
		{"rule 4: Connection names the key", with(t, "Connection => Connection: Upgrade, Sec-WebSocket-Key"), 400},
		{"Connection names something else", with(t, "Connection => Connection: Upgrade, X-Hop"), 0},
	}
}

// TestHandshakes takes each handshake of the project's threat list through ScanHead, net/http and ParseOffer.
func TestHandshakes(t *testing.T) {
	for _, tc := range slices.Concat(handshakeCases(t), smugglingCases(t)) {
		t.Run(tc.name, func(t *testing.T) {
			o, refusal := travel(t, tc.raw)
			if tc.status == 0 {
				if refusal != nil {
					t.Fatalf("refused: %v", refusal)
				}
				checkRebuilt(t, o)
				return
			}
			checkStatus(t, refusal, tc.status)
			var want [][2]string
			switch tc.status {
			case 405:
				want = [][2]string{{"Allow", "GET"}}
			case 426:
				want = [][2]string{{"Sec-WebSocket-Version", "13"}, {"Upgrade", "websocket"}}
			}
			if !reflect.DeepEqual(refusal.Header, want) {
				t.Errorf("header %q, want %q", refusal.Header, want)
			}
		})
	}
}

// TestPathsOfHandshakes is row S-24, and that what passes is one spelling.
func TestPathsOfHandshakes(t *testing.T) {
	for _, path := range s24 {
		_, refusal := travel(t, with(t, "GET => GET "+path+" HTTP/1.1"))
		checkStatus(t, refusal, 400)
	}
	for target, want := range map[string]string{
		"/":               "/",
		"/ws?":            "/ws",
		"/w%73?a=%2f..;#": "",
		"/w%73?a=%2f..;&": "/ws",
	} {
		o, refusal := travel(t, with(t, "GET => GET "+target+" HTTP/1.1"))
		if want == "" {
			checkStatus(t, refusal, 400)
		} else if refusal != nil || o.Path != want {
			t.Errorf("%s: %+v, %v", target, o, refusal)
		}
	}
}

func TestOffer(t *testing.T) {
	o := mustTravel(t, with(t,
		"GET => GET /w%73/a%20b?token=S3CRET&x=%2F HTTP/1.1",
		"Host => Host: APP.Example.com:8443",
		"Connection => Connection: keep-alive, Upgrade, x-hOP, TE",
		"Sec-WebSocket-Protocol: chat, bearer", "Sec-WebSocket-Protocol: v2",
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame",
		"Sec-WebSocket-Extensions: permessage-deflate",
		"Sec-WebSocket-Extra: 1",
		"Cookie: a=b", "Cookie: c=d", "Authorization: Bearer x", "User-Agent: test", "X-Hop: 1", "TE: trailers", "Keep-Alive: timeout=5",
		"Proxy-Authorization: Basic x", "Proxy-Connection: keep-alive", "Proxy: http://evil", "Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4",
		"X-Forwarded-Proto: https", "X-Forwarded-Anything: x", "X-Real-IP: 1.2.3.4", "X-Original-URL: /admin", "X-Rewrite-URL: /admin"))
	want := &Offer{
		Host: "app.example.com", Port: "8443", Authority: "app.example.com:8443", Path: "/ws/a%20b", RawQuery: "token=S3CRET&x=%2F", Proto: "HTTP/1.1",
		Origin: "https://app.example.com", HasOrigin: true, Key: sampleKey,
		Subprotocols: []string{"chat", "bearer", "v2"},
		Extensions:   []Extension{{"permessage-deflate", []Param{{Name: "client_max_window_bits"}}}, {Name: "permessage-deflate"}},
		Header: http.Header{
			"Origin": {"https://app.example.com"}, "Cookie": {"a=b", "c=d"}, "Authorization": {"Bearer x"}, "User-Agent": {"test"},
		},
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got  %+v\nwant %+v", o, want)
	}
	o = mustTravel(t, with(t, "Origin => Origin:"))
	if o.Origin != "" || !o.HasOrigin {
		t.Errorf("empty Origin: %q, %v", o.Origin, o.HasOrigin)
	}
	o = mustTravel(t, with(t, "Origin => "))
	if o.Origin != "" || o.HasOrigin || o.Port != "" || o.Authority != "app.example.com" {
		t.Errorf("got %+v", o)
	}
}

// TestAbsoluteForm is row H-10: the target's host decides, so that the Host field opens no other host's route.
func TestAbsoluteForm(t *testing.T) {
	o := mustTravel(t, with(t, "GET => GET http://Evil:81/ws HTTP/1.1"))
	if o.Host != "evil" || o.Authority != "evil:81" || o.Path != "/ws" {
		t.Errorf("got %+v", o)
	}
	for _, target := range []string{"http://a@evil/ws", "http://evil:0/ws", "http://evil%2eexample/ws", "http:///ws", "http:/ws", "http:ws"} {
		_, refusal := travel(t, with(t, "GET => GET "+target+" HTTP/1.1"))
		checkStatus(t, refusal, 400)
	}
}

// TestDeclinedOffers is row Z-07: such an offer is no error, it is as if it had not been made.
func TestDeclinedOffers(t *testing.T) {
	for _, params := range []string{
		"server_max_window_bits=7", "server_max_window_bits=16", "server_max_window_bits=08", "server_max_window_bits=8.0", "server_max_window_bits=",
		`server_max_window_bits=""`, "server_max_window_bits", "client_max_window_bits=7", "client_max_window_bits=16", "client_max_window_bits=08",
		"client_max_window_bits=8.0", "client_max_window_bits=", "client_max_window_bits; client_max_window_bits", "server_no_context_takeover=1",
		"server_no_context_takeover; server_no_context_takeover", "unknown", "client_max_window_bits=10; client_max_window_bits=10",
	} {
		o := mustTravel(t, with(t, "Sec-WebSocket-Extensions: permessage-deflate; "+params))
		if len(o.Extensions) != 0 {
			t.Errorf("%s: kept as %v", params, o.Extensions)
		}
		if sent := string(o.AppendRequest(nil, sampleKey, Forwarded{}, Pass)); strings.Contains(sent, "Extensions") {
			t.Errorf("%s: sent %q", params, sent)
		}
		o = mustTravel(t, with(t, "Sec-WebSocket-Extensions: permessage-deflate; "+params+", permessage-deflate"))
		if len(o.Extensions) != 1 || len(o.Extensions[0].Params) != 0 {
			t.Errorf("%s, then a good one: %v", params, o.Extensions)
		}
	}
	for _, other := range []string{"x-webkit-deflate-frame", "permessage-bzip2; x=1", "mux; max-channels=4; flow-control", "Permessage-Deflate"} {
		if o := mustTravel(t, with(t, "Sec-WebSocket-Extensions: "+other)); len(o.Extensions) != 0 {
			t.Errorf("%s: kept as %v", other, o.Extensions)
		}
	}
}

// extended makes an extended CONNECT as net/http (HTTP/2) and quic-go (HTTP/3) hand it over, and lets edit change it.
func extended(major int, edit func(*http.Request)) *http.Request {
	r := &http.Request{
		Method: "CONNECT", ProtoMajor: major, Host: "App.example.com", URL: &url.URL{Path: "/ws", RawQuery: "a=b"}, ContentLength: -1,
		Header: http.Header{
			"Sec-Websocket-Version": {"13"}, "Origin": {"https://app.example.com"}, "Sec-Websocket-Protocol": {"chat"}, "Cookie": {"a=b"},
		},
	}
	if major == 2 {
		r.Proto = "HTTP/2.0"
		r.Header[":protocol"] = []string{"websocket"}
	} else {
		r.Proto = "websocket"
	}
	edit(r)
	return r
}

func TestExtendedConnect(t *testing.T) {
	for major, proto := range map[int]string{2: "HTTP/2.0", 3: "HTTP/3.0"} {
		r := extended(major, func(*http.Request) {})
		if !IsUpgrade(r) {
			t.Errorf("%s: not seen as an upgrade", proto)
		}
		o, refusal := ParseOffer(r)
		if refusal != nil {
			t.Fatal(refusal)
		}
		want := &Offer{
			Host: "app.example.com", Authority: "app.example.com", Path: "/ws", RawQuery: "a=b", Proto: proto,
			Origin: "https://app.example.com", HasOrigin: true, Subprotocols: []string{"chat"},
			Header: http.Header{"Origin": {"https://app.example.com"}, "Cookie": {"a=b"}},
		}
		if !reflect.DeepEqual(o, want) {
			t.Errorf("got  %+v\nwant %+v", o, want)
		}
		checkRebuilt(t, o)
	}
}

func TestExtendedConnectRefuses(t *testing.T) {
	set := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	protocol := func(v string) func(*http.Request) {
		return func(r *http.Request) {
			if r.Proto = v; r.ProtoMajor == 2 {
				r.Proto = "HTTP/2.0"
				r.Header[":protocol"] = []string{v}
			}
		}
	}
	for _, tc := range []struct {
		name   string
		edit   func(*http.Request)
		status int
	}{
		{"P-02 connect-udp", protocol("connect-udp"), 501},
		{"P-02 unknown", protocol("x"), 501},
		{"P-02 empty", protocol(""), 501},
		{"P-06 Host differs", set("Host", "evil.example.com"), 400},
		{"P-06 Host has a port", set("Host", "app.example.com:443"), 400},
		{"P-06 Host twice", set("Host", "app.example.com", "evil"), 400},
		{"P-06 Host malformed", set("Host", "a@b"), 400},
		{"P-06 userinfo", func(r *http.Request) { r.Host = "user@app.example.com" }, 400},
		{"P-06 no authority", func(r *http.Request) { r.Host = "" }, 400},
		{"P-06 userinfo in the path", func(r *http.Request) { r.URL.User = url.User("a") }, 400},
		{"P-06 another host in the path", func(r *http.Request) { r.URL.Host = "evil" }, 400},
		{"P-07 Connection", set("Connection", "Upgrade"), 400},
		{"P-07 Upgrade", set("Upgrade", "websocket"), 400},
		{"P-07 Transfer-Encoding", set("Transfer-Encoding", "chunked"), 400},
		{"P-07 Keep-Alive", set("Keep-Alive", "1"), 400},
		{"P-07 TE", set("Te", "gzip"), 400},
		{"P-13 fields", set("X", slices.Repeat([]string{"a"}, 101)...), 431},
		{"P-13 long target", func(r *http.Request) { r.URL.RawQuery = strings.Repeat("a", 8200) }, 414},
		{"no version", func(r *http.Request) { delete(r.Header, "Sec-Websocket-Version") }, 400},
		{"S-06", set("Content-Length", "5"), 400},
		{"S-08 Expect", set("Expect", "100-continue"), 417},
		{"S-08 Trailer", func(r *http.Request) { r.Trailer = http.Header{"X": nil} }, 400},
		{"S-10", set("Http2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"), 400},
		{"S-22", set("X_auth_sub", "a"), 400},
		{"S-22 semicolon", set("X-Auth-Sub;", "a"), 400},
		{"S-16 empty name", set("", "a"), 400},
		{"S-16 other pseudo-field", set(":path", "/"), 400},
		{"S-24", func(r *http.Request) { r.URL.Path = "/ws/../admin" }, 400},
		{"S-24 fragment", func(r *http.Request) { r.URL.Fragment = "x" }, 400},
		{"query with space", func(r *http.Request) { r.URL.RawQuery = "a b" }, 400},
		{"query with line", func(r *http.Request) { r.URL.RawQuery = "a\r\nX: b" }, 400},
		{"query with fragment", func(r *http.Request) { r.URL.RawQuery = "a#b" }, 400},
		{"query in UTF-8", func(r *http.Request) { r.URL.RawQuery = "é" }, 400},
		{"T-10", set("Early-Data", "1"), 425},
		{"two origins", set("Origin", "https://a", "https://a"), 400},
		{"two authorizations", set("Authorization", "a", "b"), 400},
		{"subprotocols", set("Sec-Websocket-Protocol", "a b("), 400},
		{"extensions", set("Sec-Websocket-Extensions", "a b("), 400},
	} {
		for _, major := range []int{2, 3} {
			t.Run(tc.name, func(t *testing.T) {
				r := extended(major, tc.edit)
				if !IsUpgrade(r) {
					t.Error("not seen as an upgrade")
				}
				_, refusal := ParseOffer(r)
				checkStatus(t, refusal, tc.status)
			})
		}
	}
	old := extended(2, set("Sec-Websocket-Version", "8"))
	_, refusal := ParseOffer(old)
	checkStatus(t, refusal, 426)
	if want := [][2]string{{"Sec-WebSocket-Version", "13"}}; !reflect.DeepEqual(refusal.Header, want) {
		t.Errorf("426 with %q, want %q", refusal.Header, want)
	}
}

// TestRecogniseRefuses has the ways to ask that fit no version of HTTP.
func TestRecogniseRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		r      *http.Request
		status int
	}{
		{"S-09 plain CONNECT on HTTP/2", extended(2, func(r *http.Request) { delete(r.Header, ":protocol") }), 405},
		{"S-09 plain CONNECT on HTTP/3", extended(3, func(r *http.Request) { r.Proto = "HTTP/3.0" }), 405},
		{"P-02 :protocol twice", extended(2, func(r *http.Request) { r.Header[":protocol"] = []string{"websocket", "websocket"} }), 400},
		{"P-03 :protocol on GET", extended(2, func(r *http.Request) { r.Method = "GET" }), 400},
		{"P-03 :protocol on HTTP/1.1", extended(2, func(r *http.Request) { r.ProtoMajor = 1 }), 400},
		{"P-03 :protocol on HTTP/3", extended(2, func(r *http.Request) { r.ProtoMajor = 3 }), 400},
		{"GET on HTTP/2", extended(3, func(r *http.Request) { r.Method, r.ProtoMajor, r.Proto = "GET", 2, "HTTP/2.0" }), 400},
		{"GET on HTTP/3", extended(3, func(r *http.Request) { r.Method, r.Proto = "GET", "HTTP/3.0" }), 400},
		{"HTTP/1.0", extended(3, func(r *http.Request) { r.Method, r.ProtoMajor, r.Proto = "GET", 1, "HTTP/1.0" }), 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !IsUpgrade(tc.r) {
				t.Error("not seen as an upgrade")
			}
			_, refusal := ParseOffer(tc.r)
			checkStatus(t, refusal, tc.status)
		})
	}
}

// TestOnlyHTTP11 has a handshake that is good but for its version, as HTTP/1.0 never upgrades.
func TestOnlyHTTP11(t *testing.T) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.Replace(hs0, "HTTP/1.1", "HTTP/1.0", 1))))
	if err != nil {
		t.Fatal(err)
	}
	_, refusal := ParseOffer(r)
	checkStatus(t, refusal, 400)
	r.Proto, r.ProtoMinor = "HTTP/1.1", 1
	if _, refusal := ParseOffer(r); refusal != nil {
		t.Errorf("refused: %v", refusal)
	}
}

func TestIsUpgrade(t *testing.T) {
	for line, want := range map[string]bool{
		"Accept: */*":                  false,
		"Connection: upgrade":          false, // some proxies put it on every request
		"Upgrade-Insecure-Requests: 1": false,
		"Sec-WebSocket-Protocol: a":    false,
		"Upgrade: websocket":           true,
		"Upgrade:":                     true,
		"upgrade: h2c":                 true,
		"HTTP2-Settings: x":            true,
		"Sec-WebSocket-Key: x":         true,
		"Sec-WebSocket-Version: 13":    true,
	} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(plain + line + "\r\n\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		if got := IsUpgrade(r); got != want {
			t.Errorf("%s: %v, want %v", line, got, want)
		}
	}
}

// TestNoSecretsInDetails puts a canary into every value that may be secret, and breaks what stands around it.
func TestNoSecretsInDetails(t *testing.T) {
	for _, raw := range []string{
		with(t, "Sec-WebSocket-Key => Sec-WebSocket-Key: S3CRET"),
		with(t, "Sec-WebSocket-Protocol: S3CRET, S3CRET"),
		with(t, "Sec-WebSocket-Protocol: S3CRET("),
		with(t, "Authorization: S3CRET", "Authorization: S3CRET"),
		with(t, "Cookie S3CRET"),
		with(t, "Cookie: S3CRET\x01"),
		with(t, "GET => GET /ws?token=S3CRET#x HTTP/1.1"),
		with(t, "GET => GET /%zz?token=S3CRET HTTP/1.1"),
		with(t, "GET => GET //?token=S3CRET HTTP/1.1"),
		with(t, "GET => GET S3CRET HTTP/1.1"),
		with(t, "Origin: S3CRET", "Origin: S3CRET"),
		with(t, "Connection => Connection: S3CRET"),
		with(t, "Sec-WebSocket-Extensions: S3CRET;"),
		with(t, "Content-Length: S3CRET"),
		with(t, "Expect: S3CRET"),
	} {
		_, refusal := travel(t, raw)
		if refusal == nil {
			t.Fatalf("%q accepted", raw)
		}
		if all := refusal.Error() + string(refusal.AppendHTTP1(nil)); strings.Contains(all, "S3CRET") {
			t.Errorf("%q", all)
		}
	}
}

func BenchmarkParseOffer(b *testing.B) {
	raw := with(b, "Cookie: session=abc", "User-Agent: test", "Accept-Language: en", "Cache-Control: no-cache", "Pragma: no-cache",
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, refusal := ParseOffer(r); refusal != nil {
			b.Fatal(refusal)
		}
	}
}
