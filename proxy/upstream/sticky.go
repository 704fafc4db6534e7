package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy"
)

// StickyConfig keeps a client at one server.
type StickyConfig struct {
	Cookie *CookieConfig `yaml:"cookie" doc:"Clients are given a cookie that names their server, in a way that only the gateway can read."`
	Hash   *HashConfig   `yaml:"hash" doc:"Clients without the cookie go to a server by the hash of this value, whatever its load: address, {header: NAME}, {query: NAME}, {cookie: NAME} or {claim: NAME}."`
}

// CookieConfig is the cookie of a sticky pool.
type CookieConfig struct {
	Name string              `yaml:"name" default:"__Host-fg" doc:"Its name, which begins with __Host-, so that browsers take it from this host alone, over TLS. Pools on one host need names of their own."`
	TTL  strictyaml.Duration `yaml:"ttl" doc:"How long browsers keep it. Without it, until they are closed."`
	Key  Secrets             `yaml:"key" secret:"true" doc:"Secret of at least 32 characters that makes the cookie, such as ${file:/run/secrets/sticky}, the same on all gateways; or a list of which the first one makes cookies and all are accepted. Without it, one that this installation keeps in tls.storage."`
}

// Secrets is one secret, or a list.
type Secrets []string

// UnmarshalText reads the form that is one secret.
func (s *Secrets) UnmarshalText(text []byte) error {
	*s = Secrets{string(text)}
	return nil
}

// Wanted names the form in error messages.
func (Secrets) Wanted() string { return "a secret" }

// JSONSchema describes the form that is one secret.
func (Secrets) JSONSchema() map[string]any { return map[string]any{"type": "string"} }

const (
	hostPrefix   = "__Host-" // RFC 6265bis, section 4.1.3.2
	defaultName  = hostPrefix + "fg"
	minSecret    = 32
	cookieLength = 22 // 128 bits in base64url
)

// A sticky is the compiled form of a StickyConfig. Its zero value keeps nobody.
type sticky struct {
	cookie string // its name; empty for none
	ttl    time.Duration
	keys   [][]byte // none for the installation's own
	hash   hashed   // nil for none
}

func (c *StickyConfig) compile(report Report) (s sticky) {
	if c == nil {
		return s
	}
	if c.Cookie == nil && c.Hash == nil {
		report("sticky", "says not by what, want cookie or hash")
	}
	if c.Hash != nil {
		s.hash = c.Hash.compile("sticky.hash", report)
	}
	if c.Cookie == nil {
		return s
	}
	s.cookie, s.ttl = c.Cookie.Name, time.Duration(c.Cookie.TTL)
	if s.cookie == "" {
		s.cookie = defaultName
	}
	if rest, ok := strings.CutPrefix(s.cookie, hostPrefix); !ok || !isToken(rest) {
		report("sticky.cookie.name", "%q is not the name of such a cookie, want one that begins with "+hostPrefix+", such as "+defaultName, s.cookie)
	}
	for i, secret := range c.Cookie.Key {
		if len(secret) < minSecret {
			path := "sticky.cookie.key"
			if len(c.Cookie.Key) > 1 {
				path = indexed(path, i)
			}
			report(path, "has %d characters, want at least %d by chance, such as the output of: openssl rand -base64 32", len(secret), minSecret)
		}
		s.keys = append(s.keys, []byte(secret))
	}
	return s
}

// cookieValue names a server to whoever has the key, and tells nobody else anything about it: HMAC-SHA256 of its pool and address, cut to 128
// bits (RFC 2104, section 5). It says nothing of the client, so that nothing has to be remembered, here or on other gateways.
func stickyValue(key []byte, pool, address string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("framegate sticky 1\x00" + pool + "\x00" + address)) // a hash.Hash never fails
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:16])
}

// keeper returns the server of a set to which the request's cookie leads, and whether by the key that makes cookies now. A cookie that is
// malformed, of another pool, of a server that is no more, or that comes twice, leads to none.
func (s *set) keeper(name string, h http.Header) (found *Server, current bool) {
	value, ok := only(cookies(h, name))
	if !ok || len(value) != cookieLength {
		return nil, false
	}
	for _, server := range s.servers { // all of them, however soon it is found: the time must not tell how much of a guess was right
		for i, good := range server.cookies {
			if subtle.ConstantTimeCompare([]byte(value), []byte(good)) == 1 {
				found, current = server, i == 0
			}
		}
	}
	return found, current
}

// setCookie is the field that gives a client the cookie of a server. A client on a connection without TLS is given the same: where TLS ends
// before the gateway it is what keeps the cookie safe, and where there is none, browsers will not take it, as they should.
func (s *sticky) setCookie(server *Server) string {
	value := s.cookie + "=" + server.cookies[0] + "; Path=/; Secure; HttpOnly; SameSite=Lax"
	if s.ttl > 0 {
		value += "; Max-Age=" + strconv.Itoa(int(s.ttl/time.Second))
	}
	return value
}

// RemoveCookie takes the gateway's own cookie out of a request's fields: it is none of the server's business.
func (p *Pool) RemoveCookie(h http.Header) {
	if name := p.settings.sticky.cookie; name != "" {
		policy.RemoveCookies(h, name)
	}
}

// CookieName returns the name of the cookie that keeps clients at their servers; it is empty where there is none.
func (p *Pool) CookieName() string { return p.settings.sticky.cookie }

// OwnKey reports whether the pool's cookies are made with the installation's own key, which the registry must then have.
func (p *Pool) OwnKey() bool {
	return p.settings.sticky.cookie != "" && len(p.settings.sticky.keys) == 0
}
