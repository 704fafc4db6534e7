package handshake

import (
	"bufio"
	"bytes"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// FuzzScanHead states: a prefix wants more or has the verdict of the whole; what ScanHead accepts net/http reads as the same message, ending at
// the same byte; and an offer made of it survives our own request.
func FuzzScanHead(f *testing.F) {
	for _, tc := range headRefusals {
		f.Add([]byte(tc.raw))
	}
	f.Add([]byte(hs0))
	f.Add([]byte(with(f, "GET => GET http://evil:80/w%73?a HTTP/1.1", "Sec-WebSocket-Protocol: a, b", "Content-Length: 0")))
	f.Add([]byte(with(f, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=\"10\", x", "Cookie: a", "Connection: X-Hop")))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\nUpgrade: h2c\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		checkPrefixes(t, data)
		h, n, refusal := ScanHead(data)
		if refusal != nil || n == 0 {
			return
		}
		const behind = "behind"
		br := bufio.NewReaderSize(strings.NewReader(string(data[:n])+behind), MaxHead+len(behind))
		r, err := http.ReadRequest(br)
		if err != nil {
			t.Fatalf("http.ReadRequest refuses what ScanHead accepted: %v", err)
		}
		if br.Buffered() != len(behind) {
			t.Errorf("http.ReadRequest left %d bytes, want %d", br.Buffered(), len(behind))
		}
		checkSameRequest(t, h, r, data[:n])
		if IsUpgrade(r) {
			if o, refusal := ParseOffer(r); refusal == nil {
				checkRebuilt(t, o)
			}
		} else if h.Upgrade {
			t.Error("Upgrade seen by ScanHead only")
		}
	})
}

func checkSameRequest(t *testing.T, h Head, r *http.Request, head []byte) {
	t.Helper()
	if string(h.Method) != r.Method || string(h.Target) != r.RequestURI || string(h.Host) != r.Host || r.Proto != "HTTP/1.1" {
		t.Errorf("got %q %q %q, net/http %q %q %q", h.Method, h.Target, h.Host, r.Method, r.RequestURI, r.Host)
	}
	chunked := slices.Equal(r.TransferEncoding, []string{"chunked"})
	if h.Chunked != chunked || !chunked && h.BodyLength != r.ContentLength || chunked && (h.BodyLength != 0 || r.ContentLength != -1) {
		t.Errorf("body %d, %v; net/http %d, %v", h.BodyLength, h.Chunked, r.ContentLength, r.TransferEncoding)
	}
	got := naiveFields(head)
	delete(got, "Host")
	checkSameFields(t, got, r.Header)
	if _, has := r.Header["Upgrade"]; has != h.Upgrade {
		t.Errorf("upgrade %v, net/http %v", h.Upgrade, has)
	}
}

// naiveFields reads the fields of a head that has been accepted, in the simplest way.
func naiveFields(head []byte) http.Header {
	out := http.Header{}
	for _, line := range strings.Split(strings.TrimSuffix(string(head), "\r\n\r\n"), "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ":")
		out.Add(name, strings.Trim(value, " \t"))
	}
	return out
}

// checkSameFields compares with what net/http keeps: it moves some fields elsewhere, and derives Cache-Control from Pragma.
func checkSameFields(t *testing.T, got, std http.Header) {
	t.Helper()
	got, std = maps.Clone(got), maps.Clone(std)
	if slices.Equal(std["Cache-Control"], []string{"no-cache"}) && got["Cache-Control"] == nil {
		delete(std, "Cache-Control")
	}
	for _, moved := range []string{"Transfer-Encoding", "Trailer", "Connection"} {
		if _, has := std[moved]; !has {
			delete(got, moved)
		}
	}
	if !maps.EqualFunc(got, std, slices.Equal) {
		t.Errorf("fields %q, net/http %q", got, std)
	}
}

