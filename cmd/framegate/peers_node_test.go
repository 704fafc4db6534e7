package main_test

import "testing"

// clientOptions are the options of the client scripts.
type clientOptions struct {
	URL             string `json:"url"`
	Deflate         bool   `json:"deflate"`
	Declined        bool   `json:"declined"`        // the offer of permessage-deflate is not accepted
	Sizes           []int  `json:"sizes"`           // of the messages in one frame
	FragmentedSizes []int  `json:"fragmentedSizes"` // of the messages in several
	CutCode         int    `json:"cutCode"`
	WeakUpstream    bool   `json:"weakUpstream"` // its compressor finds only a part of what it could
}

type upstreamOptions struct {
	Deflate bool `json:"deflate"`
	Port    int  `json:"port"`
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
		// 16 MiB once; deflated it is Chromium that sends as much.
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
