// Package jwks keeps the JSON Web Key Sets (RFC 7517) of token issuers, fetched from their URLs.
//
// A [Cache] belongs to the server and outlives reloads: a configuration that names the same URL in the same way gets the same [Source], keys
// included. A source has one goroutine, and only that fetches. It does so when the set's lifetime is over, and when a token names a key that the
// set lacks; then the tokens wait for it, so that none is refused because its issuer has just changed keys. When that is worth a fetch is
// decided in plan.go. Lookups of known keys take no lock and never wait.
package jwks

import (
	"time"

	"github.com/framegate/framegate/policy/outbound"
)

// defaultMaxStale is how long keys serve after their lifetime when nothing else is configured.
const defaultMaxStale = time.Hour

// Config says where a set of keys comes from. Equal configurations share one [Source].
type Config struct {
	URL    string // https://
	CAFile string // PEM certificates that vouch for the server, read anew at each fetch; empty for the system's

	// MaxStale is how long keys may serve after their lifetime while they cannot be fetched again. 0 stands for one hour; without limit is
	// not to be had, since a key that leaked must end some time.
	MaxStale time.Duration

	// DangerouslyAllowHTTP lets the URL be http:// to a loopback address. Whatever else runs on this host can then forge tokens.
	DangerouslyAllowHTTP bool
}

// Validate reports every mistake, at the keys jwks_url, jwks_ca and max_stale.
func (c Config) Validate(report outbound.Report) {
	outbound.CheckURL(c.URL, c.plain(), "jwks_url", report)
	if c.CAFile != "" {
		outbound.Roots(c.CAFile, "jwks_ca", report)
	}
	if c.MaxStale < 0 {
		report("max_stale", "max_stale is %v, want a duration above zero", c.MaxStale)
	}
}

func (c Config) plain() outbound.Reach {
	if c.DangerouslyAllowHTTP {
		return outbound.Loopback
	}
	return outbound.Nowhere
}

func (c Config) maxStale() time.Duration {
	if c.MaxStale <= 0 {
		return defaultMaxStale
	}
	return c.MaxStale
}
