package message

import (
	"github.com/framegate/framegate/policy/operation"
	"github.com/framegate/framegate/policy/schema"
)

// jsonRule is the compiled section json.
type jsonRule struct {
	reaction
	maxDepth   int
	maxSize    int // bytes
	passBinary bool
	schemas    *schemaRule
}

// schemaRule holds the schemas.
type schemaRule struct {
	reaction
	all          *schema.Schema
	operations   []*schema.Schema // in the order of operations.schemas
	subprotocols map[string]*schema.Schema
}

// checkJSON demands that the message is strict JSON. Of a protocol that only carries JSON, packets that carry none pass.
func (in *inspection) checkJSON(p *part, r *operation.Reader) (refusal, bool) {
	j := p.json
	reason := ""
	switch {
	case j == nil || j.passBinary && !in.message.Text || r.Absent:
		return refusal{}, true
	case r.Deep(), r.Err == nil && r.Depth > j.maxDepth:
		reason = "JSON nested too deep"
	case r.Err != nil:
		reason = string(operation.NotJSON)
	default:
		return refusal{}, true
	}
	return refusal{reaction: j.reaction, reason: reason}, false
}

// checkSchemas holds the JSON of each operation against its schemas.
func (in *inspection) checkSchemas(p *part, r *operation.Reader, calls []operation.Call) (refusal, bool) {
	if p.json == nil || p.json.schemas == nil || p.json.passBinary && !in.message.Text || r.Absent {
		return refusal{}, true
	}
	rule, budget := p.json.schemas, schema.NewBudget(len(in.message.Payload))
	for k, c := range calls {
		value := r.Value(c)
		refused, ok := rule.check(rule.all, value, c, &budget)
		if ok {
			refused, ok = rule.check(rule.subprotocols[in.session.Subprotocol], value, c, &budget)
		}
		if ok && c.State == operation.Named {
			refused, ok = rule.checkOperation(in.rulings[k].schemas, value, c, &budget)
		}
		if !ok {
			return refused, false
		}
	}
	return refusal{}, true
}

func (s *schemaRule) checkOperation(rows uint64, value any, c operation.Call, budget *schema.Budget) (refusal, bool) {
	for k, sch := range s.operations {
		if rows>>k&1 == 0 {
			continue
		}
		if refused, ok := s.check(sch, value, c, budget); !ok {
			return refused, false
		}
	}
	return refusal{}, true
}

// check holds a value against one schema, which may be nil.
func (s *schemaRule) check(sch *schema.Schema, value any, c operation.Call, budget *schema.Budget) (refusal, bool) {
	if sch == nil {
		return refusal{}, true
	}
	outcome, where := sch.Check(value, budget)
	switch outcome {
	case schema.Valid:
		return refusal{}, true
	case schema.Costly:
		return refusal{s.reaction, "message too costly to check", where, c.Name}, false
	}
	return refusal{s.reaction, "message does not match its schema", where, c.Name}, false
}
