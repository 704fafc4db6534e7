package message

import "github.com/framegate/framegate/policy/pattern"

// denyRule is one pattern that no message may match.
type denyRule struct {
	reaction
	pattern *pattern.RE2
	binary  bool // binary messages too
}

// checkDeny holds the payload against the patterns, as it came: in JSON, <script can also be written as \u003cscript, which schemas and
// conditions see through and patterns do not.
func (in *inspection) checkDeny(p *part) (refusal, bool) {
	for _, d := range p.deny {
		if (in.message.Text || d.binary) && d.pattern.Match(in.message.Payload) {
			return refusal{reaction: d.reaction, reason: "message matches a deny pattern"}, false
		}
	}
	return refusal{}, true
}
