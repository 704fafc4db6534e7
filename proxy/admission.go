package proxy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/policy/jwks"
	"github.com/framegate/framegate/policy/jwt"
	"github.com/framegate/framegate/policy/revocation"
	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/ratelimit"
)

// maxPolicyFile bounds the files that policies name: keys and schemas.
const maxPolicyFile = 1 << 20

// maxLimitKeys is how many addresses, users and so on the limits remember.
const maxLimitKeys = 100_000

// shared is what all routes share, in all generations of the configuration but
// for files of policies.
type shared struct {
	policies *policy.Env
	memory   *relay.Memory // for messages that are gathered or delayed
	before   *site         // whose place another one takes; nil for none
}

// keySets are the sources from which the policies of a configuration have the
// keys of token issuers.
type keySets struct {
	cache *jwks.Cache
	live  []*jwks.Source
}

// source implements policy.Env.Fetched.
func (k *keySets) source(c jwks.Config) (jwt.Keys, error) {
	s, err := k.cache.Source(c)
	if err != nil {
		return nil, err
	}
	k.live = append(k.live, s)
	return s, nil
}

// shared makes it anew, for a configuration that nothing runs on yet.
func (cfg *Config) shared() *shared {
	return &shared{
		policies: &policy.Env{
			File: cfg.policyFile, Path: cfg.policyPath, Limits: ratelimit.NewLocal(maxLimitKeys), Revoked: revocation.NewSet(cfg.Revocation.Max),
		},
		memory: relay.NewMemory(pinnable(debug.SetMemoryLimit(-1))),
	}
}

// of is s for another configuration, whose policies have keys from fetched.
func (s *shared) of(cfg *Config, fetched func(jwks.Config) (jwt.Keys, error), before *site) *shared {
	return &shared{
		policies: &policy.Env{File: cfg.policyFile, Path: cfg.policyPath, Limits: s.policies.Limits, Revoked: s.policies.Revoked, Fetched: fetched},
		memory:   s.memory,
		before:   before,
	}
}

// pinnable is how many bytes of messages all sessions together may keep: a
// quarter of GOMEMLIMIT, or of 1 GiB where that is not set.
func pinnable(limit int64) int64 {
	if limit == math.MaxInt64 {
		limit = 1 << 30
	}
	return limit / 4
}

// policyFile reads a file that a policy names.
func (cfg *Config) policyFile(name, path string) ([]byte, error) {
	path = cfg.policyPath(name, path)
	data, err := readBounded(path, maxPolicyFile)
	cfg.files.note(path, data)
	return data, err
}

// policyPath is the path of a file that a policy names. It goes out from the
// file in which the policy stands.
func (cfg *Config) policyPath(name, path string) string {
	dir, own := cfg.policyDirs[name]
	if !own {
		dir = cfg.dir
	}
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// readBounded reads a file of at most n bytes. Its errors leave the path to the
// caller.
func readBounded(path string, n int64) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, errors.New("not a regular file") // a pipe would be waited for
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, n+1))
	if int64(len(data)) > n {
		return nil, fmt.Errorf("larger than %d bytes", n)
	}
	return data, withoutPath(err)
}

// withoutPath is an error of a file without its name.
func withoutPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// decide has the policies of a route judge a request. It counts and logs what
// each rule says; a refusal is logged by whoever answers.
func (s *Server) decide(st *site, rt *route, r *http.Request, q *policy.Request) (*policy.Admission, *refused) {
	h := hopOf(r)
	q.Now, q.Secure, q.Address, q.Route, q.Listener = time.Now(), h.secure, h.client.Addr(), rt.name, peerOf(r).listener.address
	if c := peerOf(r); c.certificate != nil {
		q.Certificate, q.Identity = c.certificate, st.authOf(c, q.Host).identity(c.certificate)
	}
	q.HasCookie = rt.hasCookie(q.Header)
	a := rt.policy.Admit(r.Context(), q)
	for i := range a.Decisions {
		d := &a.Decisions[i]
		rt.meters.decided(d)
		s.logDecision(rt, r, d)
	}
	if d := a.Refused(); d != nil {
		return nil, refusedBy(d)
	}
	return a, nil
}

// logDecision logs what nobody else does: a refusal in shadow mode, and an
// admission by a rule that could not decide.
func (s *Server) logDecision(rt *route, r *http.Request, d *policy.Decision) {
	if d.Refusal == nil && d.Detail == "" || d.Refusal != nil && !d.Shadow {
		return
	}
	attrs := append(requestAttrs(r), "route", rt.name, "policy", d.Policy, "rule", d.Name, "outcome", d.Outcome())
	if d.Detail != "" {
		attrs = append(attrs, "detail", clean(d.Detail))
	}
	if d.Refusal == nil {
		s.log.Warn("admitted without a decision", attrs...)
		return
	}
	s.log.Info("would refuse", append(attrs, "status", d.Refusal.Status, "reason", d.Refusal.Reason, "mode", "shadow")...)
}

// refusedBy is the answer to a request that a rule refused.
func refusedBy(d *policy.Decision) *refused {
	no := refuse(d.Refusal.Status, resultPolicy, d.Refusal.Reason).detail(d.Detail)
	no.policy, no.rule = d.Policy, d.Name
	if d.Refusal.Challenge != "" {
		no.with("WWW-Authenticate", d.Refusal.Challenge)
	}
	if d.Refusal.Allowed != "" {
		no.with("Allow", d.Refusal.Allowed)
	}
	if d.Refusal.RetryAfter > 0 {
		no.after(d.Refusal.RetryAfter)
		no.result = resultLimit
	}
	return no
}
