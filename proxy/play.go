package proxy

import (
	"time"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// A Play is the session of a Trial's admitted request: it has no connections,
// and a time of its own. What the policies remember of their messages begins
// with it.
type Play struct {
	core  *relay.Session
	rules *[2]messageRules
	now   time.Time
	hits  []PlayedRule
}

// PlayedRule is what a rule about messages did.
type PlayedRule struct {
	policy.Rule
	Action string // close, drop, delay or reply
}

// Played is what became of one message.
type Played struct {
	Action string // pass, drop, delay, reply or close
	Code   int    // of the Close that its sender gets; 0 without one
	Reason string // of the Close
	Rules  []PlayedRule
}

// playedKey masks the messages of clients; nobody sees them.
var playedKey = [4]byte{1, 2, 3, 4}

// Play begins the session of an admitted handshake at a time. The peers of the
// session answer pings, so that only its policies and limits can end it.
func (o *Outcome) Play(now time.Time) *Play {
	limits := *o.route.limits
	limits.PingInterval, limits.IdleTimeout = 0, 0
	subprotocol := ""
	if len(o.Subprotocols) > 0 {
		subprotocol = o.Subprotocols[0]
	}
	grant := &relay.Grant{
		Until: o.Admission.End(), Buckets: o.route.buckets(o.store, o.Admission), Inspectors: o.route.inspectors(o.Admission, subprotocol),
	}
	return &Play{core: relay.New(&limits, grant, now), rules: &o.route.rules, now: now}
}

// Send has one side send a message now: at the time to which Advance has come.
func (p *Play) Send(fromClient, text bool, payload []byte) Played {
	p.hits = nil // of messages before
	from, op := relay.Upstream, frame.OpBinary
	var key *[4]byte
	if fromClient {
		from, key = relay.Client, &playedKey
	}
	if text {
		op = frame.OpText
	}
	if p.core.Ended() {
		return p.verdict(from, relay.Stats{})
	}
	before := p.core.Stats(from)
	// The payload is masked where it is appended.
	p.core.Feed(from, frame.Append(nil, op, payload, key), p.now)
	p.drain()
	return p.verdict(from, before)
}

// Advance lets time pass on all sessions together, in the order in which they
// have something to do: what was delayed goes on.
func Advance(all []*Play, to time.Time) {
	for {
		next := to
		var first *Play
		for _, p := range all {
			if at := p.core.Deadline(); !p.core.Done() && !at.After(next) {
				next, first = at, p
			}
		}
		if first == nil {
			break
		}
		first.tick(next)
	}
	for _, p := range all {
		p.tick(to)
	}
}

func (p *Play) tick(now time.Time) {
	p.now = now
	p.core.Tick(now)
	p.drain()
}

// drain does what the session asks of its driver: everything is written at once.
func (p *Play) drain() {
	for op, ok := p.core.Next(); ok; op, ok = p.core.Next() {
		switch op.Kind {
		case relay.Write:
			p.core.Written(op.Side, len(op.Data), p.now)
		case relay.Report:
			rule := p.rules[op.Side].names[op.Hit.Rule]
			p.hits = append(p.hits, PlayedRule{rule, op.Hit.Action.String()})
		}
	}
}

// verdict says what became of the latest message of a side.
func (p *Play) verdict(from relay.Side, before relay.Stats) Played {
	out := Played{Action: "pass", Rules: p.hits}
	if r := p.core.Result(); p.core.Ended() {
		out.Action, out.Code, out.Reason = "close", int(r.Told[from]), r.Reason
		return out
	}
	if p.core.Stats(from).Messages > before.Messages {
		return out
	}
	for _, hit := range p.hits {
		if !hit.Shadow {
			out.Action = hit.Action
			return out
		}
	}
	out.Action = relay.ActDelay.String() // behind one that is delayed
	return out
}
