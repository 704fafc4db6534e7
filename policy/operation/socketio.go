package operation

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Packets of Engine.IO 4 and, inside its message, of Socket.IO 5 (https://socket.io/docs/v4/socket-io-protocol).
const (
	engineMessage = '4'

	socketConnect      = '0'
	socketDisconnect   = '1'
	socketEvent        = '2'
	socketAck          = '3'
	socketConnectError = '4'
	socketBinaryEvent  = '5'
	socketBinaryAck    = '6'
)

// socketPacket is the head of a Socket.IO packet: TYPE [ATTACHMENTS -] [NAMESPACE ,] [ACK] [JSON].
type socketPacket struct {
	kind      byte
	namespace []byte // empty for /
	data      []byte // JSON, perhaps none
}

// parseSocketPacket reads what stands behind engineMessage. It is stricter than the reference's parser, to which white space is a digit.
func parseSocketPacket(p []byte) (socketPacket, bool) {
	if len(p) == 0 || p[0] < socketConnect || p[0] > socketBinaryAck {
		return socketPacket{}, false
	}
	packet, p := socketPacket{kind: p[0]}, p[1:]
	if packet.kind >= socketBinaryEvent {
		digits := leadingDigits(p)
		if digits == 0 || digits == len(p) || p[digits] != '-' {
			return socketPacket{}, false
		}
		p = p[digits+1:]
	}
	if len(p) > 0 && p[0] == '/' {
		end := bytes.IndexByte(p, ',')
		if end < 0 {
			end = len(p)
		}
		packet.namespace, p = p[:end], bytes.TrimPrefix(p[end:], []byte(","))
	}
	packet.data = p[leadingDigits(p):]
	return packet, len(packet.data) == 0 || strings.IndexByte(" \t\r\n", packet.data[0]) < 0
}

func leadingDigits(p []byte) int {
	n := 0
	for n < len(p) && p[n] >= '0' && p[n] <= '9' {
		n++
	}
	return n
}

// socketIODocument is the JSON behind the head.
func socketIODocument(m Message) ([]byte, bool) {
	if !m.Text || len(m.Payload) == 0 || m.Payload[0] != engineMessage {
		return nil, false
	}
	packet, ok := parseSocketPacket(m.Payload[1:])
	return packet.data, ok && len(packet.data) > 0
}

// socketIOCalls are those of Engine.IO 4 and Socket.IO: one event, its namespace before it as in /admin:kick. The other packets belong to the
// protocol, and so do binary messages, which are attachments of the event before.
func socketIOCalls(r *Reader, m Message) Problem {
	if !m.Text {
		return r.one(Internal, nil)
	}
	if len(m.Payload) == 0 {
		return Malformed
	}
	switch kind := m.Payload[0]; {
	case kind == 'b', kind >= '0' && kind <= '6' && kind != engineMessage: // 'b' is an attachment in base64
		return r.one(Internal, nil)
	case kind != engineMessage:
		return Malformed
	}
	packet, ok := parseSocketPacket(m.Payload[1:])
	if !ok {
		return Malformed
	}
	if packet.kind != socketEvent && packet.kind != socketBinaryEvent {
		return r.one(Internal, nil)
	}
	if r.json.elements <= 0 || len(r.json.found) == 0 || r.json.found[0].kind != jsontext.KindString && r.json.found[0].kind != jsontext.KindNumber {
		return Malformed // an event is an array that starts with its name
	}
	event := r.json.textOf(r.json.found[0])
	if len(packet.namespace) > 1 {
		event = r.join(packet.namespace, []byte(":"), event)
	}
	return r.one(Named, event)
}
