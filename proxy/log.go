package proxy

import (
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// NewLogger returns a logger as cfg wants it.
func NewLogger(cfg LogConfig, w io.Writer) *slog.Logger {
	level := new(slog.LevelVar)
	level.UnmarshalText([]byte(cfg.Level)) // an enum of the configuration
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "text" {
		return slog.New(leveled{slog.NewTextHandler(w, opts), level})
	}
	return slog.New(leveled{slog.NewJSONHandler(w, opts), level})
}

// A leveled handler can be told another level.
type leveled struct {
	slog.Handler
	level *slog.LevelVar
}

// setLevel gives a logger of NewLogger, and those made of it, the level of cfg.
func setLevel(log *slog.Logger, cfg LogConfig) {
	if h, ok := log.Handler().(leveled); ok {
		h.level.UnmarshalText([]byte(cfg.Level)) // an enum of the configuration
	}
}

const maxLogged = 1024

// clean makes a client's text fit for a log: at most maxLogged bytes, and no
// character that steers a terminal or is not seen. Tokens are kept out elsewhere: only hosts and paths are
// ever logged, never a query, a header field or a payload.
func clean(s string) string {
	if len(s) > maxLogged {
		n := maxLogged
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// addressText is an address, with its port where that is known.
func addressText(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

// versionOf is the version of HTTP that a request came by. An extended CONNECT
// over HTTP/3 has its :protocol in the place of that.
func versionOf(r *http.Request) string {
	if r.ProtoMajor == 3 {
		return "HTTP/3.0"
	}
	return r.Proto
}

// requestAttrs are what a log line says of a request.
func requestAttrs(r *http.Request) []any {
	return []any{"client", addressText(hopOf(r).client), "protocol", versionOf(r), "host", clean(r.Host), "path", clean(r.URL.Path)}
}
