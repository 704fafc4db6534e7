package policy

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// RequestConfig says what may be asked for. It narrows what the route takes, and holds for plain requests as well as for handshakes.
type RequestConfig struct {
	Methods []string `yaml:"methods" min:"1" doc:"The methods that may be used, in capital letters. A WebSocket handshake is GET on every version of HTTP, and HEAD is not part of GET. Others are refused with 405."`
	Paths   []string `yaml:"paths" min:"1" doc:"The paths that may be asked for: exact ones, or prefixes such as /ws/* (which is /ws and all below it). Others are refused with 404."`
}

// What the client is told.
const (
	reasonMethodRefused = "method not allowed"
	reasonPathRefused   = "not found"
)

// compileRequest makes the check of one policy.
func compileRequest(_ place, c *Config, report Report) []rule {
	if c.Request == nil {
		return nil
	}
	methods, paths := c.Request.Methods, make([]pathPattern, len(c.Request.Paths))
	if len(methods) == 0 && len(paths) == 0 {
		report("request", "request is empty, want methods, paths or both")
	}
	for i, method := range methods {
		checkMethod(method, slices.Index(methods, method) < i, reporting(report, indexed("request.methods", i)))
	}
	for i, text := range c.Request.Paths {
		var ok bool
		if paths[i], ok = parsePathPattern(text); !ok {
			report(indexed("request.paths", i), "%q is not a path, want one such as /ws, or /ws/* for /ws and all below it, in ASCII", text)
		} else if slices.Index(paths, paths[i]) < i {
			report(indexed("request.paths", i), "path %q is listed twice", text)
		}
	}
	allowed := strings.Join(methods, ", ")
	return []rule{{judge: func(_ context.Context, a *Admission) *Refusal {
		if len(paths) > 0 && !slices.ContainsFunc(paths, func(p pathPattern) bool { return p.matches(a.Path) }) {
			return &Refusal{Status: http.StatusNotFound, Reason: reasonPathRefused}
		}
		if len(methods) > 0 && !slices.Contains(methods, a.Method) {
			return &Refusal{Status: http.StatusMethodNotAllowed, Reason: reasonMethodRefused, Allowed: allowed}
		}
		return nil
	}}}
}

func checkMethod(method string, twice bool, report func(format string, args ...any)) {
	switch {
	case !isASCIIOf(method, func(c byte) bool { return 'A' <= c && c <= 'Z' || c == '-' }) || method == "":
		report("%q is not a method, want one in capital letters such as GET", method)
	case method == http.MethodConnect || method == http.MethodTrace:
		report("%s is refused whatever policies say, want another method", method)
	case twice:
		report("method %s is listed twice", method)
	}
}

// reporting is a Report for one path.
func reporting(report Report, path string) func(format string, args ...any) {
	return func(format string, args ...any) { report(path, format, args...) }
}

// pathPattern is an exact path, or one and all below it.
type pathPattern struct {
	path  string // of the latter without the final slash
	below bool
}

// parsePathPattern reads a pattern. What is no canonical path would match none, and so is no pattern.
func parsePathPattern(text string) (p pathPattern, ok bool) {
	path, below := strings.CutSuffix(text, "/*")
	if !isASCIIOf(path, isPathByte) || text == "" || text[0] != '/' || below && strings.HasSuffix(path, "/") {
		return pathPattern{}, false
	}
	for rest, more := strings.TrimPrefix(path, "/"), path != ""; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if segment == "." || segment == ".." || segment == "" && more {
			return pathPattern{}, false
		}
	}
	return pathPattern{path, below}, true
}

// isPathByte says what may stand in a path as it is: pchar without ";" and percent-encoding (RFC 3986, section 3.3), and the slash.
func isPathByte(c byte) bool { return isIdentifier(c) || strings.IndexByte("._~!$&'()+,=:@/", c) >= 0 }

// matches says whether a canonical path fits.
func (p pathPattern) matches(path string) bool {
	rest, ok := strings.CutPrefix(path, p.path)
	return ok && (rest == "" || p.below && rest[0] == '/')
}