// FuzzScanReply states the same for answers, and that an answer which passes verification gives a 101 that passes it too.
func FuzzScanReply(f *testing.F) {
	for _, raw := range []string{
		accepted + "\r\n",
		accepted + "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\nSet-Cookie: a\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 12\r\n\r\n",
		"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\nTrailer: a, b\r\nConnection: close\r\n\r\n",
		"HTTP/1.0 404\r\nPragma: no-cache\r\n\r\n",
		"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 204 \r\nConnection: a, b\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n",
	} {
		f.Add([]byte(raw))
	}
	o := mustTravel(f, with(f, "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
	f.Fuzz(func(t *testing.T, data []byte) {
		checkReplyPrefixes(t, data)
		r, n, refusal := ScanReply(data)
		if refusal != nil || n == 0 {
			return
		}
		resp := readResponse(t, data[:n])
		length := r.BodyLength
		chunked := slices.Equal(resp.TransferEncoding, []string{"chunked"})
		if r.Status == http.StatusNotModified {
			chunked = false
		}
		if resp.StatusCode != r.Status || resp.ContentLength != length || chunked != r.Chunked {
			t.Errorf("got %+v, net/http %+v", r, resp)
		}
		if got := naiveFields(data[:n]); !maps.EqualFunc(got, r.Header, slices.Equal) {
			t.Errorf("fields %q, naively %q", r.Header, got)
		}
		checkSameFields(t, r.Header, resp.Header)
		if a, refusal := o.Verify(sampleKey, r); refusal == nil {
			checkAccept(t, o, a)
		}
	})
}

// FuzzExtensions states: what is parsed, rendered and parsed again is the same; a deflate offer that is kept is one that wsflate reads alike.
func FuzzExtensions(f *testing.F) {
	for _, s := range []string{
		"permessage-deflate", "permessage-deflate; client_max_window_bits; server_max_window_bits=10", `a;b="\c",,d;e=`, "a;b;b", `a;b="\"`, " , a ;b = c",
		`permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits="15"`,
	} {
		f.Add(s, "a")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		parsed, ok := ParseExtensions([]string{first, second})
		if !ok {
			if parsed != nil {
				t.Errorf("refused with %v", parsed)
			}
			return
		}
		if len(parsed) == 0 || len(parsed) > maxExtensions {
			t.Fatalf("%d extensions", len(parsed))
		}
		rendered := string(AppendExtensions(nil, parsed))
		again, ok := ParseExtensions([]string{rendered})
		if !ok || !reflect.DeepEqual(again, parsed) {
			t.Errorf("%q, %q: parsed %+v, rendered %q, parsed %+v", first, second, parsed, rendered, again)
		}
		for _, c := range []byte(rendered) {
			if classes[c]&classField == 0 {
				t.Errorf("byte %#x in %q", c, rendered)
			}
		}
		checkOfferable(t, parsed)
	})
}

func checkOfferable(t *testing.T, parsed []Extension) {
	t.Helper()
	for _, e := range offerable(slices.Clone(parsed)) {
		p, ok := parseDeflate(e, false)
		if !ok || e.Name != "permessage-deflate" {
			t.Errorf("kept %+v", e)
		}
		answer := p
		if answer.ClientMaxWindowBits == anyWindow {
			answer.ClientMaxWindowBits = 15
		}
		if !accepts(p, answer) {
			t.Errorf("%+v does not accept %+v", p, answer)
		}
	}
}

// FuzzCanonicalHost states: the canonical form is its own canonical form, the two implementations agree, and it is a host that a URL can carry.
func FuzzCanonicalHost(f *testing.F) {
	for _, s := range []string{"Example.COM:8443", "[::1]:80", "[2001:DB8::]", "127.0.0.1", "127.1", "a_b", "a..b", "a@b", "[::ffff:1.2.3.4]", "0x7f.1", "a.0X1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		host, port, ok := CanonicalAuthority(in)
		if valid := validAuthority([]byte(in)); valid != ok {
			t.Fatalf("as bytes %v, as string %v", valid, ok)
		}
		if !ok {
			return
		}
		if again, ok := CanonicalHost(host); !ok || again != host {
			t.Errorf("%q: %q, then %q, %v", in, host, again, ok)
		}
		authority := host
		if port != "" {
			authority += ":" + port
		}
		if again, p, ok := CanonicalAuthority(authority); !ok || again != host || p != port {
			t.Errorf("%q: %q, then %q %q, %v", in, authority, again, p, ok)
		}
		u, err := url.ParseRequestURI("http://" + authority + "/")
		if err != nil || u.Host != authority || u.Port() != port || u.Hostname() != strings.Trim(host, "[]") {
			t.Errorf("%q: net/url reads %+v, %v", authority, u, err)
		}
	})
}

// FuzzCanonicalPath states: the canonical path is its own canonical path, decodes to what the request said, and has none of what it must not have.
func FuzzCanonicalPath(f *testing.F) {
	for _, s := range s24 {
		f.Add(s)
	}
	for _, s := range []string{"/", "/w%73/a%20b", "/a%3fb", "/~x!$&'()*+,=:@", "/%c3%a9", "/100%25", "http://a/b?c", "/[|]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		u, err := url.ParseRequestURI(in)
		if err != nil {
			return
		}
		path, refusal := CanonicalPath(u)
		if refusal != nil {
			if path != "" {
				t.Errorf("%q: refused with %q", in, path)
			}
			return
		}
		v, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatalf("%q: %q is no path: %v", in, path, err)
		}
		if again, refusal := CanonicalPath(v); refusal != nil || again != path {
			t.Errorf("%q: %q, then %q, %v", in, path, again, refusal)
		}
		if v.Path != u.Path && u.Path != "" || v.RawQuery != "" {
			t.Errorf("%q means %q, %q means %q", in, u.Path, path, v.Path)
		}
		bad := func(s string) bool {
			return strings.Contains(s, "//") || strings.ContainsAny(s, "\\;#\x00\r\n") || slices.Contains(strings.Split(s, "/"), "..") ||
				slices.Contains(strings.Split(s, "/"), ".")
		}
		if twice, err := url.PathUnescape(v.Path); bad(path) || bad(v.Path) || err == nil && bad(twice) {
			t.Errorf("%q passes as %q", in, path)
		}
		if !bytes.HasPrefix([]byte(path), []byte("/")) || !consists(strings.ReplaceAll(path, "%", ""), classPath) {
			t.Errorf("%q: bytes of %q", in, path)
		}
	})
}
