package proxy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/proxy/upstream"
)

// A route is the compiled form of a RouteConfig.
type route struct {
	name        string
	auth        *clientAuth // of its hosts; nil for that of the listener
	cfg         RouteConfig
	pool        *upstream.Pool
	policy      *policy.Policy
	limits      *relay.Limits
	rules       [2]messageRules // by the side that sends
	denyHTTP    bool
	compression handshake.Compression
	plain       *plainProxy
	meters      *routeMeters
}

// A router finds the route of a request: the most specific host, then the
// longest path. A host whose paths do not match is not looked for elsewhere.
type router struct {
	hosts     map[string]*paths // exact names
	wildcards map[string]*paths // the rest of *.rest
}

// paths are the routes of one host.
type paths struct {
	first    *route // whose client_auth all others have too
	exact    map[string]*route
	prefixes []prefix // longest first
}

type prefix struct {
	path  string // without the final slash
	route *route
}

// add registers a route. It returns the name of the route that has this host
// and path already, if any.
func (r *router) add(host, path string, rt *route) (taken string) {
	table, key := &r.hosts, host
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		table, key = &r.wildcards, rest
	}
	if *table == nil {
		*table = map[string]*paths{}
	}
	p := (*table)[key]
	if p == nil {
		p = &paths{first: rt, exact: map[string]*route{}}
		(*table)[key] = p
	}
	return p.add(path, rt)
}

func (p *paths) add(path string, rt *route) (taken string) {
	base, ok := strings.CutSuffix(path, "/*")
	if !ok {
		if old := p.exact[path]; old != nil {
			return old.name
		}
		p.exact[path] = rt
		return ""
	}
	for _, old := range p.prefixes {
		if old.path == base {
			return old.route.name
		}
	}
	p.prefixes = append(p.prefixes, prefix{base, rt})
	slices.SortStableFunc(p.prefixes, func(a, b prefix) int { return cmp.Compare(len(b.path), len(a.path)) })
	return ""
}

// firstOf returns the first route that was added with a host or wildcard, nil
// for none.
func (r *router) firstOf(host string) *route {
	table := r.hosts
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		table, host = r.wildcards, rest
	}
	if p := table[host]; p != nil {
		return p.first
	}
	return nil
}

// find returns the route of a canonical host and path, or nil.
func (r *router) find(host, path string) *route {
	p := r.of(host)
	if p == nil {
		return nil
	}
	if rt := p.exact[path]; rt != nil {
		return rt
	}
	for _, pre := range p.prefixes {
		if rest, ok := strings.CutPrefix(path, pre.path); ok && (rest == "" || rest[0] == '/') {
			return pre.route
		}
	}
	return nil
}

// of returns the routes of a host, nil where there are none.
func (r *router) of(host string) *paths {
	if p := r.hosts[host]; p != nil {
		return p
	}
	_, rest, _ := strings.Cut(host, ".")
	return r.wildcards[rest]
}
