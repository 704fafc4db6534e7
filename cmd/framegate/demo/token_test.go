package demo

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-jose/go-jose/v4"
)

// post asks for a token.
func (s *site) post(body string) (status int, token string) {
	s.t.Helper()
	response, err := http.Post(s.url+"/token", "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	var got struct{ Token string }
	if response.StatusCode == http.StatusOK {
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
			s.t.Fatal(err)
		}
		if response.Header.Get("Cache-Control") != "no-store" {
			s.t.Error("a token may be cached")
		}
	}
	return response.StatusCode, got.Token
}

// What is signed in is what the published keys verify.
func TestTokens(t *testing.T) {
	s := quietSite(t)
	status, token := s.post(`{"name": "  Grüße\t an   Ada "}`)
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(s.app.Keys(), &keys); err != nil || len(keys.Keys) != 1 || !keys.Keys[0].IsPublic() {
		t.Fatalf("%d keys, public %v, %v", len(keys.Keys), keys.Keys[0].IsPublic(), err)
	}
	payload, err := parsed.Verify(keys.Keys[0])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Iss, Aud, Sub string
		Iat, Exp      int64
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if claims.Iss != issuer || claims.Aud != audience || claims.Sub != "Grüße an Ada" || claims.Exp-claims.Iat != int64(tokenLife/time.Second) {
		t.Errorf("%+v", claims)
	}
	if other := quietSite(t); string(other.app.Keys()) == string(s.app.Keys()) {
		t.Error("two applications have the same key")
	}
}

func TestNoToken(t *testing.T) {
	s := quietSite(t)
	for _, body := range []string{"", "Ada", `{}`, `{"name": " \u0007 "}`, `{"name": 7}`, `{"name": "` + strings.Repeat("a", maxSignIn) + `"}`} {
		if status, _ := s.post(body); status != http.StatusBadRequest {
			t.Errorf("%.20q: status %d, want 400", body, status)
		}
	}
	if response := s.get("/token", nil); response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %s, want 405", response.Status)
	}
}

// Who the gateway says it is counts, not what the page says.
func TestUserOfTheGateway(t *testing.T) {
	s := quietSite(t)
	conn, response, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.url, "http")+"/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{userHeader: {"Ada"}}, Subprotocols: []string{subprotocol},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if response.Header.Get("Sec-WebSocket-Protocol") != subprotocol {
		t.Errorf("%v", response.Header)
	}
	v := &visitor{t: t, conn: conn, ctx: t.Context()}
	v.write(`{"type":"name","name":"Mallory"}`)
	if got := v.next(eventWelcome); got.Name != "Ada" {
		t.Errorf("welcomed as %q", got.Name)
	}
}
