// Package demo is the chat application behind `framegate demo`: one page and one WebSocket server, embedded in the
// binary. It is an ordinary application that knows nothing of the gateway in front of it, and some of its commands
// misbehave on purpose, so that a person can watch what the gateway makes of that. It signs its visitors in with tokens,
// but does not ask for them at its WebSocket: that is the gateway's part, which tells it whose they are (token.go).
//
// On its WebSocket, /ws, an application message is one JSON object (see request and event); anything else counts as
// something said, so that every WebSocket client can take part.
package demo

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// maxConnections bounds the WebSocket connections of one App; a further one is answered 503 before the upgrade.
const maxConnections = 256

// App is one chat room with its page. Its methods may be called concurrently.
type App struct {
	log     *slog.Logger
	signer  *signer
	handler http.Handler
	room    room
	huge    []byte // what /huge sends, shared by all queues

	// ctx bounds every read: its end closes what is still open.
	ctx    context.Context
	cancel context.CancelFunc

	mu          sync.Mutex
	closed      bool
	connections map[*member]struct{}
	serving     sync.WaitGroup // one for each element of connections
}

// New makes an App that has no listener of its own: serve its Handler. It logs one line per connection to log, at
// level debug, and never a name or a message. An error says that it has no key to sign with.
func New(log *slog.Logger) (*App, error) {
	signer, err := newSigner()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &App{
		log:         log,
		signer:      signer,
		huge:        bytes.Repeat([]byte("x"), hugeSize),
		ctx:         ctx,
		cancel:      cancel,
		connections: make(map[*member]struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", a.serveSocket)
	mux.HandleFunc("POST /token", a.signIn)
	for path, asset := range pageAssets() {
		mux.Handle("GET "+path, asset)
	}
	a.handler = withPageHeaders(mux)
	return a, nil
}

// Handler serves the page at /, its assets beside it, tokens at /token, and the WebSocket at /ws.
func (a *App) Handler() http.Handler { return a.handler }

// Close ends every WebSocket connection with code 1001 and returns when the last one is gone. When ctx ends first, the
// rest are dropped without further ado, and the error is that of ctx. Connections that come later are answered 503.
func (a *App) Close(ctx context.Context) error {
	defer a.cancel()
	a.mu.Lock()
	a.closed = true
	for m := range a.connections {
		m.end(ending{code: websocket.StatusGoingAway, reason: "the application is shutting down"})
	}
	a.mu.Unlock()

	gone := make(chan struct{})
	go a.waitForConnections(gone)
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		a.cancel()
		<-gone
		return ctx.Err()
	}
}

func (a *App) waitForConnections(gone chan<- struct{}) {
	a.serving.Wait()
	close(gone)
}

// enter counts a connection before it exists, so that Close misses none. It reports false when there is no room left.
func (a *App) enter(m *member) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || len(a.connections) >= maxConnections {
		return false
	}
	a.connections[m] = struct{}{}
	a.serving.Add(1)
	return true
}

func (a *App) exit(m *member) {
	a.mu.Lock()
	delete(a.connections, m)
	a.mu.Unlock()
	a.serving.Done()
}
