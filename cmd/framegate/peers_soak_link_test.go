package main_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/gobwas/ws"
)

// traffic is the sequence of messages that one side of a connection sends. Both sides can compute each message of it, so that the
// receiver notices any that is lost, doubled, out of order or changed.
type traffic struct {
	conn       uint64
	fromClient bool
}

// message returns the message of that number: its type, size and content are random but the same at each call.
func (t traffic) message(number uint64) (ws.OpCode, []byte) {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], t.conn)
	binary.LittleEndian.PutUint64(seed[8:], number)
	if t.fromClient {
		seed[16] = 1
	}
	source := rand.NewChaCha8(seed)
	dice := rand.New(source)
	size := dice.IntN(2 << dice.IntN(13)) // small ones are as frequent as those of some KiB
	if dice.IntN(200) == 0 {
		size = dice.IntN(256 * kib)
	}
	mark := fmt.Appendf(nil, "#%d %d %v;", t.conn, number, t.fromClient)
	payload := make([]byte, len(mark)+size)
	copy(payload, mark)
	content := payload[len(mark):]
	source.Read(content)
	if dice.IntN(2) == 0 {
		return ws.OpBinary, payload
	}
	for i := range content {
		content[i] = ' ' + content[i]&63
	}
	for i := 0; i+4 <= len(content); i += 97 {
		copy(content[i:], "😀") // characters for fragments and chops to cut
	}
	return ws.OpText, payload
}

// link is one end of a WebSocket connection over raw bytes: it cuts messages into frames and frames into writes.
type link struct {
	conn     net.Conn
	reader   *bufio.Reader
	isClient bool
	dice     *rand.Rand // of the writing goroutine
	sends    traffic
	receives traffic
	sent     uint64
	received uint64
	partial  []byte // the message of which only some frames have come
	opened   ws.OpCode
}

func newLink(conn net.Conn, buffered *bufio.Reader, isClient bool, id uint64) *link {
	if buffered == nil {
		buffered = bufio.NewReader(conn)
	}
	return &link{
		conn: conn, reader: buffered, isClient: isClient, dice: rand.New(rand.NewPCG(id, rand.Uint64())),
		sends: traffic{id, isClient}, receives: traffic{id, !isClient},
	}
}

// frame encodes one frame, masked on the client's side.
func (l *link) frame(op ws.OpCode, fin bool, payload []byte) []byte {
	header := ws.Header{Fin: fin, OpCode: op, Length: int64(len(payload)), Masked: l.isClient}
	if l.isClient {
		header.Mask = ws.NewMask()
	}
	var b bytes.Buffer
	if err := ws.WriteHeader(&b, header); err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	start := b.Len()
	b.Write(payload)
	if l.isClient {
		ws.Cipher(b.Bytes()[start:], header.Mask, 0)
	}
	return b.Bytes()
}

// chop writes b in up to six pieces, some of them of one byte.
func (l *link) chop(b []byte) error {
	for pieces := 1 + l.dice.IntN(6); pieces > 1 && len(b) > 1; pieces-- {
		n := 1
		if l.dice.IntN(3) > 0 {
			n = 1 + l.dice.IntN(len(b)-1)
		}
		if _, err := l.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	_, err := l.conn.Write(b)
	return err
}

// sendMessage writes one message in up to six frames. Now and then all frames go in one chopped write, as if a proxy had joined them.
func (l *link) sendMessage(op ws.OpCode, payload []byte, between func() error) error {
	fragments := 1
	if l.dice.IntN(2) == 0 {
		fragments += l.dice.IntN(6)
	}
	joined := l.dice.IntN(4) == 0 && between == nil
	var wire []byte
	from := 0
	for i, to := range cuts(len(payload), fragments) {
		wire = append(wire, l.frame(op, i == fragments-1, payload[from:to])...)
		from, op = to, ws.OpContinuation
		if joined && i < fragments-1 {
			continue
		}
		if err := l.chop(wire); err != nil {
			return err
		}
		wire = wire[:0]
		if i == 0 && between != nil {
			if err := between(); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendNext sends the next message of this end's traffic.
func (l *link) sendNext(between func() error) error {
	op, payload := l.sends.message(l.sent)
	l.sent++
	return l.sendMessage(op, payload, between)
}

func (l *link) sendClose(code ws.StatusCode, reason string) error {
	return l.chop(l.frame(ws.OpClose, true, ws.NewCloseFrameBody(code, reason)))
}

// linkEvent is what an end receives.
type linkEvent struct {
	op      ws.OpCode // OpText, OpBinary for a whole message; OpPing, OpPong, OpClose
	payload []byte
}

// next reads up to the next whole message or control frame. It refuses what a gateway must not let through.
func (l *link) next() (linkEvent, error) {
	for {
		header, err := ws.ReadHeader(l.reader)
		if err != nil {
			return linkEvent{}, err
		}
		if header.Masked == l.isClient || header.Rsv != 0 {
			return linkEvent{}, fmt.Errorf("illegal frame header %+v", header)
		}
		payload := make([]byte, header.Length)
		if _, err := io.ReadFull(l.reader, payload); err != nil {
			return linkEvent{}, fmt.Errorf("inside of a frame: %w", io.ErrUnexpectedEOF)
		}
		if header.Masked {
			ws.Cipher(payload, header.Mask, 0)
		}
		if header.OpCode.IsControl() {
			return linkEvent{header.OpCode, payload}, nil
		}
		if (header.OpCode == ws.OpContinuation) != (l.opened != 0) {
			return linkEvent{}, fmt.Errorf("illegal fragment %+v", header)
		}
		if header.OpCode != ws.OpContinuation {
			l.opened = header.OpCode
		}
		l.partial = append(l.partial, payload...)
		if !header.Fin {
			continue
		}
		event := linkEvent{l.opened, l.partial}
		l.opened, l.partial = 0, nil
		return event, nil
	}
}

// accept compares a message with the next one of the other end's traffic.
func (l *link) accept(event linkEvent) error {
	op, want := l.receives.message(l.received)
	if event.op != op || !bytes.Equal(event.payload, want) {
		const most = 40
		return fmt.Errorf("message %d of connection %d: got %d bytes of %v starting %q, want %d bytes of %v starting %q", l.received,
			l.sends.conn, len(event.payload), event.op, event.payload[:min(most, len(event.payload))], len(want), op,
			want[:min(most, len(want))])
	}
	l.received++
	return nil
}

// cut ends the TCP connection with an RST, or with a FIN, but without a Close and without TLS's close_notify.
func (l *link) cut(reset bool) {
	tcp := tcpOf(l.conn)
	if reset {
		tcp.SetLinger(0)
	}
	tcp.Close()
}

func tcpOf(conn net.Conn) *net.TCPConn {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = wrapped.NetConn()
	}
	return conn.(*net.TCPConn)
}

// pace returns a random duration of the given mean.
func (l *link) pace(mean time.Duration) time.Duration {
	return time.Duration(l.dice.Int64N(int64(2 * mean)))
}
