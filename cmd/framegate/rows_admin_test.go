package main_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// TestRowsAdmin looks at the admin listener from a browser's and an attacker's side: as far as it has
// health and metrics alone.
func TestRowsAdmin(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{})
	ask := func(method, target string, fields ...string) *wstest.Request {
		return &wstest.Request{Line: method + " " + target + " HTTP/1.1", Fields: append([]string{"Host: " + g.Admin}, fields...)}
	}
	upgrade := []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + wstest.HS0Key}
	rows := []struct {
		name    string
		request *wstest.Request
		want    []int
	}{
		{"health", ask("GET", "/healthz"), status(200)},
		{"readiness", ask("GET", "/readyz"), status(200)},
		{"A-10/upgrade", ask("GET", "/metrics", upgrade...), status(400, 404)},
		{"A-10/upgrade of health", ask("GET", "/healthz", upgrade...), status(400, 404)},
		{"A-02/rebinding", ask("GET", "/metrics").With("Host", "evil.test"), status(403, 421)},
		{"A-02/rebinding with the port", ask("GET", "/metrics").With("Host", "evil.test:"+wstest.Port(t, g.Admin)), status(403, 421)},
		{"A-02/no Host", ask("GET", "/metrics").Without("Host"), status(400, 403)},
		{"A-03/origin", ask("GET", "/metrics", "Origin: https://evil.test"), status(403)},
		{"A-03/null origin", ask("GET", "/metrics", "Origin: null"), status(403)},
		{"A-03/no-cors", ask("GET", "/metrics", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Site: cross-site"), status(403)},
		{"A-06/unknown", ask("GET", "/config"), status(404)},
		{"A-06/root", ask("GET", "/"), status(404)},
		{"A-06/profiles", ask("GET", "/debug/pprof/"), status(404)},
		{"A-06/variables", ask("GET", "/debug/vars"), status(404)},
		{"A-06/dots", ask("GET", "/metrics/../config"), status(301, 307, 400, 404)},
		{"A-06/two slashes", ask("GET", "//metrics"), status(301, 307, 400, 404)},
		{"A-06/below", ask("GET", "/metrics/x"), status(404)},
		{"A-07/post", ask("POST", "/metrics", "Content-Length: 5").Then("hello"), status(404, 405)},
		{"A-07/delete", ask("DELETE", "/healthz"), status(404, 405)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := wstest.Dial(t, g.Admin)
			c.Send(row.request.Add("Connection: close").Bytes())
			resp := c.Head()
			ok := false
			for _, want := range row.want {
				ok = ok || resp.Status == want
			}
			if !ok {
				t.Errorf("got %q, want %v", resp.Line, row.want)
			}
		})
	}
	t.Run("R-01/slow head", func(t *testing.T) {
		c := wstest.Dial(t, g.Admin)
		c.Send([]byte("GET /metrics HTTP/1.1\r\n"))
		c.ExpectEnd(12 * time.Second)
	})
	t.Run("A-09/nothing of a client is in the metrics", func(t *testing.T) {
		for i := range 50 {
			c := wstest.Dial(t, g.Addr)
			c.Send(wstest.HS0(fmt.Sprintf("/nowhere/%d", i)).With("Host", fmt.Sprintf("h%d.example", i)).With("Origin", fmt.Sprintf("https://o%d.example", i)).Bytes())
			c.Response()
			c.Close()
		}
		resp, err := http.Get("http://" + g.Admin + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || bytes.Contains(text, []byte("nowhere")) || bytes.Contains(text, []byte(".example\"")) {
			t.Errorf("/metrics names what clients sent: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
}
