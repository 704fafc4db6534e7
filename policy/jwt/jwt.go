// Package jwt verifies JSON Web Tokens (RFC 7519) that are signed (RFC 7515, compact serialization), by the best practices of RFC 8725.
//
// It is pure: it reads no clock, no file and no network. Callers tell the time, and [Keys] yields the keys of an issuer. The cryptography is
// go-jose's; what go-jose leaves open is decided here, and strictly: which algorithm a key may be used with, which keys are too weak, one
// spelling per token, strict JSON.
//
// The journey of a token: its three parts and its header are read (token.go), keys that fit are tried (issuer.go, keyset.go), and only then,
// the signature being good, the claims are parsed (claims.go) and held against the configuration. Nothing that no signature covers yet steers
// anything but the choice among keys that are trusted anyway.
package jwt

import (
	"context"
	"errors"
	"slices"
)

// What can be wrong with a token, in the order of how far it came. The texts are constant, fit for logs and clients.
var (
	ErrMalformed    = errors.New("token malformed")
	ErrAlgorithm    = errors.New("token algorithm not allowed")
	ErrUnknownKey   = errors.New("token key unknown")
	ErrSignature    = errors.New("token signature invalid")
	ErrUnavailable  = errors.New("token keys unavailable") // not the token's fault: no key can be had now, a server says 503
	ErrClaims       = errors.New("token claims malformed")
	ErrClaimMissing = errors.New("token lacks a required claim") // exp, iss or aud
	ErrType         = errors.New("token type not allowed")
	ErrIssuer       = errors.New("token issuer not allowed")
	ErrAudience     = errors.New("token audience not allowed")
	ErrExpired      = errors.New("token expired")
	ErrNotYetValid  = errors.New("token not yet valid")
	ErrLifetime     = errors.New("token lifetime too long")
	ErrClaimRefused = errors.New("token claim refused") // it is valid, and does not suffice: one that the configuration requires
)

// progress lists the errors in the order of how far a token came that has them.
var progress = []error{
	ErrMalformed, ErrAlgorithm, ErrUnknownKey, ErrSignature, ErrUnavailable, ErrClaims, ErrClaimMissing, ErrType, ErrIssuer, ErrAudience, ErrExpired,
	ErrNotYetValid, ErrLifetime, ErrClaimRefused,
}

// further returns the error of the token's best attempt, of which one may be nil.
func further(a, b error) error {
	if slices.Index(progress, b) > slices.Index(progress, a) {
		return b
	}
	return a
}

// Keys yields the keys of one issuer. A [*KeySet] is one that never changes.
type Keys interface {
	// Keys returns the newest set. If kid is not empty and the set at hand lacks it, an implementation that fetches its sets may fetch
	// once more; if the kid is not there either, the set comes without an error. An error says that no keys can be had now, and a token
	// is then refused with ErrUnavailable.
	Keys(ctx context.Context, kid string) (*KeySet, error)
}

// Report receives one configuration mistake and the path of the value that holds it, relative to the issuer's section.
type Report = func(path, format string, args ...any)
