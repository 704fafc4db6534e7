package operation

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// maxHeld bounds what is kept of a packet that came in pieces, in bytes: its start as far as the operation depends on it.
const maxHeld = 4 << 10

// Packet types of MQTT 3.1.1 and 5 (section 2.1.2 of both).
const (
	mqttConnect     = 1
	mqttPublish     = 3
	mqttPubrel      = 6
	mqttSubscribe   = 8
	mqttUnsubscribe = 10
)

// mqttNames are the names of the packet types. Acknowledgements and pings belong to the protocol and have none.
func mqttNames(kind byte) string {
	switch kind {
	case mqttConnect:
		return "connect"
	case mqttPublish:
		return "publish"
	case mqttSubscribe:
		return "subscribe"
	case mqttUnsubscribe:
		return "unsubscribe"
	case 14:
		return "disconnect"
	case 15:
		return "auth"
	}
	return ""
}

// mqttStream is the place in one side's stream of packets. Messages of WebSocket may hold several packets or parts of them (MQTT 3.1.1 and 5,
// section 6), and some clients do send a packet in pieces.
type mqttStream struct {
	held []byte // the start of a packet, as far as it came
	left int    // bytes of the current packet that matter no more
	v5   bool   // as CONNECT said
}

// between says that the stream stands between two packets.
func (s *mqttStream) between() bool { return s.left == 0 && len(s.held) == 0 }

func mqttCalls(r *Reader, m Message) Problem      { return r.stream.mqtt.read(r, m, false) }
func mqttTopicCalls(r *Reader, m Message) Problem { return r.stream.mqttTopics.read(r, m, true) }

// read is next, which after a problem starts anew: the connection ends, or the message was only held against a policy in shadow.
func (s *mqttStream) read(r *Reader, m Message, topics bool) Problem {
	problem := s.next(r, m, topics)
	if problem != Sound {
		s.held, s.left = nil, 0
	}
	return problem
}

// next adds the packets whose operation becomes known in this message; of a packet in pieces that is perhaps not the first message.
func (s *mqttStream) next(r *Reader, m Message, topics bool) Problem {
	if m.Text {
		return Malformed // MQTT-6.0.0-1
	}
	p := m.Payload
	for len(p) > 0 {
		if s.left > 0 {
			skipped := min(s.left, len(p))
			s.left -= skipped
			p = p[skipped:]
			continue
		}
		packet, before := p, len(s.held)
		if before > 0 {
			packet = append(s.held, p[:min(len(p), maxHeld-before)]...)
		}
		size, problem := s.packet(r, packet, topics)
		switch {
		case problem != Sound:
			return problem
		case size == 0 && len(packet) >= maxHeld:
			return Malformed // what the operation depends on is never so long
		case size == 0:
			s.held = bytes.Clone(packet)
			return Sound
		}
		used := min(size, len(packet))
		p = p[used-before:]
		s.held, s.left = nil, size-used
	}
	return Sound
}

// packet reads the start of one packet and adds its operations. It returns the size of the whole packet, or 0 if it has to see more of it.
func (s *mqttStream) packet(r *Reader, p []byte, topics bool) (size int, _ Problem) {
	kind, flags := p[0]>>4, p[0]&0xf
	if !validFlags(kind, flags) {
		return 0, Malformed
	}
	length, n := mqttVarint(p[1:])
	switch {
	case n < 0:
		return 0, Malformed
	case n == 0:
		return 0, Sound
	}
	size = 1 + n + length
	body := p[1+n : min(size, len(p))]
	whole := len(body) == length
	name := mqttNames(kind)
	enough, ok := true, true
	switch {
	case name == "":
		return size, r.one(Internal, nil)
	case kind == mqttConnect:
		enough, ok = s.connect(body)
	case !topics:
	case kind == mqttPublish:
		var topic []byte
		if topic, _, enough = mqttText(body); enough {
			return size, r.addTopic(name, topic, "+#\x00")
		}
	case kind == mqttSubscribe, kind == mqttUnsubscribe:
		if whole {
			return size, s.filters(r, kind, body)
		}
		enough = false
	}
	switch {
	case !ok, !enough && whole:
		return 0, Malformed
	case !enough:
		return 0, Sound
	}
	return size, r.one(Named, []byte(name))
}

// validFlags holds the lower half of a packet's first byte against section 2.1.3.
func validFlags(kind, flags byte) bool {
	switch kind {
	case 0:
		return false
	case mqttPublish:
		return flags&0x6 != 0x6 // QoS 3
	case mqttPubrel, mqttSubscribe, mqttUnsubscribe:
		return flags == 0x2
	}
	return flags == 0
}

// mqttVarint reads a variable byte integer of n bytes (section 1.5.5). n is 0 if it is not complete, and -1 if it has more than four bytes.
func mqttVarint(p []byte) (value, n int) {
	for n = range p {
		value |= int(p[n]&0x7f) << (7 * n)
		switch {
		case p[n] < 0x80:
			return value, n + 1
		case n == 3:
			return 0, -1
		}
	}
	return 0, 0
}

// mqttText takes a text with its length before it (section 1.5.4).
func mqttText(p []byte) (text, rest []byte, ok bool) {
	if len(p) < 2 {
		return nil, nil, false
	}
	length := int(binary.BigEndian.Uint16(p))
	if len(p) < 2+length {
		return nil, nil, false
	}
	return p[2 : 2+length], p[2+length:], true
}

// connect takes the version from the start of a CONNECT (section 3.1.2).
func (s *mqttStream) connect(body []byte) (enough, ok bool) {
	protocol, rest, enough := mqttText(body)
	if !enough || len(rest) == 0 {
		return false, len(protocol) <= len("MQIsdp")
	}
	level := rest[0] &^ 0x80 // which marks bridges
	s.v5 = level == 5
	return true, string(protocol) == "MQTT" && (level == 4 || level == 5) || string(protocol) == "MQIsdp" && level == 3
}

// filters adds one operation for each topic filter of a SUBSCRIBE or UNSUBSCRIBE (sections 3.8 and 3.10).
func (s *mqttStream) filters(r *Reader, kind byte, body []byte) Problem {
	const packetID = 2
	if len(body) < packetID {
		return Malformed
	}
	body = body[packetID:]
	if s.v5 {
		properties, n := mqttVarint(body)
		if n <= 0 || len(body) < n+properties {
			return Malformed
		}
		body = body[n+properties:]
	}
	if len(body) == 0 {
		return Malformed // there must be one
	}
	for len(body) > 0 {
		filter, rest, ok := mqttText(body)
		if ok && kind == mqttSubscribe { // options follow
			ok = len(rest) > 0
			rest = rest[min(1, len(rest)):]
		}
		if !ok {
			return Malformed
		}
		if problem := r.addTopic(mqttNames(kind), shared(filter), "\x00"); problem != Sound {
			return problem
		}
		body = rest
	}
	return Sound
}

// shared takes off what makes a filter a shared subscription, $share/GROUP/ (MQTT 5, section 4.8.2): it is about the same topics.
func shared(filter []byte) []byte {
	if group, ok := bytes.CutPrefix(filter, []byte("$share/")); ok {
		if _, rest, ok := bytes.Cut(group, []byte("/")); ok {
			return rest
		}
	}
	return filter
}

// addTopic adds an operation with its topic, which may hold none of some characters.
func (r *Reader) addTopic(name string, topic []byte, without string) Problem {
	if bytes.ContainsAny(topic, without) || !utf8.Valid(topic) {
		return Malformed
	}
	return r.one(Named, r.join([]byte(name), []byte(":"), topic))
}
