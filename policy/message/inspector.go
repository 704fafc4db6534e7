package message

import (
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/framegate/framegate/policy/operation"
)

// Session is what is known of a connection whose messages of one side are inspected, and what rules remember of it. The exported fields are set
// before the first message and stay. It is not safe for concurrent use.
type Session struct {
	Claims      map[string]any // of the verified token; nil without one
	Address     string         // of the client
	Route       string
	Subprotocol string // agreed, empty if none

	memory *memory // nil until something has to be remembered
}

// memory is what has to be known of the messages before.
type memory struct {
	counts []int // of the latest message, parallel to Inspector.limits
	stream operation.Stream
}

// Message is one whole message. The payload must not change during the call, and is not kept.
type Message = operation.Message

// Verdict is what shall happen to a message. Texts are constant or from the configuration, but for Operation.
type Verdict struct {
	Pass   bool
	Rule   string // that refused the message: one of Rules; empty where it passes
	Action Action // to be taken where it does not pass
	Reply  []byte // text for its sender, for the action Reply; must not be changed
	Reason string // fit for the client and the log
	Detail string // for the log only: where in a schema it failed
	// Operation is the name of the operation that was refused, cut to 128 bytes and made printable, for the log only.
	Operation string
	// Operations says of a message that passes how often it holds operations that are limited, by Inspector.Limits. It is valid until the
	// session's next message.
	Operations []int
	Whole      bool     // the message stands for itself; if not it is a piece of a stream, and what follows cannot be read without it
	Shadow     []string // rules of policies in shadow that would have refused it
}

// Inspector holds the rules for the messages of one side. A nil one lets all pass. It never changes and is safe for concurrent use.
type Inspector struct {
	parts   []part
	binary  bool // some part looks at binary messages
	streams bool // some source depends on the messages before
	sources []operation.Source
	bounds  []operation.Bounds // of each source
	limits  []Limit            // of all parts together
	scratch *sync.Pool         // of *inspection
}

// part is what one policy says.
type part struct {
	shadow     bool
	source     int // row of Inspector.sources; -1 where nothing is read
	operations *operations
	firstLimit int // of its operations, in Inspector.limits
	json       *jsonRule
	deny       []denyRule
	conditions []conditionRule
}

// reaction is a rule's name and what it does.
type reaction struct {
	rule   string
	action Action
	reply  []byte
}

// refusal is the outcome of a rule that does not let a message pass.
type refusal struct {
	reaction
	reason, detail string
	operation      []byte
}

// inspection is the state of one call of Inspect. It is reused.
type inspection struct {
	*Inspector
	session *Session
	memory  *memory // of the session, or blank
	blank   memory  // of sessions that need none, which stays as it is
	message Message
	now     time.Time
	readers []*operation.Reader // of each source
	done    []bool              // which of them have read the message
	rulings []ruling            // about each call, of the policy that is asked
	whole   [1]operation.Call   // for rules without operations
	vars    map[string]any
	fields  map[string]any // of the variable message
}

// Reads says whether messages of a type have to be inspected at all. The others may pass without being gathered.
func (i *Inspector) Reads(text bool) bool { return i != nil && (text || i.binary) }

// Inspect judges one message of a session at a time. Messages that Reads excludes need not be shown; all others must, in their order.
func (i *Inspector) Inspect(s *Session, m Message, now time.Time) Verdict {
	if !i.Reads(m.Text) {
		return Verdict{Pass: true, Whole: true}
	}
	in := i.scratch.Get().(*inspection)
	in.begin(s, m, now)
	v := in.judge()
	in.end()
	i.scratch.Put(in)
	return v
}

func (i *Inspector) newInspection() any {
	in := &inspection{Inspector: i, done: make([]bool, len(i.sources)), whole: [1]operation.Call{{Element: -1}}}
	in.vars, in.fields = map[string]any{}, map[string]any{}
	for k, source := range i.sources {
		in.readers = append(in.readers, operation.NewReader(source, i.bounds[k]))
	}
	return in
}

