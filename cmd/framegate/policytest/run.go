package policytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy"
)

// Result is the outcome of one test.
type Result struct {
	File     string        `json:"file"`
	Line     int           `json:"line"`
	Name     string        `json:"name"`
	Failures []Failure     `json:"failures,omitempty"`
	Duration time.Duration `json:"duration_ns"`
	Trace    []Step        `json:"trace"` // what each rule said, in order
}

// Failure is one thing that is not as it was expected.
type Failure struct {
	What string `json:"what"` // a key of expect
	Want string `json:"want"`
	Got  string `json:"got"`
}

// Step is what one rule said.
type Step struct {
	Policy  string `json:"policy"`
	Rule    string `json:"rule"`
	Outcome string `json:"outcome"`
	Status  int    `json:"status,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Suite is the results of one or more files.
type Suite struct {
	Results []Result `json:"results"`
	// Untested are rules, as POLICY/RULE, by which no test is refused.
	Untested []string `json:"untested"`

	rules   map[string]bool // that the configurations have
	refused map[string]bool // and that refused in some test
}

// Failed is how many tests failed.
func (s *Suite) Failed() (n int) {
	for i := range s.Results {
		if len(s.Results[i].Failures) > 0 {
			n++
		}
	}
	return n
}

// Run runs the tests of the files. lookup is os.LookupEnv but in tests.
func Run(ctx context.Context, files []string, lookup func(string) (string, bool), now time.Time) (*Suite, error) {
	s := &Suite{rules: map[string]bool{}, refused: map[string]bool{}}
	var faults []error
	for _, name := range files {
		f, doc, loaded, err := Read(name, lookup)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		for i := range f.Tests {
			r, err := s.run(ctx, &f.Tests[i], loaded.Config, now)
			if err != nil {
				faults = append(faults, doc.Errorf(indexed("tests", i), "%v", err))
				continue
			}
			r.File, r.Line = name, doc.KeyAt(strictyaml.Join(indexed("tests", i), "name")).Line
			s.Results = append(s.Results, *r)
		}
	}
	for rule := range s.rules {
		if !s.refused[rule] {
			s.Untested = append(s.Untested, rule)
		}
	}
	slices.Sort(s.Untested)
	return s, errors.Join(faults...)
}

// run runs one test, on policies that nobody else uses: limits begin anew.
func (s *Suite) run(ctx context.Context, t *Test, cfg *proxy.Config, now time.Time) (*Result, error) {
	start := time.Now()
	bench, err := newBench(cfg, t.Policies)
	if err != nil {
		return nil, err
	}
	for _, rule := range bench.trial.Rules() {
		s.rules[rule.Policy+"/"+rule.Name] = true
	}
	var out *proxy.Outcome
	for n := range t.Request.Times {
		if out, err = bench.try(ctx, &t.Request, n, now, false); err != nil {
			return nil, err
		}
		if out.Admission != nil {
			defer out.Admission.Release() // at the test's end: its connections stay open
		}
	}
	r := &Result{Name: t.Name, Failures: t.Expect.compare(t.Request.plain(), out), Trace: steps(out)}
	if len(t.Messages) > 0 && out.Status == 0 {
		p := &playing{named: map[string]*proxy.Play{}, now: out.Admission.Now}
		p.add("", out)
		further, err := bench.connect(ctx, t, p, r)
		defer further()
		if err != nil {
			return nil, err
		}
		if len(r.Failures) == 0 {
			failures, trace := t.play(p)
			r.Failures, r.Trace = append(r.Failures, failures...), append(r.Trace, trace...)
		}
	}
	for _, step := range r.Trace {
		name := step.Policy + "/" + step.Rule
		s.rules[name] = true
		s.refused[name] = s.refused[name] || step.Outcome != policy.OutcomeAdmitted
	}
	r.Duration = time.Since(start)
	return r, nil
}

// A bench is a configuration under test.
type bench struct {
	trial    *proxy.Trial
	keys     *keyring
	stage    *stage
	policies []string
}

func newBench(cfg *proxy.Config, policies []string) (*bench, error) {
	b := &bench{keys: &keyring{}, stage: &stage{}, policies: policies}
	var err error
	b.trial, err = proxy.NewTrial(cfg, func(env *policy.Env) { env.Keys, env.Service = b.keys.Keys, b.stage })
	return b, err
}

// try decides about the n-th of the requests.
func (b *bench) try(ctx context.Context, r *Request, n int, now time.Time, all bool) (*proxy.Outcome, error) {
	req, err := r.make(n, now, b.keys)
	if err != nil {
		return nil, err
	}
	req.Policies, req.All, b.stage.service = b.policies, all, r.ForwardAuth
	return b.trial.Try(ctx, req)
}

// connect makes the further connections of a test, which release ends.
func (b *bench) connect(ctx context.Context, t *Test, p *playing, r *Result) (release func(), err error) {
	var held []*policy.Admission
	release = func() {
		for _, a := range held {
			a.Release()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Connections)) {
		request := t.Connections[name]
		out, err := b.try(ctx, &request, 0, p.now, false)
		if err != nil {
			return release, err
		}
		if out.Admission != nil {
			held = append(held, out.Admission)
		}
		r.Trace = append(r.Trace, steps(out)...)
		if out.Status != 0 {
			r.Failures = append(r.Failures, Failure{strictyaml.Key("connections", name), "admit", "refuse " + out.Reason})
			continue
		}
		p.add(name, out)
	}
	return release, nil
}

// steps lists what each rule said.
func steps(out *proxy.Outcome) []Step {
	if out.Admission == nil {
		return nil
	}
	list := make([]Step, len(out.Admission.Decisions))
	for i, d := range out.Admission.Decisions {
		list[i] = Step{Policy: d.Policy, Rule: d.Name, Outcome: d.Outcome()}
		if d.Refusal != nil {
			list[i].Status, list[i].Reason = d.Refusal.Status, d.Refusal.Reason
		}
	}
	return list
}

// plain reports whether the request is no handshake.
func (r *Request) plain() bool { return len(r.URL) > 4 && r.URL[:4] == "http" }

// compare returns what is not as expected.
func (e *Expect) compare(plain bool, out *proxy.Outcome) []Failure {
	c := &comparison{}
	decision, status := "admit", http.StatusSwitchingProtocols
	var by policy.Decision
	if out.Status != 0 {
		decision, status = "refuse", out.Status
	} else if plain {
		status = http.StatusOK
	}
	if out.Admission != nil {
		if d := out.Admission.Refused(); d != nil {
			by = *d
		}
		c.text("user", e.User, out.Admission.User)
	}
	if e.Decision != decision {
		c.differ("decision", e.Decision, strings.TrimSpace(decision+" "+out.Reason))
	}
	if e.Status != 0 {
		c.text("status", strconv.Itoa(e.Status), strconv.Itoa(status))
	}
	c.text("route", e.Route, out.Route)
	c.text("policy", e.Policy, by.Policy)
	c.text("rule", e.Rule, by.Name)
	if e.WouldRefuse != nil {
		c.list("would_refuse", e.WouldRefuse, wouldRefuse(out))
	}
	if out.Status == 0 {
		e.compareRequest(c, out)
	}
	return c.failures
}

// compareRequest compares what the upstream gets.
func (e *Expect) compareRequest(c *comparison, out *proxy.Outcome) {
	for name, want := range e.Headers {
		if got := out.Header.Get(name); got != want {
			c.differ("headers."+name, want, got)
		}
	}
	if e.Query != nil && *e.Query != out.Query {
		c.differ("query", *e.Query, out.Query)
	}
	if e.Subprotocols != nil {
		c.list("subprotocols", e.Subprotocols, out.Subprotocols)
	}
}

// wouldRefuse lists the rules in shadow mode that would have refused.
func wouldRefuse(out *proxy.Outcome) (names []string) {
	for _, s := range steps(out) {
		if s.Outcome == policy.OutcomeWouldRefuse {
			names = append(names, s.Policy+"/"+s.Rule)
		}
	}
	return names
}

// A comparison collects what differs.
type comparison struct{ failures []Failure }

func (c *comparison) differ(what, want, got string) {
	c.failures = append(c.failures, Failure{what, want, got})
}

// text compares a value, of which "" may be anything.
func (c *comparison) text(what, want, got string) {
	if want != "" && want != got {
		c.differ(what, want, got)
	}
}

func (c *comparison) list(what string, want, got []string) {
	if !slices.Equal(want, got) {
		c.differ(what, fmt.Sprintf("%q", want), fmt.Sprintf("%q", got))
	}
}
