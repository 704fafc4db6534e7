package message

import (
	"github.com/framegate/framegate/policy/condition"
	"github.com/framegate/framegate/policy/operation"
)

// conditionRule is one condition that every message must meet.
type conditionRule struct {
	reaction
	condition            *condition.Condition
	readsJSON, readsText bool
}

// checkConditions evaluates the conditions for each operation of the message. One that cannot be decided does not hold.
func (in *inspection) checkConditions(p *part, r *operation.Reader, calls []operation.Call) (refusal, bool) {
	if len(p.conditions) == 0 {
		return refusal{}, true
	}
	in.setVars()
	for _, c := range calls {
		in.fields["operation"] = string(c.Name)
		if r != nil {
			in.fields["json"] = r.Value(c)
		}
		for _, rule := range p.conditions {
			if rule.readsText && in.message.Text && in.fields["text"] == nil {
				in.fields["text"] = string(in.message.Payload)
			}
			reason := rule.judge(in.vars)
			if rule.readsJSON && r.Doubtful { // the application may see in it what the condition cannot
				reason = "condition cannot be decided"
			}
			if reason != "" {
				return refusal{reaction: rule.reaction, reason: reason, operation: c.Name}, false
			}
		}
	}
	return refusal{}, true
}

// judge returns why a message may not pass, "" if it may.
func (c *conditionRule) judge(vars map[string]any) string {
	switch holds, err := c.condition.Holds(vars); {
	case err != nil:
		return "condition cannot be decided"
	case !holds:
		return "condition not met"
	}
	return ""
}

// setVars makes what is the same for all operations.
func (in *inspection) setVars() {
	if in.vars["now"] != nil {
		return // an earlier policy did
	}
	in.fields["type"] = "binary"
	if in.message.Text {
		in.fields["type"] = "text"
	}
	in.fields["size"] = int64(len(in.message.Payload))
	claims := in.session.Claims
	if claims == nil {
		claims = map[string]any{}
	}
	in.vars["message"], in.vars["claims"], in.vars["route"], in.vars["now"] = in.fields, claims, in.session.Route, in.now
	in.vars["client"] = map[string]any{"address": in.session.Address}
}
