package policy

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// everywhere are all places for tokens.
var everywhere = []TokenSource{{Place: "header"}, {Place: "subprotocol"}, {Cookie: "session"}, {Query: "access_token"}}

// k8s is a token as one subprotocol.
func k8s(token string) string {
	return bearerPrefix + base64.RawURLEncoding.EncodeToString([]byte(token))
}

// tokenRequest is a request with a token in some place.
func tokenRequest(place, token string) Request {
	r := Request{Now: tokenNow, Header: http.Header{"Accept": {"*/*"}}}
	switch place {
	case "header":
		r.Header["Authorization"] = []string{"Bearer " + token}
	case "bearer":
		r.Subprotocols = []string{"bearer", token, "chat.v1"}
	case "k8s":
		r.Subprotocols = []string{"chat.v1", k8s(token)}
	case "cookie":
		r.Header["Cookie"] = []string{"theme=dark; session=" + token + ";lang=en"}
	case "query":
		r.RawQuery = "room=1&access_token=" + token
	}
	return r
}

// TestTokenPlaces finds the token in each place, takes it away from the upstream, and finds it nowhere else than it is configured.
func TestTokenPlaces(t *testing.T) {
	token := tokenOf(t, "id", nil)
	places := map[string]TokenSource{"header": everywhere[0], "bearer": everywhere[1], "k8s": everywhere[1], "cookie": everywhere[2], "query": everywhere[3]}
	for place, source := range places {
		for sentIn := range places {
			r := tokenRequest(sentIn, token)
			a := members(t, JWTConfig{From: []TokenSource{source}}).Admit(context.Background(), &r)
			admitted := a.Refused() == nil
			if admitted != (places[sentIn] == source) {
				t.Errorf("in %s where %s is configured: %+v", sentIn, place, a.Refused())
			}
			if !admitted {
				continue
			}
			h := r.Header.Clone()
			a.Edit(h)
			upstream := fmt.Sprint(h, a.Query(), a.Offered())
			if strings.Contains(upstream, token) || strings.Contains(upstream, "bearer") || h.Get("Accept") == "" {
				t.Errorf("in %s: the upstream gets %s", sentIn, upstream)
			}
			if a.User != "alice" || a.Claims == nil || a.Claims.Subject != "alice" || !a.End().Equal(tokenNow.Add(90*time.Second)) {
				t.Errorf("in %s: user %q, claims %v, end %v", sentIn, a.User, a.Claims, a.End())
			}
		}
	}
}

// TestTokenLeavesTheRest shows what of a request stays when its token is taken away.
func TestTokenLeavesTheRest(t *testing.T) {
	token := tokenOf(t, "id", nil)
	bearer := "Bearer " + token
	sent := tokenRequest("cookie", token).Header.Get("Cookie")
	tests := []struct {
		place, cookie, query, offered, authorization string
		forward                                      bool
	}{
		{place: "header", offered: "[]"},
		{place: "bearer", offered: "[chat.v1]"},
		{place: "k8s", offered: "[chat.v1]"},
		{place: "cookie", offered: "[]", cookie: "theme=dark; lang=en"},
		{place: "query", offered: "[]", query: "room=1"},
		{place: "header", offered: "[]", authorization: bearer, forward: true},
		{place: "bearer", offered: "[chat.v1]", authorization: bearer, forward: true},
		{place: "k8s", offered: "[chat.v1]", authorization: bearer, forward: true},
		{place: "cookie", offered: "[]", cookie: sent, forward: true},
		{place: "query", offered: "[]", query: "room=1", authorization: bearer, forward: true},
	}
	for _, test := range tests {
		r := tokenRequest(test.place, token)
		a := members(t, JWTConfig{From: everywhere, Forward: test.forward}).Admit(context.Background(), &r)
		h := r.Header.Clone()
		a.Edit(h)
		if h.Get("Cookie") != test.cookie || a.Query() != test.query || fmt.Sprint(a.Offered()) != test.offered || h.Get("Authorization") != test.authorization {
			t.Errorf("%s, forward %v: cookie %q, query %q, subprotocols %q, authorization %q",
				test.place, test.forward, h["Cookie"], a.Query(), a.Offered(), h["Authorization"])
		}
	}
}

