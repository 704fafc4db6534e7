package policytest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/framegate/framegate/proxy"
)

// Explanation is what every rule says of one request.
type Explanation struct {
	Route    string   `json:"route,omitempty"`
	Trace    []Step   `json:"trace"`
	Decision string   `json:"decision"` // admit or refuse
	Status   int      `json:"status,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Upstream []string `json:"upstream,omitempty"` // header fields, query and subprotocols, where they differ from the client's
}

// NewExplanation asks all rules about a request.
func NewExplanation(ctx context.Context, cfg *proxy.Config, policies []string, r *Request, now time.Time) (*Explanation, error) {
	b, err := newBench(cfg, policies)
	if err != nil {
		return nil, err
	}
	out, err := b.try(ctx, r, 0, now, true)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Route: out.Route, Trace: steps(out), Decision: "admit", Status: out.Status, Reason: out.Reason}
	if out.Admission != nil {
		out.Admission.Release()
	}
	if out.Status != 0 {
		e.Decision = "refuse"
		return e, nil
	}
	e.Upstream = changed(r, out)
	return e, nil
}

// changed lists what the upstream gets otherwise than the client sent it.
func changed(r *Request, out *proxy.Outcome) (lines []string) {
	sent := http.Header{}
	for name, values := range r.Headers {
		sent[http.CanonicalHeaderKey(name)] = values
	}
	for name := range sent {
		if out.Header[name] == nil {
			lines = append(lines, "no "+name)
		}
	}
	for name, values := range out.Header {
		if !slices.Equal(values, sent[name]) {
			lines = append(lines, name+": "+strings.Join(values, ", "))
		}
	}
	slices.Sort(lines)
	if _, query, _ := strings.Cut(r.URL, "?"); query != out.Query {
		lines = append(lines, "the query "+out.Query)
	}
	if !slices.Equal(r.Subprotocols, out.Subprotocols) {
		lines = append(lines, "the subprotocols "+strings.Join(out.Subprotocols, ", "))
	}
	return lines
}
