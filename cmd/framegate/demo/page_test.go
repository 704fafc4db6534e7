package demo

import (
	"io"
	"math"
	"net/http"
	"os/exec"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestPageIsServed(t *testing.T) {
	s := quietSite(t)
	tests := []struct{ path, contentType, holds string }{
		{"/", "text/html; charset=utf-8", "<h1>Framegate demo</h1>"},
		{"/style.css", "text/css; charset=utf-8", "prefers-reduced-motion"},
		{"/app.js", "text/javascript; charset=utf-8", "import"},
		{"/connection.js", "text/javascript; charset=utf-8", "backoff"},
		{"/codes.js", "text/javascript; charset=utf-8", "1011"},
		{"/icon.svg", "image/svg+xml", "<svg"},
	}
	for _, test := range tests {
		response := s.get(test.path, nil)
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != http.StatusOK || !strings.Contains(string(body), test.holds) {
			t.Errorf("GET %s: %s, %d bytes", test.path, response.Status, len(body))
		}
		if got := response.Header.Get("Content-Type"); got != test.contentType {
			t.Errorf("GET %s: Content-Type %q, want %q", test.path, got, test.contentType)
		}
		again := s.get(test.path, http.Header{"If-None-Match": {response.Header.Get("ETag")}})
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("GET %s with its ETag: %s, want 304", test.path, again.Status)
		}
	}
	for _, path := range []string{"/nothing", "/page/index.html", "/app.js/", "/index.html"} {
		if response := s.get(path, nil); response.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %s, want 404", path, response.Status)
		}
	}
	response, err := http.Post(s.url+"/", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /: %s, want 405", response.Status)
	}
}

func TestSecurityHeaders(t *testing.T) {
	s := quietSite(t)
	for _, path := range []string{"/", "/app.js", "/nothing"} {
		h := s.get(path, nil).Header
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %q", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s: policy %q is loose", path, csp)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
}

// The page of the other site alone may try the socket of this one, and nothing that a client says as its host gets into the header.
func TestPolicyOfTheOtherSite(t *testing.T) {
	for authority, want := range map[string]string{
		"other.localhost:8443": " wss://localhost:8443", "localhost:8443": "", "other.localhost": "", "other.localhost:": "",
		"other.localhost:8443; script-src *": "", "other.localhost:99999": "", "x.other.localhost:8443": "", "": "",
	} {
		if got := target(authority); got != want {
			t.Errorf("%q: %q, want %q", authority, got, want)
		}
	}
}

func TestForeignOriginIsRefused(t *testing.T) {
	s := quietSite(t)
	response := s.get("/ws", http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Origin": {"https://evil.example"},
		"Sec-WebSocket-Version": {"13"}, "Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	})
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("%s, want 403", response.Status)
	}
}

