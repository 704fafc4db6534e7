package policy

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// SubprotocolsConfig says which subprotocols clients may use (RFC 6455, section 1.9). What other rules have taken for a token is none.
type SubprotocolsConfig struct {
	Allow   []string `yaml:"allow" min:"1" doc:"The subprotocols that may be used. Others that a client offers are removed from what the upstream sees, so that it cannot agree to them. Case matters."`
	Require bool     `yaml:"require" doc:"Refuses, with 400, a client that offers no subprotocol that may be used."`
}

// What the client is told.
const (
	reasonSubprotocolMissing = "subprotocol required"
	reasonSubprotocolRefused = "subprotocol not allowed" // on a live connection
)

// compileSubprotocols makes the check of one policy.
func compileSubprotocols(_ place, c *Config, report Report) []rule {
	if c.Subprotocols == nil {
		return nil
	}
	allow, require := c.Subprotocols.Allow, c.Subprotocols.Require
	if len(allow) == 0 && !require {
		report("subprotocols", "subprotocols is without effect, want allow, require: true or both")
	}
	for i, name := range allow {
		switch path := indexed("subprotocols.allow", i); {
		case !isToken(name):
			report(path, "%q is not a subprotocol, want letters, digits and some of !#$%%&'*+-.^_`|~", name)
		case slices.Index(allow, name) < i:
			report(path, "subprotocol %q is listed twice", name)
		}
	}
	return []rule{{judge: func(_ context.Context, a *Admission) *Refusal {
		left := 0
		for _, name := range a.Offered() {
			if len(allow) > 0 && !slices.Contains(allow, name) {
				a.removeSubprotocol(name)
			} else {
				left++
			}
		}
		if require && left == 0 {
			return &Refusal{Status: http.StatusBadRequest, Reason: reasonSubprotocolMissing}
		}
		return nil
	}, again: func(_ context.Context, a *Admission) *Refusal {
		agreed := a.live.record.Subprotocol()
		switch {
		case agreed == "" && require:
			return &Refusal{Status: http.StatusBadRequest, Reason: reasonSubprotocolMissing}
		case agreed != "" && len(allow) > 0 && !slices.Contains(allow, agreed):
			return &Refusal{Status: http.StatusBadRequest, Reason: reasonSubprotocolRefused}
		}
		return nil
	}}}
}

// isToken says whether text is a token of RFC 9110, section 5.6.2.
func isToken(text string) bool { return text != "" && isASCIIOf(text, isTokenByte) }

func isTokenByte(c byte) bool { return isIdentifier(c) || strings.IndexByte("!#$%&'*+.^_`|~", c) >= 0 }
