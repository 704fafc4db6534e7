package tlsmgr

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
)

// An autoListener serves the hosts of one listener from the certificates of an auto.
type autoListener struct {
	*auto
	own hostSet
}

// config is the TLS configuration of the listener. Who comes to check a challenge (RFC 8737) gets one of its own, with nothing else in it.
func (l *autoListener) config(protocols []string) (*tls.Config, error) {
	config, err := serverConfig(l.certificate, protocols)
	if err != nil {
		return nil, err
	}
	check, err := serverConfig(l.challengeCertificate, nil)
	if err != nil {
		return nil, err
	}
	check.NextProtos = []string{acmez.ACMETLS1Protocol}
	check.SessionTicketsDisabled = true
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmez.ACMETLS1Protocol {
			return check, nil
		}
		return nil, nil
	}
	return config, nil
}

// IsChallenge tells whether a connection only came to check a challenge: it is closed after its handshake.
func IsChallenge(s tls.ConnectionState) bool { return s.NegotiatedProtocol == acmez.ACMETLS1Protocol }

// certificate is the tls.Config.GetCertificate of the listener. It waits for nobody, but for a certificate on demand. No certificate is no
// error, see the package comment.
func (l *autoListener) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name, ok := canonicalName(hello.ServerName)
	if !ok || !l.own.has(name) {
		return nil, nil
	}
	if certs := l.index.Load().find(name); len(certs) > 0 {
		return certs[0], nil
	}
	if l.demand != nil && !l.own.exact[name] {
		ctx, cancel := context.WithTimeout(helloContext(hello), demandPatience)
		defer cancel()
		return l.demand.certificate(ctx, name), nil
	}
	l.notice.say("none", func() { l.log.Warn("client refused, its host has no certificate yet", "name", name) })
	return nil, nil
}

// helloContext is the context of the handshake; tests of crypto/tls's own types have none.
func helloContext(hello *tls.ClientHelloInfo) context.Context {
	if ctx := hello.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// challengeCertificate answers tls-alpn-01, also for another gateway's order.
func (l *autoListener) challengeCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name, ok := canonicalName(hello.ServerName)
	if !ok || !l.mayAnswer(name) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(helloContext(hello), challengePatience)
	defer cancel()
	cert, err := l.magic.GetCertificateWithContext(ctx, hello)
	if err != nil {
		return nil, nil // logged by certmagic
	}
	return cert, nil
}

// challengePatience is how long the store may take for a challenge.
const challengePatience = 5 * time.Second

// mayAnswer tells whether a challenge for a name is looked for: of a host of ours, and in the store only so often, since anybody may ask.
func (a *auto) mayAnswer(name string) bool {
	if !a.started() || !a.hosts.Load().has(name) {
		return false
	}
	_, own := certmagic.GetACMEChallenge(name)
	return own || a.lookups.AllowN(a.sys.now(), 1)
}

// challengePrefix is where http-01 is answered (RFC 8555 section 8.3).
const challengePrefix = "/.well-known/acme-challenge/"

// maxToken is longer than any token of a CA.
const maxToken = 128

// serveChallenge answers http-01, also for another gateway's order. It tells whether there was something to answer.
func (a *auto) serveChallenge(w http.ResponseWriter, r *http.Request) bool {
	token := strings.TrimPrefix(r.URL.Path, challengePrefix)
	host := r.Host
	if at := strings.LastIndexByte(host, ':'); at >= 0 {
		host = host[:at]
	}
	name, ok := canonicalName(host)
	if !ok || r.Method != http.MethodGet || token == "" || len(token) > maxToken || !isToken(token) || !a.mayAnswer(name) || a.first.Load().DisableHTTPChallenge {
		return false
	}
	ctx, cancel := context.WithTimeout(r.Context(), challengePatience)
	defer cancel()
	r = r.WithContext(ctx)
	r.Host = name
	return a.first.Load().HandleHTTPChallenge(w, r)
}

// isToken accepts the letters of base64url, of which tokens are made.
func isToken(s string) bool {
	return strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
