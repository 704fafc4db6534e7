package proxy

import (
	"crypto/sha256"
	"reflect"

	"github.com/framegate/framegate/proxy/upstream"
)

// A site takes over from the one before what says the same: pools, with the
// checks of their servers, and routes, whose connections are then not touched.

// poolFiles are the contents of the files that a pool is made of: its CAs, and
// its certificate and key.
type poolFiles [3][sha256.Size]byte

// poolFilesOf reads them. What cannot be read was reported, or is nothing.
func poolFilesOf(c *upstream.TLSConfig) (sums poolFiles) {
	if c == nil {
		return sums
	}
	for i, path := range []string{c.CA, c.Cert, c.Key} {
		if path != "" {
			content, _ := readBounded(path, maxPolicyFile)
			sums[i] = sha256.Sum256(content)
		}
	}
	return sums
}

// reusePool takes over the pool of a name.
func (st *site) reusePool(name string, before *site) {
	if st.poolFiles == nil {
		st.poolFiles = map[string]poolFiles{}
	}
	st.poolFiles[name] = poolFilesOf(st.cfg.Upstreams[name].TLS)
	if before == nil || st.pools[name] == nil || before.pools[name] == nil {
		return
	}
	if before.poolFiles[name] == st.poolFiles[name] && reflect.DeepEqual(before.cfg.Upstreams[name], st.cfg.Upstreams[name]) {
		st.pools[name] = before.pools[name]
	}
}

// same reports whether another route says the same as this one, which may be
// nil.
func (rt *route) same(next *route) bool {
	return rt != nil && next.policy != nil && rt.pool == next.pool && rt.auth.same(next.auth) && rt.policy.Same(next.policy) && reflect.DeepEqual(rt.cfg, next.cfg)
}
