package operation

import (
	"maps"
	"slices"
)

// maxName is how long the name of an operation may be, in bytes. A longer one is no operation of any application.
const maxName = 1 << 10

// Message is one whole message. The payload must not change while it is read.
type Message struct {
	Text    bool // else binary
	Payload []byte
}

// Call is one operation of a message, or what stands in the place of one.
type Call struct {
	State   State
	Name    []byte // valid as long as the payload, until the next message is read
	Element int    // its element of the JSON array that the message is; -1 for the whole
}

// State says whether a Call has a name.
type State uint8

// The states.
const (
	Unnamed State = iota // it has no operation
	Named
	Internal // it belongs to the protocol and is no operation of the application
)

// Problem says why a message has no operations that one could rely on. The text is constant and fit for the client.
type Problem string

// The problems.
const (
	Sound     Problem = "" // there is none
	NotJSON   Problem = "message is not strict JSON"
	Malformed Problem = "message is malformed"
	TooMany   Problem = "too many operations in one message"
	LongName  Problem = "name of operation too long"
	Ambiguous Problem = "name of operation is ambiguous"
)

// protocol is one way to take operations from messages.
type protocol struct {
	json   bool // messages are JSON, or hold it
	binary bool // messages are binary
	wants  func(*want)
	// document returns the JSON in a message; nil is all of it. Where ok is false there is none.
	document func(Message) (text []byte, ok bool)
	calls    func(*Reader, Message) Problem
}

// protocols lists the sources of operations that have a name.
func protocols() map[string]protocol {
	return map[string]protocol{
		"jsonrpc":     {json: true, calls: elementCalls, wants: wantMethods},
		"graphql-ws":  {json: true, calls: graphqlCalls, wants: wantTypes},
		"socket.io":   {json: true, calls: socketIOCalls, document: socketIODocument, wants: func(w *want) { w.add(name, step{name: "0"}) }},
		"stomp":       {calls: stompCalls},
		"mqtt":        {binary: true, calls: mqttCalls},
		"mqtt-topics": {binary: true, calls: mqttTopicCalls},
	}
}

// Protocols lists the names that Named takes, sorted.
func Protocols() []string { return slices.Sorted(maps.Keys(protocols())) }

// Source is a place in messages where operations are named. It never changes.
type Source struct {
	protocol
	id   string
	want *want
}

// Protocol returns the source of a protocol that Protocols lists.
func Protocol(name string) (Source, bool) {
	p, ok := protocols()[name]
	return newSource(name, p), ok
}

// Pointer returns the source for a text, number or boolean in a JSON message, by a JSON pointer (RFC 6901) below the root. Other messages have
// no operation.
func Pointer(pointer string) (Source, error) {
	path, err := parsePointer(pointer)
	return newSource("json "+pointer, protocol{json: true, calls: pointerCalls, wants: func(w *want) { w.add(name, path...) }}), err
}

// None returns a source that reads JSON messages and finds no operation in them.
func None() Source { return newSource("json", protocol{json: true, calls: pointerCalls}) }

func newSource(id string, p protocol) Source {
	s := Source{protocol: p, id: id, want: &want{}}
	if p.wants != nil {
		p.wants(s.want)
	}
	return s
}

// String names the source; it is the same for sources that are the same.
func (s Source) String() string { return s.id }

// JSON says that messages are JSON or, if not whole, hold it in some of their packets.
func (s Source) JSON() (json, whole bool) { return s.json, s.json && s.document == nil }

// Binary says that the protocol's messages are binary.
func (s Source) Binary() bool { return s.binary }
