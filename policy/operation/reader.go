package operation

import (
	"bytes"
	"errors"
)

// Bounds says how much a Reader does.
type Bounds struct {
	Calls int  // the most operations of one message
	Depth int  // how deep JSON may be nested
	Build bool // whether somebody needs the value of JSON
}

// Stream is what has to be known of one side of a connection from one message to the next. The zero Stream is that of a new connection.
type Stream struct {
	mqtt       mqttStream
	mqttTopics mqttStream
}

// Aligned says that no packet is half through: the next message may be left out.
func (s *Stream) Aligned() bool { return s.mqtt.between() && s.mqttTopics.between() }

// Reader reads one message after the other from one source. It is meant to be reused, and not safe for concurrent use.
type Reader struct {
	// What the latest message is. Slices are valid until the next one is read.
	Problem Problem
	Calls   []Call // unless there is a problem
	// Err says why what should be JSON is not strict JSON, or that it is nested too deep (Deep).
	Err   error
	Depth int // of nested arrays and objects

	// Absent says that the message holds no JSON, and by its protocol need not. Doubtful says that it is not strict JSON, but that some parser
	// might find an array or object in it.
	Absent, Doubtful bool

	source Source
	bounds Bounds
	stream *Stream // of the connection
	json   document
	names  []byte // that had to be made
}

// NewReader returns a reader.
func NewReader(s Source, b Bounds) *Reader {
	return &Reader{source: s, bounds: b, json: document{want: s.want, build: b.Build, maxDepth: b.Depth, maxFound: b.Calls + 1}}
}

// Read finds what the next message of a connection is.
func (r *Reader) Read(m Message, stream *Stream) {
	r.Problem, r.Calls, r.Err, r.Depth, r.Absent, r.Doubtful = Sound, r.Calls[:0], nil, 0, true, false
	r.stream, r.names = stream, r.names[:0]
	if r.source.json {
		r.readJSON(m)
	}
	if r.Problem == Sound {
		r.Problem = r.source.calls(r, m)
	}
}

func (r *Reader) readJSON(m Message) {
	text, ok := m.Payload, true
	if r.source.document != nil {
		text, ok = r.source.document(m)
	}
	if !ok {
		r.json.reset()
		return
	}
	r.Absent = false
	r.Err = r.json.read(text)
	switch {
	case r.Err != nil:
		r.Doubtful = r.source.document != nil || bytes.ContainsAny(text, "{[")
		if r.Doubtful { // else no parser, however lax, could find an operation in it
			r.Problem = NotJSON
		}
	case r.json.many:
		r.Problem = TooMany
	case r.json.ambiguous:
		r.Problem = Ambiguous
	}
	r.Depth = r.json.depth
}

// Deep says that JSON is nested deeper than the bounds allow.
func (r *Reader) Deep() bool { return errors.Is(r.Err, errDeep) }

// Value returns the JSON that a call is about, nil if the message is none or the bounds say that nobody needs it. Numbers are float64.
func (r *Reader) Value(c Call) any {
	if items, ok := r.json.value.([]any); ok && c.Element >= 0 && c.Element < len(items) {
		return items[c.Element]
	}
	return r.json.value
}

// Release lets go of the message.
func (r *Reader) Release() {
	const kept = 64 // calls
	r.stream = nil
	r.json.release()
	clear(r.Calls)
	if cap(r.Calls) > kept || cap(r.names) > kept*maxName/8 {
		r.Calls, r.names = nil, nil
	}
}

func (r *Reader) add(c Call) Problem {
	switch {
	case len(r.Calls) == r.bounds.Calls:
		return TooMany
	case len(c.Name) > maxName:
		return LongName
	}
	r.Calls = append(r.Calls, c)
	return Sound
}

// one adds a call that is about the whole message.
func (r *Reader) one(s State, name []byte) Problem {
	return r.add(Call{State: s, Name: name, Element: -1})
}

// join makes a name of parts. It may move the names that were made before, but they keep their old bytes.
func (r *Reader) join(parts ...[]byte) []byte {
	start := len(r.names)
	for _, part := range parts {
		r.names = append(r.names, part...)
	}
	return r.names[start:]
}
