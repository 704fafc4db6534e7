package demo

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

const (
	// readLimit is the largest message in bytes that the application takes. It lies above the gateway's default of
	// 1 MiB on purpose: in the demo it is the gateway that says 1009.
	readLimit = 4 << 20

	// queueLength is how many messages may wait for one member before the application gives it up as too slow.
	queueLength = 64

	// subprotocol is what the page offers beside its token: a browser that offers anything wants one thing agreed to.
	subprotocol = "demo.chat"

	helloTimeout = 10 * time.Second // from the upgrade to the first message
	writeTimeout = 5 * time.Second  // for one message
)

// member is one WebSocket connection. Whoever has something for it puts that into queue or ending; only its write loop
// writes to the connection.
type member struct {
	user   string // as the gateway tells it, "" without one
	name   string // guarded by the room's lock, "" before it joined
	queue  chan []byte
	ending chan ending // holds the first ending, the later ones are dropped
}

// ending is how the application ends a connection.
type ending struct {
	code   websocket.StatusCode
	reason string // at most 123 bytes
	abrupt bool   // end TCP without a Close frame; code is -1 and goes nowhere
}

func newMember() *member {
	return &member{queue: make(chan []byte, queueLength), ending: make(chan ending, 1)}
}

// send queues one text message and never blocks: a member whose queue is full is ended with 1008.
func (m *member) send(b []byte) {
	select {
	case m.queue <- b:
	default:
		m.end(ending{code: websocket.StatusPolicyViolation, reason: "reading too slowly"})
	}
}

func (m *member) end(e ending) {
	select {
	case m.ending <- e:
	default:
	}
}

// serveSocket owns one connection from its upgrade to its end.
func (a *App) serveSocket(w http.ResponseWriter, r *http.Request) {
	m := newMember()
	if !a.enter(m) {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "the chat room is full or closing", http.StatusServiceUnavailable)
		return
	}
	defer a.exit(m)

	m.user = r.Header.Get(userHeader)
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}})
	if err != nil {
		a.log.Debug("chat handshake refused", "error", err)
		return // Accept has answered
	}
	conn.SetReadLimit(readLimit)
	began := time.Now()

	ctx, cancel := context.WithCancel(a.ctx) // the request's own context means nothing after the upgrade
	var writer sync.WaitGroup
	var ended *ending // how the application ended it, nil if the client did
	writer.Go(func() { ended = m.writeLoop(ctx, conn) })

	err = a.readLoop(ctx, conn, m)
	a.room.leave(m)
	cancel()
	writer.Wait()
	_ = conn.CloseNow() // only releases: whatever had to be said was said
	side, code := "client", websocket.CloseStatus(err)
	if ended != nil {
		side, code = "application", ended.code
	}
	a.log.Debug("chat connection ended", "side", side, "code", int(code), "duration", time.Since(began))
}

// readLoop handles what the client sends until the connection fails or ends, and returns why.
func (a *App) readLoop(ctx context.Context, conn *websocket.Conn, m *member) error {
	hello, stop := context.WithTimeout(ctx, helloTimeout)
	kind, data, err := conn.Read(hello)
	stop()
	if err != nil {
		return err
	}
	first := parseRequest(kind, data)
	a.room.join(m, cmp.Or(m.user, first.Name))
	if first.Type != requestName {
		a.handle(m, first)
	}
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		a.handle(m, parseRequest(kind, data))
	}
}

func (a *App) handle(m *member, r request) {
	switch {
	case r.Type == requestName:
		a.room.rename(m, r.Name)
	case r.Type == requestBinary:
		m.notice(fmt.Sprintf("A binary message of %s arrived.", sizeText(len(r.Text))))
	case utf8.RuneCountInString(r.Text) > maxText:
		m.notice(fmt.Sprintf("A message of %s arrived. It is too long for the chat, and nothing in front of the "+
			"application has stopped it.", sizeText(len(r.Text))))
	case r.Text == "":
	case r.Text[0] == '/':
		a.command(m, r.Text)
	default:
		a.room.say(m, r.Text)
	}
}

// writeLoop is the only writer of conn. It returns when ctx ends, after a failed write, or after an ending, which it
// returns.
func (m *member) writeLoop(ctx context.Context, conn *websocket.Conn) *ending {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-m.ending:
			if e.abrupt {
				_ = conn.CloseNow()
			} else {
				_ = conn.Close(e.code, e.reason) // waits for the answer, 5 s at most
			}
			return &e
		case b := <-m.queue:
			if err := writeMessage(ctx, conn, b); err != nil {
				_ = conn.CloseNow() // makes the read loop return as well
				return nil
			}
		}
	}
}

func writeMessage(ctx context.Context, conn *websocket.Conn, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, b)
}

func sizeText(n int) string {
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d KiB", n/1024)
}
