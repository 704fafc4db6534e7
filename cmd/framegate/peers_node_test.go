package main_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// clientOptions are the options of the client scripts.
type clientOptions struct {
	URL             string `json:"url"`
	Deflate         bool   `json:"deflate"`
	Declined        bool   `json:"declined"`        // the offer of permessage-deflate is not accepted
	Sizes           []int  `json:"sizes"`           // of the messages in one frame
	FragmentedSizes []int  `json:"fragmentedSizes"` // of the messages in several
	CutCode         int    `json:"cutCode"`
	WeakUpstream    bool   `json:"weakUpstream"` // its compressor finds only a part of what it could
	Lost            bool   `json:"lost"`         // sessions do not stay at their servers
}

type upstreamOptions struct {
	Deflate bool   `json:"deflate"`
	Port    int    `json:"port"`
	Name    string `json:"name"`
}

// startUpstream runs upstream.mjs and returns it with its port.
func startUpstream(t *testing.T, options upstreamOptions) (*peer, int) {
	t.Helper()
	p := startPeer(t, "upstream.mjs", options)
	return p, p.await("listening").Port
}

func TestNodeClients(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, script string
		deflate      bool // at both peers
		route        []string
		declined     bool // the gateway declines compression
		whole, parts int  // the largest messages in one frame and in several
		checks       int  // beside two for each size and pass
		driver       string
	}{
		// 16 MiB once: what is deflated is relayed like all else, and to deflate it takes ten seconds.
		{"ws with permessage-deflate", "client_ws.mjs", true, nil, false, mib, mib, 8, "auto"},
		{"ws without compression", "client_ws.mjs", false, nil, false, 16 * mib, 16 * mib, 8, "auto"},
		{"ws, pings answered", "client_ws.mjs", true, []string{"pings: answer"}, false, 65536, 65536, 8, "auto"},
		{"ws, compression off", "client_ws.mjs", true, []string{"compression: off"}, true, 65536, 65536, 8, "auto"},
		{"ws, goroutines", "client_ws.mjs", true, nil, false, 65536, 65536, 8, "goroutines"},
		{"undici with permessage-deflate", "client_undici.mjs", true, nil, false, mib, mib, 6, "auto"},
		{"undici without compression", "client_undici.mjs", false, nil, false, mib, mib, 6, "auto"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, port := startUpstream(t, upstreamOptions{Deflate: test.deflate})
			edge := newEdgeOn(t, test.driver, port, test.route...)
			whole, parts := sizesTo(test.whole), sizesTo(test.parts)
			client := startPeer(t, test.script, clientOptions{
				URL: edge.WS, Deflate: test.deflate, Declined: test.declined && edge.Gateway != nil,
				Sizes: whole, FragmentedSizes: parts, CutCode: edge.CutCode,
			}, edge.env()...)
			client.verdict(2*(len(whole)+len(parts)) + test.checks)
		})
	}
}

func TestSocketIO(t *testing.T) {
	t.Parallel()
	for driver, deflate := range map[string]bool{"auto": true, "goroutines": false} {
		t.Run(driver, func(t *testing.T) {
			upstream := startPeer(t, "upstream_socketio.mjs", upstreamOptions{Deflate: deflate})
			edge := newEdgeOn(t, driver, upstream.await("listening").Port)
			sizes := sizesTo(mib)
			client := startPeer(t, "client_socketio.mjs", clientOptions{URL: edge.HTTP, Deflate: deflate, Sizes: sizes}, edge.env()...)
			client.verdict(len(sizes) + 4)
		})
	}
}

// Sessions of socket.io over three servers stay where they are, by polling and across the upgrade to a WebSocket, by the gateway's cookie; without
// it they are lost, which shows that the servers know nothing of each other.
func TestSocketIOSticky(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) (servers []*peer, urls []string) {
		for _, name := range []string{"one", "two", "three"} {
			p := startPeer(t, "upstream_socketio.mjs", upstreamOptions{Name: name})
			servers = append(servers, p)
			urls = append(urls, fmt.Sprintf(`"ws://127.0.0.1:%d"`, p.await("listening").Port))
		}
		return servers, urls
	}
	t.Run("with the cookie", func(t *testing.T) { // by the example, of which addresses alone are replaced
		t.Parallel()
		servers, urls := start(t)
		config := strings.Replace(string(must(os.ReadFile("../../examples/sticky/gateway.yaml"))), `"127.0.0.1:8443"`, `"127.0.0.1:0"`, 1)
		for i, url := range urls {
			config = strings.Replace(config, fmt.Sprintf(`"ws://127.0.0.1:%d"`, 3001+i), url, 1)
		}
		g := wstest.Start(t, config)
		client := startPeer(t, "client_sticky.mjs", clientOptions{URL: "https://localhost:" + wstest.Port(t, g.Addr)}, "NODE_EXTRA_CA_CERTS="+g.RootFile())
		client.await("ready")
		servers[0].kill()
		client.say("ended")
		client.verdict(4)
		for _, line := range g.Logs("refused") {
			// A probe of a session whose server has just ended may come to another one, which does not know it; a request may be at the server when it ends.
			if r := line["result"]; r != "upstream_refused" && r != "client_gone" && r != "upstream_unreachable" {
				t.Errorf("refused: %v", line)
			}
		}
	})
	t.Run("without", func(t *testing.T) {
		t.Parallel()
		_, urls := start(t)
		edge := edgeOf(t, "auto", "servers: ["+strings.Join(urls, ", ")+"]", 0)
		startPeer(t, "client_sticky.mjs", clientOptions{URL: edge.HTTP, Lost: true}, edge.env()...).verdict(1)
	})
}
