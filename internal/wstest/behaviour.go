package wstest

import (
	"fmt"
	"strings"
	"time"
)

// Accept answers the request with a correct 101 and the given additional header lines.
func (u *Upstream) Accept(lines ...string) {
	u.Send(u.Switching(lines...))
}

// Switching returns the correct 101 for the request, with additional header lines.
func (u *Upstream) Switching(lines ...string) []byte {
	return Head("HTTP/1.1 101 Switching Protocols", append([]string{
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Accept: " + AcceptOf(u.Value("Sec-WebSocket-Key")),
	}, lines...)...)
}

// Head joins a start line and header lines to a message head.
func Head(start string, lines ...string) []byte {
	return []byte(strings.Join(append([]string{start}, lines...), "\r\n") + "\r\n\r\n")
}

// Then runs behaviours one after the other.
func Then(steps ...Behaviour) Behaviour {
	return func(u *Upstream) {
		for _, step := range steps {
			step(u)
		}
	}
}

// Accept is the behaviour that answers a correct 101 and then stays silent.
func Accept(lines ...string) Behaviour {
	return func(u *Upstream) { u.Accept(lines...) }
}

// Send is the behaviour that writes bytes as they are.
func Send(b ...[]byte) Behaviour {
	return func(u *Upstream) {
		for _, p := range b {
			u.Send(p)
		}
	}
}

// AcceptAnd is the behaviour that answers a correct 101 and writes bytes in the same segment.
func AcceptAnd(b []byte, lines ...string) Behaviour {
	return func(u *Upstream) { u.Send(append(u.Switching(lines...), b...)) }
}

// AnswerClose is the behaviour that waits for a Close, echoes it and ends the connection, and takes no notice of anything else.
func AnswerClose(u *Upstream) {
	u.EachFrame(func(f Frame) bool {
		if !f.IsClose() {
			return true
		}
		u.Send(ServerFrame(0x88, f.Payload))
		u.CloseWrite()
		return false
	})
}

// Silent is the behaviour of an upstream that never answers.
func Silent(*Upstream) {}

// Hangup ends the connection with FIN, Abort with a TCP reset.
func Hangup(u *Upstream) { u.Close() }

// Abort ends the connection with a TCP reset.
func Abort(u *Upstream) { u.Reset() }

// Page is the behaviour of a web server that answers every request with 200 and the given body, and ends the connection.
func Page(body string) Behaviour {
	return func(u *Upstream) {
		u.Send(append(Head("HTTP/1.1 200 OK", "Content-Type: text/plain", "Connection: close",
			fmt.Sprintf("Content-Length: %d", len(body))), body...))
		u.CloseWrite()
	}
}

// Flood is the behaviour that writes b again and again until total bytes are out or the gateway ends the connection.
func Flood(b []byte, total int) Behaviour {
	return func(u *Upstream) {
		for sent := 0; sent < total; sent += len(b) {
			if u.Send(b) != nil {
				return
			}
		}
	}
}

// Echo is the behaviour of a WebSocket echo server that takes whatever arrives: it answers a correct 101 and sends every frame
// back without its mask, first byte and all. A ping is answered with a pong, a pong is dropped, a Close is echoed and ends the
// connection.
func Echo(u *Upstream) {
	u.Accept()
	EchoFrames(u)
}

// EchoWith is Echo with additional header lines in the 101.
func EchoWith(lines ...string) Behaviour { return Then(Accept(lines...), EchoFrames) }

// EchoFrames is the part of Echo after the 101.
func EchoFrames(u *Upstream) {
	u.EachFrame(func(f Frame) bool {
		switch f.Opcode() {
		case 8:
			u.Send(ServerFrame(f.First, f.Payload))
			u.CloseWrite()
			return false
		case 9:
			return u.Send(ServerFrame(f.First+1, f.Payload)) == nil
		case 10:
			return true
		}
		return u.Send(ServerFrame(f.First, f.Payload)) == nil
	})
}

// EachFrame calls f for every frame after the head as it becomes whole, until f returns false or the connection ends.
func (u *Upstream) EachFrame(f func(Frame) bool) {
	next := u.head // of a frame that has not been seen whole; the head is complete when a behaviour runs
	for {
		var frame Frame
		var n int
		u.await(time.Hour, func() bool {
			frame, n = ParseFrame(u.all[next:])
			return n > 0 || u.end != Open
		})
		if n == 0 || !f(frame) {
			return
		}
		next += n
	}
}
