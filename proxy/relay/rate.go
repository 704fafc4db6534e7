package relay

import (
	"errors"
	"fmt"
	"math"
)

// A Unit is what a Rate counts.
type Unit uint8

// The units. Messages and Bytes count data only; Frames counts control frames
// as well, but for Close, which is always welcome.
const (
	Messages Unit = iota
	Bytes         // payload; inflated where the session inflates
	Frames
)

// An Action says what becomes of a message that a rule refuses.
type Action uint8

// The actions. ActPass is that of a rule which refuses nothing.
const (
	ActPass  Action = iota
	ActClose        // the session ends
	ActDrop         // the message vanishes whole
	ActDelay        // its sender is not read until there is room
	ActReply        // it vanishes, and its sender is sent a text message
	ActTake         // it was for the gateway, which may Say something: no rule has refused it; of inspectors alone
)

// String returns the action as the configuration spells it.
func (a Action) String() string { return [...]string{"pass", "close", "drop", "delay", "reply"}[a] }

// A Rate is one limit on how much a side sends in a time: a token bucket that
// is full at first. The rates of a side are asked in order, and the first one
// without room decides. What is refused takes from none of them.
//
// Messages are counted at their first frame. Bytes are counted frame by frame,
// before any payload is read; where they drop or reply, message by message, so
// that none is split: a fragmented message is then gathered (see
// Limits.Memory). A message of more Bytes than Burst never has room: ActDelay
// ends the session then (1008), rather than wait for ever.
type Rate struct {
	Name      string // by which Adopt knows it again; "" for one that it need not know
	Of        Unit
	PerSecond float64
	Burst     int // at least 1; also of a bucket that the session is given
	Action    Action
	Shadow    bool   // counts and reports, refuses nothing
	Rule      uint16 // its name in reports
	Operation int    // counts only this operation of messages (Verdict.Operations), from 1; 0 counts all messages
	Reason    string // of the Close: constant text; "" is that of the unit
	Reply     string // text of ActReply
}

// Validate says what makes the rate impossible. A rate that is not valid
// admits nothing or does not do what it says.
func (r *Rate) Validate() error {
	switch {
	case r.Of > Frames:
		return fmt.Errorf("%d is no unit", r.Of)
	case !(r.PerSecond > 0) || math.IsInf(r.PerSecond, 1):
		return fmt.Errorf("%v per second is no rate, want a positive number", r.PerSecond)
	case r.Burst < 1:
		return fmt.Errorf("burst %d is too small, want at least 1", r.Burst)
	case r.Action == ActPass || r.Action > ActReply:
		return errors.New("a rate needs an action: close, drop, delay or reply")
	case r.Of == Frames && r.Action != ActClose && r.Action != ActDelay:
		return fmt.Errorf("frames cannot be refused by %v, which would split messages, want close or delay", r.Action)
	case r.Operation < 0 || r.Operation > 0 && r.Of != Messages:
		return fmt.Errorf("of operation %d only messages can be counted", r.Operation)
	case r.Action == ActReply && r.Reply == "":
		return errors.New("reply needs a text")
	}
	return nil
}

// whole reports that the rate counts the bytes of a message at its end.
func (r *Rate) whole() bool {
	return r.Of == Bytes && (r.Action == ActDrop || r.Action == ActReply)
}

// reason is what the sender reads where the rate ends the session.
func (r *Rate) reason() string {
	if r.Reason != "" {
		return r.Reason
	}
	return [...]string{Messages: "too many messages", Bytes: "too many bytes", Frames: "too many frames"}[r.Of]
}

// A Hit is one rule that refused something, or would have, in shadow.
type Hit struct {
	Action Action
	Shadow bool
	Rule   uint16 // of Rate or Verdict
	Times  uint16 // at least 1: hits that follow each other are told together
}