// The page keeps to its own policy: no markup from data, nothing inline, nothing from elsewhere; and each file that it
// names exists.
func TestPageSources(t *testing.T) {
	served := pageAssets()
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|` +
		`\son[a-z]+=["']|\sstyle=["']|<style|@import|url\(|javascript:`)
	elsewhere := regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]+[^\s"'<>]*`)
	reference := regexp.MustCompile(`(?:href|src)="([^"#][^"]*)"|from "([^"]+)"`)
	for _, a := range served {
		text := string(a.body)
		if found := forbidden.FindString(text); found != "" {
			t.Errorf("%s holds %q", a.file, found)
		}
		for _, found := range elsewhere.FindAllString(text, -1) {
			if found != "http://www.w3.org/2000/svg" {
				t.Errorf("%s names %q", a.file, found)
			}
		}
		for _, found := range reference.FindAllStringSubmatch(text, -1) {
			if _, ok := served["/"+path.Clean(found[1]+found[2])]; !ok {
				t.Errorf("%s wants %q, which is not served", a.file, found[0])
			}
		}
	}
}

// Every form control has a name for those who do not see it, and every id that the script looks up exists.
func TestPageIsLabelled(t *testing.T) {
	html := string(pageAssets()["/{$}"].body)
	ids := make(map[string]bool)
	for _, found := range regexp.MustCompile(`\sid="([^"]+)"`).FindAllStringSubmatch(html, -1) {
		if ids[found[1]] {
			t.Errorf("two elements have the id %q", found[1])
		}
		ids[found[1]] = true
	}
	for _, found := range regexp.MustCompile(`<input id="([^"]+)"`).FindAllStringSubmatch(html, -1) {
		if !strings.Contains(html, `<label for="`+found[1]+`"`) {
			t.Errorf("the input %q has no label", found[1])
		}
	}
	for _, found := range regexp.MustCompile(`aria-(?:labelledby|describedby)="([^"]+)"`).FindAllStringSubmatch(html, -1) {
		for id := range strings.FieldsSeq(found[1]) {
			if !ids[id] {
				t.Errorf("%s names an element that does not exist", found[0])
			}
		}
	}
	script := string(pageAssets()["/app.js"].body)
	list := regexp.MustCompile(`(?s)\[("address".*?)\]`).FindStringSubmatch(script)
	if list == nil {
		t.Fatal("the script's list of ids is not where it was")
	}
	for _, found := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(list[1], -1) {
		if !ids[found[1]] {
			t.Errorf("the script looks up %q, which does not exist", found[1])
		}
	}
	for _, want := range []string{`role="log"`, `aria-live="polite"`, `role="status"`, `lang="en"`, `name="viewport"`} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

// colours reads the custom properties of the style sheet for both schemes; the dark ones fall back to the light ones.
func colours(t *testing.T) map[string]map[string]string {
	t.Helper()
	css := string(pageAssets()["/style.css"].body)
	light, rest, ok := strings.Cut(css, "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("the style sheet has no dark scheme")
	}
	dark, _, _ := strings.Cut(rest, "*, *::before")
	schemes := map[string]map[string]string{"light": {}, "dark": {}}
	token := regexp.MustCompile(`--([a-z0-9-]+): (#[0-9a-f]{6});`)
	for _, found := range token.FindAllStringSubmatch(light, -1) {
		schemes["light"][found[1]], schemes["dark"][found[1]] = found[2], found[2]
	}
	for _, found := range token.FindAllStringSubmatch(dark, -1) {
		schemes["dark"][found[1]] = found[2]
	}
	return schemes
}

// luminance is the relative luminance of WCAG 2.2.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(hex, "#"), 16, 32)
	if err != nil || len(hex) != 7 {
		t.Fatalf("colour %q", hex)
	}
	channel := func(shift uint) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}

func TestContrast(t *testing.T) {
	const text, control = 4.5, 3.0 // WCAG 2.2 success criteria 1.4.3 and 1.4.11
	tests := []struct {
		front string
		backs string
		least float64
	}{
		{"ink", "bg surface raised own-bubble", text},
		{"muted", "bg surface raised own-bubble", text},
		{"on-accent", "accent accent-hover", text},
		{"accent", "bg surface", text},
		{"accent", "own-soft", control},
		{"calm", "calm-soft surface", text},
		{"own", "own-soft surface", text},
		{"warn", "warn-soft surface", text},
		{"bad", "bad-soft surface", text},
		{"on-shade", "shade-0 shade-1 shade-2 shade-3 shade-4 shade-5", text},
		{"control", "bg surface raised", control},
		{"focus", "bg surface raised", control},
		{"warn", "bg", control},
		{"bad", "bg", control},
	}
	for scheme, colour := range colours(t) {
		for _, test := range tests {
			for back := range strings.FieldsSeq(test.backs) {
				a, b := luminance(t, colour[test.front]), luminance(t, colour[back])
				if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < test.least {
					t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", scheme, test.front, back, ratio, test.least)
				}
			}
		}
	}
}

// The scripts that need no page are tested by Node's own runner.
func TestScripts(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "node", "--test", "page_test.mjs").CombinedOutput()
	if err != nil {
		t.Fatalf("node --test page_test.mjs: %v\n%s", err, out)
	}
}
