package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/policy/jwks"
	"github.com/framegate/framegate/proxy/upstream"
)

// A site is the compiled, immutable form of a Config: one generation of it. A
// request keeps the one that it began with.
type site struct {
	cfg        *Config
	generation uint64 // the first is 1
	router     router
	pools      map[string]*upstream.Pool
	poolFiles  map[string]poolFiles // that the pools were made of
	hosts      []string             // of all routes
	routes     []*route             // in the order of the configuration
	policies   *policy.Set
	digest     string // of all files of cfg; empty for one that is of no file
	adminToken *[sha256.Size]byte
	keys       []*jwks.Source // from which its policies have the keys of token issuers

	listeners []*listener // in the order of the configuration
	doors     map[*listener]*door
	identity  []string // fields that tell of clients' certificates

	users   atomic.Int64 // requests that have it
	retired atomic.Bool  // another one is in its place
	end     sync.Once
}

// A door is what holds for the connections of a listener. It changes with the
// configuration, while the listener stays.
type door struct {
	cfg       ListenerConfig
	tls       *tls.Config // nil without TLS
	router    *router
	auth      *clientAuth    // of hosts whose routes have none
	handshake *tls.Config    // tls, with authentication of clients
	proxies   []netip.Prefix // load balancers that begin with a PROXY header
	trusted   []netip.Prefix // proxies that may say who the client is
	entrance  entrance
}

// A visit is the use of a site by one request.
type visit struct {
	*site
	over bool
}

// enter begins a visit to the site that holds now.
func (s *Server) enter() *visit {
	for {
		st := s.site.Load()
		st.users.Add(1)
		if s.site.Load() == st {
			return &visit{site: st}
		}
		st.left() // it was retired, and perhaps closed, before it was entered
	}
}

// leave ends the visit: with the request, or before that with its handshake,
// since a session may take long. A second call does nothing.
func (v *visit) leave() {
	if !v.over {
		v.over = true
		v.left()
	}
}

func (st *site) left() {
	if st.users.Add(-1) == 0 && st.retired.Load() {
		st.close()
	}
}

// retire closes the site once all have left it.
func (st *site) retire() {
	st.retired.Store(true)
	if st.users.Load() == 0 {
		st.close()
	}
}

func (st *site) close() { st.end.Do(st.policies.Close) }

// keysReady reports whether all token issuers have keys.
func (st *site) keysReady() bool {
	return !slices.ContainsFunc(st.keys, func(s *jwks.Source) bool { return !s.Ready() })
}

// measure makes the series of all routes.
func (st *site) measure(m *metrics) {
	for _, rt := range st.routes {
		if rt.meters == nil {
			rt.meters = m.route(rt)
		}
	}
}

// named returns the route of a name, or nil. A nil site has none.
func (st *site) named(name string) *route {
	if st == nil {
		return nil
	}
	for _, rt := range st.routes {
		if rt.name == name {
			return rt
		}
	}
	return nil
}