func (in *inspection) begin(s *Session, m Message, now time.Time) {
	in.session, in.message, in.now = s, m, now
	if s.memory == nil && (in.streams || len(in.limits) > 0) {
		s.memory = &memory{}
	}
	if in.memory = s.memory; in.memory == nil {
		in.memory = &in.blank
	} else if len(in.memory.counts) != len(in.limits) {
		in.memory.counts = make([]int, len(in.limits))
	}
	clear(in.memory.counts)
}

// end lets go of everything that belongs to the message.
func (in *inspection) end() {
	for k := range in.readers {
		if in.done[k] {
			in.readers[k].Release()
			in.done[k] = false
		}
	}
	in.session, in.memory, in.message = nil, nil, Message{}
	clear(in.vars)
	clear(in.fields)
}

// judge asks every policy in turn.
func (in *inspection) judge() Verdict {
	v := Verdict{Pass: true}
	aligned := in.memory.stream.Aligned()
	for k := range in.parts {
		p := &in.parts[k]
		refused, ok := in.ask(p)
		switch {
		case ok:
		case p.shadow:
			v.Shadow = append(v.Shadow, refused.rule)
		default:
			v.Pass, v.Rule, v.Action, v.Reply = false, refused.rule, refused.action, refused.reply
			v.Reason, v.Detail, v.Operation = refused.reason, refused.detail, printable(refused.operation)
			if v.Whole = aligned && in.memory.stream.Aligned(); !v.Whole {
				v.Action, v.Reply = Close, nil // a stream of packets cannot miss a piece
			}
			return v
		}
	}
	v.Operations, v.Whole = in.memory.counts, aligned && in.memory.stream.Aligned()
	return v
}

// ask holds the message against one policy.
func (in *inspection) ask(p *part) (refusal, bool) {
	in.rulings = in.rulings[:0]
	if j := p.json; j != nil && len(in.message.Payload) > j.maxSize && (in.message.Text || !j.passBinary) {
		return refusal{reaction: j.reaction, reason: "message too large for JSON"}, false
	}
	r := in.read(p)
	if refused, ok := in.checkJSON(p, r); !ok {
		return refused, false
	}
	if refused, ok := in.checkOperations(p, r); !ok {
		return refused, false
	}
	if refused, ok := in.checkDeny(p); !ok {
		return refused, false
	}
	calls := in.calls(p, r)
	if refused, ok := in.checkSchemas(p, r, calls); !ok {
		return refused, false
	}
	return in.checkConditions(p, r, calls)
}

// read returns what the message is to a policy's source, nil if it has none.
func (in *inspection) read(p *part) *operation.Reader {
	if p.source < 0 {
		return nil
	}
	r := in.readers[p.source]
	if !in.done[p.source] {
		in.done[p.source] = true
		r.Read(in.message, &in.memory.stream)
	}
	return r
}

// calls are the operations that a policy's schemas and conditions look at: those of its own source, or the message as a whole.
func (in *inspection) calls(p *part, r *operation.Reader) []operation.Call {
	if p.operations == nil || p.operations.passBinary && !in.message.Text || len(r.Calls) == 0 {
		return in.whole[:]
	}
	return r.Calls
}

// Rules lists the names of all rules, in the order in which they are asked.
func (i *Inspector) Rules() []string {
	var names []string
	if i == nil {
		return nil
	}
	for k := range i.parts {
		i.parts[k].each(func(r *reaction) { names = append(names, r.rule) })
	}
	return names
}

// each visits all rules of a policy.
func (p *part) each(visit func(*reaction)) {
	if p.json != nil {
		visit(&p.json.reaction)
	}
	if p.operations != nil {
		visit(&p.operations.reaction)
	}
	for k := range p.deny {
		visit(&p.deny[k].reaction)
	}
	if p.json != nil && p.json.schemas != nil {
		visit(&p.json.schemas.reaction)
	}
	for k := range p.conditions {
		visit(&p.conditions[k].reaction)
	}
}

// printable cuts a name for the log and takes out what might not be read there as it is.
func printable(name []byte) string {
	const longest = 128
	var text []byte
	for len(name) > 0 {
		r, size := utf8.DecodeRune(name)
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			r = '.'
		}
		if len(text)+utf8.RuneLen(r) > longest {
			break
		}
		text = utf8.AppendRune(text, r)
		name = name[size:]
	}
	return string(text)
}
