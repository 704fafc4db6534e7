package policy

import (
	"context"
	"crypto/subtle"
	"iter"
	"net/http"
	"net/url"
	"strings"
)

// CSRFConfig demands a proof that the page which connects can read a cookie of this site, beside the Origin header: the cookie's value, sent once
// more in a place that another site's page cannot fill.
type CSRFConfig struct {
	Cookie      string `yaml:"cookie" required:"true" doc:"The cookie that holds the token, which the application sets for scripts to read. With the prefix __Host- no other host of the domain can set it. A token has at least 16 bytes."`
	Query       string `yaml:"query" doc:"The query parameter in which the page sends the token. It is removed before the upstream and the log see it."`
	Subprotocol string `yaml:"subprotocol" doc:"The prefix of an element that the page adds to its subprotocols, with the token behind it, such as csrf. (with the dot) for csrf.TOKEN. The element is removed before the upstream sees it, and never agreed to."`
}

// minCSRF is the least length of a token, in bytes.
const minCSRF = 16

// What the client is told.
const (
	reasonCSRFTwice   = "CSRF token ambiguous"
	reasonCSRFMissing = "CSRF token required"
	reasonCSRFWrong   = "CSRF token wrong"
)

// compileCSRF makes the check of one policy.
func compileCSRF(_ place, c *Config, report Report) []rule {
	if c.CSRF == nil {
		return nil
	}
	cookie, query, prefix := c.CSRF.Cookie, c.CSRF.Query, c.CSRF.Subprotocol
	if !isToken(cookie) {
		report("csrf.cookie", "%q is not the name of a cookie, want one such as __Host-csrf", cookie)
	}
	switch {
	case query == "" && prefix == "":
		report("csrf", "csrf does not say where the page sends the token, want query or subprotocol")
	case query != "" && prefix != "":
		report("csrf", "csrf has query and subprotocol, want one of them")
	case prefix != "" && !isToken(prefix):
		report("csrf.subprotocol", "%q cannot begin a subprotocol, want letters, digits and some of !#$%%&'*+-.^_`|~", prefix)
	}
	sent := func(a *Admission) []string { return takeParameter(a, query) }
	if prefix != "" {
		sent = func(a *Admission) []string { return takeElement(a, prefix) }
	}
	return []rule{{judge: func(_ context.Context, a *Admission) *Refusal {
		return judgeCSRF(cookies(a.Header["Cookie"], cookie), sent(a))
	}}}
}

// judgeCSRF compares the values of the cookie with the tokens that the page has sent, of which there must be one each: of two, the application
// and the gateway might mean different ones.
func judgeCSRF(cookies, sent []string) *Refusal {
	switch {
	case len(cookies) > 1 || len(sent) > 1:
		return &Refusal{Status: http.StatusBadRequest, Reason: reasonCSRFTwice}
	case len(cookies) == 0 || len(sent) == 0:
		return forbidden(reasonCSRFMissing)
	case len(cookies[0]) < minCSRF || subtle.ConstantTimeCompare([]byte(cookies[0]), []byte(sent[0])) != 1:
		return forbidden(reasonCSRFWrong)
	}
	return nil
}

// takeParameter returns the values of a query parameter and keeps it from the upstream.
func takeParameter(a *Admission, name string) (values []string) {
	for n, value := range parameters(a.RawQuery) {
		if n == name {
			values = append(values, value)
		}
	}
	a.removeQuery(name)
	return values
}

// takeElement returns what follows the prefix in the subprotocols that begin with it, and keeps these from the upstream.
func takeElement(a *Admission, prefix string) (values []string) {
	for _, element := range a.Subprotocols {
		if value, ok := strings.CutPrefix(element, prefix); ok {
			values = append(values, value)
			a.removeSubprotocol(element)
		}
	}
	return values
}

// cookies returns the values of the cookies of one name (RFC 6265, section 4.2.1), without the quotes that may stand around a value.
func cookies(fields []string, name string) (values []string) {
	for _, field := range fields {
		for pair := range strings.SplitSeq(field, ";") {
			n, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if strings.TrimRight(n, " \t") != name {
				continue
			}
			if inner, ok := strings.CutPrefix(value, `"`); ok && strings.HasSuffix(inner, `"`) {
				value = inner[:len(inner)-1]
			}
			values = append(values, value)
		}
	}
	return values
}

// parameters returns names and values of a raw query, decoded. What cannot be decoded stays as it is.
func parameters(raw string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for part := range strings.SplitSeq(raw, "&") {
			name, value, _ := strings.Cut(part, "=")
			if part != "" && !yield(unescaped(name), unescaped(value)) {
				return
			}
		}
	}
}

func unescaped(text string) string {
	if decoded, err := url.QueryUnescape(text); err == nil {
		return decoded
	}
	return text
}
