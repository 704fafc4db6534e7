package proxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// keySetText is a set of one key that nobody signs with.
const keySetText = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

// A gateway whose issuer cannot be reached is not ready, and refuses with 503 those who would need its keys. It becomes ready with the keys,
// and stays so when the issuer goes.
func TestReadyWithTheKeys(t *testing.T) {
	t.Parallel()
	var there atomic.Bool
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !there.Load() {
			panic(http.ErrAbortHandler) // ends the connection without an answer
		}
		fmt.Fprint(w, keySetText)
	}))
	defer issuer.Close()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, fmt.Sprintf(`version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes: [{name: app, hosts: [app.example.com], upstream: app, policies: [members]}]
upstreams: {app: {servers: ["ws://%s"]}}
policies: {members: {origin: {allow: ["https://app.example.com"]}, jwt: {issuer: id, audience: chat, jwks_url: "%s", dangerously_allow_http: true}}}
admin: {address: "127.0.0.1:0"}
`, up.Addr(), issuer.URL))
	refused := func(want int) {
		t.Helper()
		c := wstest.Dial(t, g.addr)
		// RFC 8037, appendix A.4: signed with that very key, but of no use here.
		c.Send(wstest.HS0("/").Add("Authorization: Bearer eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc." +
			"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg").Bytes())
		if resp := c.Response(); resp.Status != want {
			t.Errorf("got %q, want %d", resp.Line, want)
		}
	}
	ready := func() float64 { return g.metrics.series(t)["framegate_ready{}"] }
	if status := g.readyz(t); status != http.StatusServiceUnavailable || ready() != 0 {
		t.Errorf("without keys /readyz says %d, the metric %v", status, ready())
	}
	refused(503)

	there.Store(true)
	waitFor(t, "the readiness", func() bool { return g.readyz(t) == http.StatusOK })
	if ready() != 1 {
		t.Errorf("with keys the metric says %v", ready())
	}
	refused(401)
	issuer.Close()
	if status := g.readyz(t); status != http.StatusOK {
		t.Errorf("when the issuer is gone /readyz says %d", status)
	}
	if n := up.Dials(); n > 0 {
		t.Errorf("%d connections reached the upstream", n)
	}
}
