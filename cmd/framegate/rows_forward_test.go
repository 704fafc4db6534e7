package main_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// A sessionService knows one session. It keeps what it was asked.
type sessionService struct {
	*httptest.Server
	mu    sync.Mutex
	asked []*http.Request
}

const goodSession = "sid=" + wstest.Canary + "good"

func newSessionService(t *testing.T) *sessionService {
	t.Helper()
	s := &sessionService{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r)
		s.mu.Unlock()
		w.Header().Set("X-Auth-User", "alice")
		w.Header().Set("Set-Cookie", goodSession)
		switch r.Header.Get("Cookie") {
		case goodSession:
			w.WriteHeader(http.StatusNoContent)
		case "sid=banned":
			w.WriteHeader(http.StatusForbidden)
		case "sid=lost":
			http.Redirect(w, r, "/login?back="+wstest.Canary, http.StatusFound)
		case "sid=broken":
			http.Error(w, wstest.Canary, http.StatusInternalServerError)
		default:
			w.Header().Set("WWW-Authenticate", `Session realm="app"`)
			http.Error(w, wstest.Canary, http.StatusUnauthorized)
		}
	}))
	s.Config.SetKeepAlivesEnabled(false) // kept connections would be descriptors that the gateway did not have at first
	t.Cleanup(s.Close)
	return s
}

// last is what the service was asked last.
func (s *sessionService) last() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[len(s.asked)-1]
}

// TestRowsForwardAuth has a service decide about sessions that the gateway cannot read.
func TestRowsForwardAuth(t *testing.T) {
	t.Parallel()
	service := newSessionService(t)
	g := startRows(t, rowSetup{policy: originPolicy + `, forward_auth: {url: "` + service.URL + `/check", response_headers: [X-Auth-User, X-Auth-Role], user_header: X-Auth-User}`})
	with := func(fields ...string) *wstest.Request { return wstest.HS0("/ws/forward?room=7").Add(fields...) }
	g.refuseAll(t, []refusal{
		{"no session", with(), []int{401}},
		{"another session", with("Cookie: sid=" + wstest.Canary), []int{401}},
		{"session that is banned", with("Cookie: sid=banned"), []int{403}},
		{"redirect to a page", with("Cookie: sid=lost"), []int{503}},
		{"service that fails", with("Cookie: sid=broken"), []int{503}},
		{"good session of another page", with("Cookie: "+goodSession).With("Origin", "https://evil.example"), []int{403}},
		{"user in another spelling", with("Cookie: "+goodSession, "X_Auth_User: root"), []int{400}},
		{"user taken out by Connection", with("Cookie: "+goodSession).With("Connection", "Upgrade, Cookie"), []int{400}},
		{"page without a session", wstest.Plain("/page/x").Add("Connection: close"), []int{401}},
	})
	t.Run("challenge", func(t *testing.T) {
		if got := g.refuse(t, with().Bytes(), 401).Get("WWW-Authenticate"); got != `Session realm="app"` {
			t.Errorf("401 with the challenge %q", got)
		}
	})
	t.Run("good session", func(t *testing.T) {
		resp, up := g.admit(t, with("Cookie: "+goodSession, "X-Auth-User: root", "x-auth-role: admin", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Uri: /admin"))
		if got := strings.Join(up.Values("X-Auth-User"), "|") + " " + strings.Join(up.Values("X-Auth-Role"), "|"); got != "alice " {
			t.Errorf("the upstream got user and role %q", got)
		}
		if up.Value("Cookie") != goodSession || resp.Get("Set-Cookie") != "" {
			t.Errorf("the upstream got the cookie %q, the client %q", up.Value("Cookie"), resp.Get("Set-Cookie"))
		}
		h := service.last().Header
		for name, want := range map[string]string{
			"X-Forwarded-Method": "GET", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "app.example.com", "X-Forwarded-Uri": "/ws/forward?room=7",
			"X-Forwarded-For": "127.0.0.1", "Cookie": goodSession, "Origin": "https://app.example.com", "X-Auth-User": "", "Upgrade": "",
			"Sec-Websocket-Key": "",
		} {
			if got := strings.Join(h.Values(name), "|"); got != want {
				t.Errorf("the service got %s: %q, want %q", name, got, want)
			}
		}
	})
	t.Run("outage", func(t *testing.T) {
		service.Close()
		g.refuse(t, with("Cookie: "+goodSession).Bytes(), 503)
	})
}
