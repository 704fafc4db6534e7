package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// connKey is the key of the connection in the context of a plain request.
type connKey struct{}

// OnConn has a plain request go over a connection, which serves no other one: the transport closes it. The host of the request's URL means
// nothing then.
func OnConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// newTransport makes the transport for plain HTTP requests. It dials nothing: who sends a request has picked a server and reached it, as for a
// WebSocket. For the transport all of them are plain HTTP/1.1 hosts.
func newTransport() *http.Transport {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, ok := ctx.Value(connKey{}).(net.Conn)
		if !ok {
			return nil, errors.New("a plain request without a connection")
		}
		return conn, nil
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  nil, // never from the environment: the configuration alone says where requests go
		DialContext:            dial,
		Protocols:              &protocols,
		MaxIdleConnsPerHost:    -1,   // none: what a server sends behind an answer reaches nobody else
		DisableCompression:     true, // bodies are relayed as the client and the server have agreed on them
		ResponseHeaderTimeout:  60 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}
