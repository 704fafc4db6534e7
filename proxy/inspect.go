package proxy

import (
	"strings"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/policy/message"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// An inspector shows the messages of one side of one session to its policies.
type inspector struct {
	content *message.Inspector // nil where only renewals are looked for
	renew   *renewing          // nil for none
	rules   *messageRules
	session *message.Session
	shadow  []relay.Hit
}

// Wants implements relay.Inspector.
func (x *inspector) Wants(kind frame.OpCode) bool {
	return x.renew != nil && kind == frame.OpText || x.reads(kind)
}

func (x *inspector) reads(kind frame.OpCode) bool {
	return x.content != nil && x.content.Reads(kind == frame.OpText)
}

// Inspect implements relay.Inspector.
func (x *inspector) Inspect(m relay.Message) relay.Verdict {
	if x.renew != nil && m.Kind == frame.OpText {
		if token, ok := x.renew.Token(m.Payload); ok {
			return x.renew.begin(token)
		}
		if !x.reads(m.Kind) {
			return relay.Verdict{}
		}
	}
	v := x.content.Inspect(x.session, message.Message{Text: m.Kind == frame.OpText, Payload: m.Payload}, m.Now)
	x.shadow = x.shadow[:0]
	for _, name := range v.Shadow {
		// What a rule in shadow would have done besides ending the session is of no interest.
		x.shadow = append(x.shadow, relay.Hit{Action: relay.ActClose, Shadow: true, Rule: x.rules.numbers[name], Times: 1})
	}
	out := relay.Verdict{Shadow: x.shadow, Operations: v.Operations, Firm: !v.Whole}
	if v.Pass {
		return out
	}
	out.Rule, out.Action = x.rules.numbers[v.Rule], actionOf(v.Action)
	out.Cause, out.Reason, out.Reply = relay.Policy, v.Reason, string(v.Reply)
	return out
}

func actionOf(a message.Action) relay.Action {
	switch a {
	case message.Drop:
		return relay.ActDrop
	case message.Reply:
		return relay.ActReply
	}
	return relay.ActClose
}

// inspectors are those of a session, nil where nothing looks into messages.
func (rt *route) inspectors(a *policy.Admission, subprotocol string) (both [2]relay.Inspector) {
	for side := range rt.rules {
		content := rt.policy.Content(relay.Side(side) == relay.Client)
		var renew *renewing
		if r := rt.policy.Renewal(); r != nil && relay.Side(side) == relay.Client {
			renew = &renewing{Renewal: r}
		}
		if content == nil && renew == nil {
			continue
		}
		s := &message.Session{Address: a.Address.String(), Route: rt.name, Subprotocol: strings.Clone(subprotocol)}
		if a.Claims != nil {
			s.Claims = a.Claims.All
		}
		both[side] = &inspector{content: content, renew: renew, rules: &rt.rules[side], session: s}
	}
	return both
}
