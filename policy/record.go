package policy

import (
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"unique"

	"github.com/framegate/framegate/policy/condition"
	"github.com/framegate/framegate/policy/jwt"
	"github.com/framegate/framegate/policy/revocation"
)

// A Record is what is kept of an admitted handshake while its connection lives, so that a policy that changes can be asked about it again: of the
// token its claims alone, of fields and query what the policy's conditions have looked at. What else the request held is gone with it.
//
// Many connections have the same host, origin and listener, so these are shared.
type Record struct {
	host, origin, listener unique.Handle[string]
	path                   string
	rest                   *rest // nil where there is nothing of it

	secure, hasOrigin, hasCookie bool
}

// rest is what most connections do not have.
type rest struct {
	port        string
	subprotocol string // agreed
	user        string
	token       *jwt.Memo // nil without one
	names       revocation.Names
	reads       *reads // of which kept are the values
	kept        *kept  // nil for none
}

// kept are the values of what conditions read.
type kept struct {
	header       http.Header
	query        string
	subprotocols []string
}

// Record returns what is to be kept of an admission, whose connection has agreed on a subprotocol. It refers to nothing of the request.
func (a *Admission) Record(subprotocol string) Record {
	r := Record{
		host: unique.Make(a.Host), origin: unique.Make(a.Origin), listener: unique.Make(a.Listener), path: strings.Clone(a.Path),
		secure: a.Secure, hasOrigin: a.HasOrigin, hasCookie: a.HasCookie,
	}
	more := rest{port: strings.Clone(a.Port), subprotocol: strings.Clone(subprotocol), user: strings.Clone(a.User), names: a.changes.names, reads: a.reads, kept: a.reads.of(a)}
	if a.Claims != nil {
		more.token = a.Claims.Memo()
	}
	if more != (rest{}) {
		r.rest = &more
	}
	return r
}

// Host returns the canonical host that was asked for.
func (r *Record) Host() string { return r.host.Value() }

// Path returns the canonical path that was asked for.
func (r *Record) Path() string { return r.path }

// Listener returns the address of the listener that the client came by.
func (r *Record) Listener() string { return r.listener.Value() }

// Subprotocol returns the one that was agreed on, empty if none.
func (r *Record) Subprotocol() string { return r.more().subprotocol }

// Names returns those by which the token that admitted the connection can be revoked.
func (r *Record) Names() revocation.Names { return r.more().names }

// more is what there is of the rest.
func (r *Record) more() rest {
	if r.rest == nil {
		return rest{}
	}
	return *r.rest
}

// request makes the request of the handshake, as far as it is known still.
func (r *Record) request() *Request {
	q := &Request{
		Method: http.MethodGet, Secure: r.secure, Host: r.Host(), Port: r.more().port, Path: r.path, Origin: r.origin.Value(), HasOrigin: r.hasOrigin,
		HasCookie: r.hasCookie, Listener: r.Listener(), Header: http.Header{},
	}
	if k := r.more().kept; k != nil {
		q.Header, q.RawQuery, q.Subprotocols = k.header, k.query, k.subprotocols
	}
	return q
}

// reads says what conditions read of a request beside what a Record always has. nil reads nothing.
type reads struct {
	headers      []string // canonical
	query        []string
	subprotocols bool
	all          bool // or who knows what
}

// secretFields are never kept.
var secretFields = []string{"Authorization", "Cookie"}

// readsOf returns what a condition reads.
func readsOf(c *condition.Condition) *reads {
	headers, anyHeader := c.Keys("request", "headers")
	query, anyQuery := c.Keys("request", "query")
	r := &reads{query: query, subprotocols: c.Reads("request", "subprotocols"), all: anyHeader || anyQuery}
	for _, field := range CertificateNames() {
		r.all = r.all || c.Reads("certificate", field)
	}
	for _, name := range headers {
		name = textproto.CanonicalMIMEHeaderKey(name)
		r.headers = append(r.headers, name)
		r.all = r.all || slices.Contains(secretFields, name)
	}
	if !r.all && !r.subprotocols && len(headers) == 0 && len(query) == 0 {
		return nil
	}
	return r
}

// and returns what either reads.
func (r *reads) and(more *reads) *reads {
	switch {
	case more == nil:
		return r
	case r == nil:
		return more
	}
	sum := &reads{
		headers: append(slices.Clone(r.headers), more.headers...), query: append(slices.Clone(r.query), more.query...),
		subprotocols: r.subprotocols || more.subprotocols, all: r.all || more.all,
	}
	slices.Sort(sum.headers)
	slices.Sort(sum.query)
	sum.headers, sum.query = slices.Compact(sum.headers), slices.Compact(sum.query)
	return sum
}

// covers reports whether all that need reads was kept.
func (r *reads) covers(need *reads) bool {
	if need == nil {
		return true
	}
	if r == nil || need.all {
		return false
	}
	has := func(all []string) func(string) bool {
		return func(name string) bool { return !slices.Contains(all, name) }
	}
	return !slices.ContainsFunc(need.headers, has(r.headers)) && !slices.ContainsFunc(need.query, has(r.query)) && (r.subprotocols || !need.subprotocols)
}

// of returns the values that an admission has, nil for none.
func (r *reads) of(a *Admission) *kept {
	if r == nil {
		return nil
	}
	k := &kept{header: http.Header{}}
	for _, name := range r.headers {
		if values := a.Header[name]; len(values) > 0 && !slices.Contains(secretFields, name) && !slices.Contains(a.managed, name) {
			k.header[name] = cloned(values)
		}
	}
	query := url.Values{}
	for name, value := range parameters(a.Query()) {
		if slices.Contains(r.query, name) {
			query.Add(name, value)
		}
	}
	k.query = query.Encode()
	if r.subprotocols {
		k.subprotocols = cloned(a.Offered())
	}
	return k
}

func cloned(texts []string) []string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = strings.Clone(text)
	}
	return all
}
