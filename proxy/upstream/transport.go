package upstream

import (
	"context"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"time"
)

// newTransport makes the transport for plain HTTP requests to servers. It dials like a WebSocket does, so that one place decides how a server is
// reached; for the transport all of them are plain HTTP/1.1 hosts.
func newTransport(servers []*Server) *http.Transport {
	byAddress := make(map[string]*Server, len(servers))
	for _, s := range servers {
		byAddress[s.urlHost] = s
	}
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		s, ok := byAddress[address]
		if !ok {
			return nil, fmt.Errorf("no server %q in this pool", address)
		}
		return s.Dial(ctx)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  nil, // never from the environment: the configuration alone says where requests go
		DialContext:            dial,
		DialTLSContext:         dial,
		Protocols:              &protocols,
		MaxIdleConnsPerHost:    -1,   // none: what a server sends behind an answer reaches nobody else
		DisableCompression:     true, // bodies are relayed as the client and the server have agreed on them
		ResponseHeaderTimeout:  60 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// urlHost makes the host under which the transport's URLs name a server. A socket's path cannot stand in a URL's host; a hash of it under
// .invalid (RFC 6761, section 6.4) can, is stable over reloads, and is no name that could be configured by accident.
func urlHost(t target) string {
	if t.network != "unix" {
		return t.address
	}
	h := fnv.New128a()
	h.Write([]byte(t.address)) // a hash.Hash never fails
	return fmt.Sprintf("unix-%x.invalid:80", h.Sum(nil))
}
