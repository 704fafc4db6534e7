package demo

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net"
	"net/http"
	"strconv"
	"time"
)

//go:embed page/index.html page/style.css page/app.js page/connection.js page/codes.js page/icon.svg
var pageFiles embed.FS

// OtherHost is a second name of the demo, which is another site for a browser. Its page tries to open the WebSocket of
// localhost: cross-site hijacking, which the gateway refuses.
const OtherHost = "other.localhost"

// contentSecurityPolicy lets the page load its own files and open its own WebSocket, and nothing else. In CSP 3 'self'
// covers wss: on the page's own host and port.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'"

// asset is one file of the page, ready to be served.
type asset struct {
	file, contentType, etag string
	body                    []byte
}

// pageAssets maps the path pattern of each file to the file.
func pageAssets() map[string]asset {
	assets := map[string]asset{
		"/{$}":           {file: "page/index.html", contentType: "text/html; charset=utf-8"},
		"/style.css":     {file: "page/style.css", contentType: "text/css; charset=utf-8"},
		"/app.js":        {file: "page/app.js", contentType: "text/javascript; charset=utf-8"},
		"/connection.js": {file: "page/connection.js", contentType: "text/javascript; charset=utf-8"},
		"/codes.js":      {file: "page/codes.js", contentType: "text/javascript; charset=utf-8"},
		"/icon.svg":      {file: "page/icon.svg", contentType: "image/svg+xml"},
	}
	for path, a := range assets {
		body, err := pageFiles.ReadFile(a.file)
		if err != nil {
			panic("demo: the page was not embedded: " + err.Error())
		}
		sum := sha256.Sum256(body)
		a.body, a.etag = body, `"`+hex.EncodeToString(sum[:8])+`"`
		assets[path] = a
	}
	return assets
}

func (a asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", "no-cache") // ask each time: the next build's page is another one
	h.Set("ETag", a.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}

func withPageHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy+target(r.Host))
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// target lets the page of the other site try the WebSocket of this one: an attacker's page would not forbid that itself.
func target(authority string) string {
	host, port, err := net.SplitHostPort(authority)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || host != OtherHost {
		return ""
	}
	return " wss://localhost:" + port
}
