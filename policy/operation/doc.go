// Package operation says what a message is: which operations of the application's protocol it holds, whether it is strict JSON, and which value.
// It is pure: it is given payloads and keeps what it must of a connection in a Stream.
//
// # Sources
//
//	source.go     the table of protocols, and what they have in common
//	want.go       the places in JSON where names stand
//	document.go   one strict walk over a JSON text, for names, value and depth together
//	jsonrpc.go    JSON-RPC 2.0 and graphql-transport-ws, of which the walk finds everything
//	socketio.go   Engine.IO 4 and Socket.IO 5
//	stomp.go      STOMP 1.2
//	mqtt.go       MQTT 3.1.1 and 5
//
// # What must not be told apart from outside
//
// An application that reads a message differently than this package does could be sent what no rule saw. So JSON is strict JSON or a problem:
// no name twice in an object, valid UTF-8, nothing behind it, no number that some parsers round to 0 or infinity. A name that differs only in
// case from one that names the operation is a problem too, since Go's encoding/json takes it for that. Binary messages are read like text: many
// applications parse both alike. What is malformed in a protocol is a problem, never a message without operation.
//
// # Bounds
//
// Work and memory are linear in the size of the message. Names have at most maxName bytes, a message at most Bounds.Calls operations. JSON is
// read once; only if somebody needs its value, it is built in memory, at most 100 bytes for each byte of text. Between messages a Stream keeps
// at most maxHeld bytes of an incomplete MQTT packet.
package operation