// TestTokenRequests holds requests against the rules for tokens in them.
func TestTokenRequests(t *testing.T) {
	good, other := tokenOf(t, "id", nil), tokenOf(t, "id", map[string]any{"sub": "bob"})
	header := func(values ...string) Request { return Request{Header: http.Header{"Authorization": values}} }
	cookie := func(values ...string) Request { return Request{Header: http.Header{"Cookie": values}} }
	offers := func(values ...string) Request { return Request{Subprotocols: values} }
	query := func(raw string) Request { return Request{RawQuery: raw} }
	missing := answer{Status: 401, Policy: "members", Rule: "jwt", Reason: "token required"}
	twice := answer{Status: 400, Policy: "members", Rule: "jwt", Reason: "more than one token"}
	invalid := answer{Status: 401, Policy: "members", Rule: "jwt", Reason: "token malformed"}
	admitted := answer{Allow: true}
	both := header("Bearer " + good)
	both.Subprotocols = []string{"bearer", good}
	mixed := header("Basic YTpi")
	mixed.RawQuery = "access_token=" + good
	tests := []struct {
		name    string
		request Request
		want    answer
	}{
		{"J-02 none", Request{}, missing},
		{"J-02 empty", header("Bearer "), missing},
		{"J-02 only the scheme", header("Bearer"), missing},
		{"J-02 Basic", header("Basic YTpi"), missing},
		{"no scheme", header(good), missing},
		{"scheme in small letters", header("bearer " + good), admitted},
		{"two spaces", header("Bearer  " + good), admitted},
		{"a tab", header("Bearer\t" + good), missing},
		{"more behind", header("Bearer " + good + " x"), invalid},
		{"two in one field", header("Bearer " + good + ", Bearer " + good), invalid},
		{"in quotes", header(`Bearer "` + good + `"`), invalid},
		{"J-03 two fields", header("Bearer "+good, "Bearer "+other), twice},
		{"J-03 two fields alike", header("Bearer "+good, "Bearer "+good), twice},
		{"J-03 Basic beside", header("Basic YTpi", "Bearer "+good), twice},
		{"J-03 header and subprotocol", both, twice},
		{"Basic for the application, and a query", mixed, admitted},

		{"bearer", offers("bearer", good), admitted},
		{"behind the real one", offers("chat", "bearer", good), admitted},
		{"bearer at the end", offers("chat", "bearer"), missing},
		{"bearer before another", offers("bearer", "chat"), invalid},
		{"Bearer", offers("Bearer", good), missing},
		{"without bearer", offers(good), missing},
		{"Kubernetes", offers(k8s(good), "chat"), admitted},
		{"Kubernetes, padding", offers(k8s(good) + "="), invalid},
		{"Kubernetes, more behind", offers(k8s(good) + "!"), invalid},
		{"Kubernetes, not encoded", offers(bearerPrefix + good), invalid},
		{"Kubernetes, empty", offers(bearerPrefix), invalid},
		{"Kubernetes twice", offers(k8s(good), k8s(other)), twice},
		{"both forms", offers("bearer", good, k8s(good)), twice},

		{"cookie", cookie("a=b; session=" + good), admitted},
		{"cookie in quotes", cookie(`session="` + good + `"`), admitted},
		{"cookie of another name", cookie("Session=" + good + "; xsession=" + good), missing},
		{"cookie, empty", cookie("session="), missing},
		{"cookie twice", cookie("session=" + good + "; session=" + other), twice},
		{"cookie in two fields", cookie("session="+good, "session="+other), twice},
		{"query", query("access_token=" + good), admitted},
		{"query, escaped", query("a=1&access%5ftoken=" + strings.ReplaceAll(good, ".", "%2E")), admitted},
		{"query of another name", query("ACCESS_TOKEN=" + good), missing},
		{"query twice", query("access_token=" + good + "&access_token=" + good), twice},
		{"query with a bad escape", query("access_token=" + good + "%zz"), invalid},
	}
	p := members(t, JWTConfig{From: everywhere})
	for _, test := range tests {
		test.request.Now = tokenNow
		if got := ask(p, test.request); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

// FuzzSubprotocolTokens states what holds of any offer: what is found stood in it, and what is left once it is removed is in the old order,
// without any element that must be a token.
func FuzzSubprotocolTokens(f *testing.F) {
	for _, offer := range []string{"", "bearer", "bearer,a.b.c", "chat,bearer,a.b.c,bearer", "bearer,bearer,x", k8s("a.b.c") + ",chat", bearerPrefix + "=", "bearer," + k8s("x"), bearerPrefix + "0\r00"} {
		f.Add(offer)
	}
	f.Fuzz(func(t *testing.T, offer string) {
		r := &Request{Subprotocols: strings.Split(offer, ",")}
		found := subprotocolTokens(r)
		a := &Admission{Request: r}
		for _, token := range found {
			if !strings.Contains(offer, token.text) && !strings.Contains(offer, k8s(token.text)) {
				t.Fatalf("token %q is not in the offer %q", token.text, offer)
			}
			if !token.exposed {
				t.Fatal("a subprotocol that the upstream may see")
			}
			token.remove(a)
		}
		left := a.Offered()
		if len(found) == 0 && !slices.Equal(left, r.Subprotocols) {
			t.Fatalf("offer %q became %q", offer, left)
		}
		at := 0
		for _, element := range left {
			i := slices.Index(r.Subprotocols[at:], element)
			if i < 0 || strings.HasPrefix(element, bearerPrefix) {
				t.Fatalf("offer %q became %q", offer, left)
			}
			at += i + 1
		}
	})
}
