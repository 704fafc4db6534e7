package policy

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/forward"
)

// What the client is told of a refusal, by its status.
var reasonsForward = map[int]string{
	http.StatusBadRequest:         "malformed request",
	http.StatusUnauthorized:       "sign-in required",
	http.StatusForbidden:          "not allowed",
	http.StatusServiceUnavailable: "authentication unavailable",
}

// compileForward makes the check of one policy.
func compileForward(p place, c *Config, report Report) []rule {
	if c.ForwardAuth == nil {
		return nil
	}
	config := *c.ForwardAuth
	if config.CA != "" {
		config.CA = p.path(config.CA)
	}
	x := config.Compile(func(path, format string, args ...any) { report(strictyaml.Join("forward_auth", path), format, args...) })
	if x == nil {
		return nil
	}
	if p.env.Service != nil {
		x.Through(p.env.Service)
	}
	return []rule{{judge: judgeForward(x), manages: x.Managed(), end: x.Close, recall: recallUser}}
}

func judgeForward(x *forward.Checker) judge {
	return func(ctx context.Context, a *Admission) *Refusal {
		answer, err := x.Ask(ctx, forwardQuery(a))
		if err != nil {
			a.note(err.Error())
		}
		if !answer.Allow {
			return &Refusal{Status: answer.Status, Reason: reasonsForward[answer.Status], Challenge: answer.Challenge}
		}
		for _, f := range answer.Fields {
			a.setField(f[0], f[1])
		}
		if answer.User != "" {
			a.User = answer.User
		}
		return nil
	}
}

// recallUser notes whom the service has found a live connection's client to be.
func recallUser(_ context.Context, a *Admission) *Refusal {
	if a.User == "" {
		a.User = a.live.record.more().user
	}
	return nil
}

// forwardQuery is what the service is told of a request: all of it as it came, but for the tokens in the query that other rules have verified.
func forwardQuery(a *Admission) forward.Query {
	q := forward.Query{Method: a.Method, Proto: "http", Host: a.Host, URI: a.Path, For: a.Address.String(), Header: a.Header}
	if a.Secure {
		q.Proto = "https"
	}
	if strings.Contains(q.Host, ":") && !strings.HasPrefix(q.Host, "[") {
		q.Host = "[" + q.Host + "]"
	}
	if a.Port != "" {
		q.Host = net.JoinHostPort(strings.Trim(q.Host, "[]"), a.Port)
	}
	if query := a.Query(); query != "" {
		q.URI += "?" + query
	}
	return q
}
