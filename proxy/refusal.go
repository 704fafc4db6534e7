package proxy

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/ratelimit"
)

// The results of a request, as metrics and logs name them.
const (
	resultAccepted   = "accepted"
	resultMalformed  = "malformed"
	resultNoRoute    = "no_route"
	resultMisdirect  = "misdirected"
	resultPolicy     = "policy"
	resultLimit      = "limit"
	resultDraining   = "draining"
	resultOverload   = "overload"
	resultNotHTTP    = "http_denied"
	resultNoUpstream = "upstream_unreachable"
	resultDown       = "upstream_down"
	resultFull       = "upstream_full"
	resultBadReply   = "upstream_invalid"
	resultRefused    = "upstream_refused"
	resultClientGone = "client_gone"
	resultRedirected = "redirected"
	resultChallenge  = "challenge"
)

func results() []string {
	return []string{resultAccepted, resultMalformed, resultNoRoute, resultMisdirect, resultPolicy, resultLimit, resultDraining, resultOverload,
		resultNotHTTP, resultNoUpstream, resultDown, resultFull, resultBadReply, resultRefused, resultClientGone, resultRedirected, resultChallenge}
}

// A refused is why a request was not served: what the client sees, and the
// result under which it is counted.
type refused struct {
	*handshake.Refusal
	result string
	policy string // that refused, and its rule
	rule   string
}

func refuse(status int, result, reason string) *refused {
	return &refused{Refusal: &handshake.Refusal{Status: status, Reason: reason}, result: result}
}

// detail adds what only the log may know.
func (r *refused) detail(d string) *refused {
	r.Detail = d
	return r
}

// with adds a header field of the answer.
func (r *refused) with(name, value string) *refused {
	r.Header = append(r.Header, [2]string{name, value})
	return r
}

// after says when it may be worth trying again, to each client a little later
// than to the others.
func (r *refused) after(wait time.Duration) *refused {
	return r.with("Retry-After", strconv.Itoa(ratelimit.RetryAfter(wait, rand.Float64())))
}

// endWithAnswer says that the connection ends with the answer to a request. Later
// versions of HTTP end a stream with it, and others go on.
func endWithAnswer(h http.Header, req *http.Request) {
	if req.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
}

// write answers with constant text and ends the connection on HTTP/1.1, so that
// nothing the client sent after the refused request is taken for a request.
func (r *refused) write(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	hsts := h[hstsField] // of the listener
	clear(h)
	if hsts != nil {
		h[hstsField] = hsts
	}
	for _, f := range r.Header {
		h.Set(f[0], f[1])
	}
	body := r.Problem()
	endWithAnswer(h, req)
	h.Set("Content-Type", handshake.ProblemType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(r.Status)
	w.Write(body)
}
