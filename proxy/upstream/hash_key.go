package upstream

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"strings"
)

// HashConfig says which value of a request is hashed: address, or a mapping with one key.
type HashConfig struct {
	Address bool   `yaml:"-"` // the word address
	Header  string `yaml:"header" doc:"The header field with this name."`
	Query   string `yaml:"query" doc:"The query parameter with this name."`
	Cookie  string `yaml:"cookie" doc:"The application's cookie with this name."`
	Claim   string `yaml:"claim" doc:"The claim with this name of the token that has admitted the client."`
}

// UnmarshalText reads the form that is a word.
func (c *HashConfig) UnmarshalText(text []byte) error {
	if c.Address = string(text) == "address"; !c.Address {
		return fmt.Errorf("want %s, not %q", c.Wanted(), text)
	}
	return nil
}

// Wanted names the forms in error messages.
func (HashConfig) Wanted() string {
	return "address, {header: NAME}, {query: NAME}, {cookie: NAME} or {claim: NAME}"
}

// JSONSchema describes the form that is a word.
func (HashConfig) JSONSchema() map[string]any { return map[string]any{"const": "address"} }

// hashed finds the value of a request that is hashed. ok is false where the request has none, or more than one.
type hashed func(f *Facts) (value string, ok bool)

// hashKeys lists what can be hashed. A new one is one row, and one field of HashConfig.
var hashKeys = []struct {
	name func(*HashConfig) string
	of   func(name string) hashed
}{
	{func(c *HashConfig) string { return c.Header }, headerValue},
	{func(c *HashConfig) string { return c.Query }, queryValue},
	{func(c *HashConfig) string { return c.Cookie }, cookieValue},
	{func(c *HashConfig) string { return c.Claim }, claimValue},
}

// compile returns what finds the value; nil where it has reported a mistake.
func (c *HashConfig) compile(path string, report Report) (find hashed) {
	if c.Address {
		return addressValue
	}
	n := 0
	for _, k := range hashKeys {
		if name := k.name(c); name != "" {
			find = k.of(name)
			n++
		}
	}
	switch {
	case n != 1:
		report(path, "%d values to hash, want one: "+c.Wanted(), n)
		return nil
	case c.Header != "" && !isToken(c.Header):
		report(path+".header", "%q is not the name of a header field", c.Header)
		return nil
	case c.Cookie != "" && !isToken(c.Cookie):
		report(path+".cookie", "%q is not the name of a cookie", c.Cookie)
		return nil
	}
	return find
}

// addressValue takes an IPv6 client for its /64, of which it may have any address.
func addressValue(f *Facts) (string, bool) {
	a := f.Address.Unmap()
	if a.Is6() {
		a = netip.PrefixFrom(a, 64).Masked().Addr()
	}
	return a.String(), a.IsValid()
}

func headerValue(name string) hashed {
	name = textproto.CanonicalMIMEHeaderKey(name)
	return func(f *Facts) (string, bool) { return only(f.Header[name]) }
}

func queryValue(name string) hashed {
	return func(f *Facts) (string, bool) {
		values, _ := url.ParseQuery(f.Query) // what can be read of it
		return only(values[name])
	}
}

func cookieValue(name string) hashed {
	return func(f *Facts) (string, bool) { return only(cookies(f.Header, name)) }
}

func claimValue(name string) hashed {
	return func(f *Facts) (string, bool) {
		if f.Claim == nil {
			return "", false
		}
		return f.Claim(name)
	}
}

// cookies returns the values of the cookies with a name, as they stand there.
func cookies(h http.Header, name string) (values []string) {
	for _, field := range h["Cookie"] {
		for pair := range strings.SplitSeq(field, ";") {
			if n, v, _ := strings.Cut(pair, "="); strings.Trim(n, " \t") == name {
				values = append(values, strings.Trim(v, " \t"))
			}
		}
	}
	return values
}

func only(values []string) (string, bool) {
	if len(values) != 1 || values[0] == "" {
		return "", false
	}
	return values[0], true
}

// isToken tells whether a name is a token of RFC 9110, section 5.6.2.
func isToken(name string) bool {
	return name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~") == ""
}
