package tlsmgr

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// The reasons why a certificate could not be got, as metrics and logs name them.
const (
	reasonUnreachable = "unreachable"  // the CA
	reasonLimited     = "rate_limited" // by the CA
	reasonChallenge   = "challenge"    // the CA could not see the proof
	reasonRefused     = "refused"      // the CA said no for another reason, a bad nonce for one
	reasonChain       = "chain"        // the CA sent a wrong certificate
	reasonStorage     = "storage"
	reasonOther       = "other"
)

func reasons() []string {
	return []string{reasonUnreachable, reasonLimited, reasonChallenge, reasonRefused, reasonChain, reasonStorage, reasonOther}
}

// reasonOf finds the reason in an error. certmagic keeps only the text of those of the store.
func reasonOf(err error) string {
	var problem acme.Problem
	var network net.Error
	text := err.Error()
	switch {
	case strings.Contains(text, errChain.Error()):
		return reasonChain
	case strings.Contains(text, "saving assets: "), strings.Contains(text, "failed storage check: "), strings.Contains(text, "unable to acquire lock "),
		strings.Contains(text, "certificate store in Redis"), errors.As(err, new(*fs.PathError)):
		return reasonStorage
	case errors.As(err, &problem):
		return problemReason(problem)
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded), errors.As(err, new(syscall.Errno)):
		return reasonUnreachable
	}
	return reasonOther
}

// problemReason sorts what a CA said (RFC 8555 section 6.7).
func problemReason(p acme.Problem) string {
	switch strings.TrimPrefix(p.Type, "urn:ietf:params:acme:error:") {
	case "rateLimited":
		return reasonLimited
	case "connection", "dns", "tls", "unauthorized", "incorrectResponse", "caa":
		return reasonChallenge
	case "serverInternal":
		return reasonUnreachable
	}
	if p.Status == 429 {
		return reasonLimited
	}
	return reasonRefused
}

// A problem is why a name has no new certificate.
type problem struct {
	failures int
	reason   string
	retry    time.Time
}

// problems are those of all names, and how often each reason came up.
type problems struct {
	now func() time.Time

	mu     sync.Mutex
	open   map[string]problem
	totals map[string]int
}

// failed notes a failed attempt, and when the next one is due. It returns how many have failed in a row.
func (p *problems) failed(name string, err error, wait time.Duration) int {
	reason := reasonOf(err)
	if text := err.Error(); !strings.Contains(text, "saving assets: ") && !strings.Contains(text, "failed storage check: ") {
		p.count(reason) // the store has counted those
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[string]problem{}
	}
	failures := p.open[name].failures + 1
	p.open[name] = problem{failures, reason, p.now().Add(wait)}
	return failures
}

// wait notes when the next attempt is due.
func (p *problems) wait(name string, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o, ok := p.open[name]; ok {
		o.retry = p.now().Add(wait)
		p.open[name] = o
	}
}

// count counts a reason.
func (p *problems) count(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.totals == nil {
		p.totals = map[string]int{}
	}
	p.totals[reason]++
}

// solved forgets the problem of a name.
func (p *problems) solved(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, name)
}
