package policy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// TokenSource is a place where clients may put a token: a word, or the name of a cookie or query parameter.
type TokenSource struct {
	Place  string `yaml:"-"` // header or subprotocol; empty for the other ones
	Cookie string `yaml:"cookie" doc:"The cookie that holds the token."`
	Query  string `yaml:"query" doc:"The query parameter that holds the token. It is removed before the upstream sees it, but the client's own history and every proxy before the gateway have it."`
}

const (
	placeHeader      = "header"
	placeSubprotocol = "subprotocol"
)

// UnmarshalText reads the form that is a word.
func (s *TokenSource) UnmarshalText(text []byte) error {
	if s.Place = string(text); s.Place != placeHeader && s.Place != placeSubprotocol {
		return fmt.Errorf("want %s, not %q", s.Wanted(), text)
	}
	return nil
}

// Wanted names the forms in error messages.
func (TokenSource) Wanted() string { return "header, subprotocol, {cookie: NAME} or {query: NAME}" }

// JSONSchema describes the form that is a word.
func (TokenSource) JSONSchema() map[string]any {
	return map[string]any{"enum": []any{placeHeader, placeSubprotocol}}
}

// sentToken is a token that a request has, verified or not.
type sentToken struct {
	text    string
	exposed bool             // it is where the upstream may never see it
	remove  func(*Admission) // keeps it from the upstream
}

// tokenSource finds what a request has in one place. What holds no token, such as another scheme of Authorization, is passed over.
type tokenSource func(*Request) []sentToken

func (s TokenSource) compile() (tokenSource, error) {
	switch {
	case s.Place == placeHeader:
		return headerTokens, nil
	case s.Place == placeSubprotocol:
		return subprotocolTokens, nil
	case s.Cookie != "" && s.Query != "":
		return nil, errors.New("cookie beside query, want one entry for each")
	case s.Cookie != "":
		if !isToken(s.Cookie) {
			return nil, fmt.Errorf("%q is not the name of a cookie, want one such as session", s.Cookie)
		}
		return cookieTokens(s.Cookie), nil
	case s.Query != "":
		return queryTokens(s.Query), nil
	}
	return nil, fmt.Errorf("want %s", s.Wanted())
}

// headerTokens finds Authorization: Bearer TOKEN (RFC 6750, section 2.1). Where the field comes twice, both count, whatever their schemes:
// another reader might take another one.
func headerTokens(r *Request) (list []sentToken) {
	fields := r.Header["Authorization"]
	for _, field := range fields {
		scheme, text, _ := strings.Cut(field, " ")
		text = strings.Trim(text, " ")
		if len(fields) > 1 || strings.EqualFold(scheme, "Bearer") && text != "" {
			list = append(list, sentToken{text: text, remove: func(a *Admission) { a.removeField("Authorization") }})
		}
	}
	return list
}

// bearerPrefix begins a subprotocol that is a token, in base64url: the convention of Kubernetes.
const bearerPrefix = "base64url.bearer.authorization.k8s.io."

// subprotocolTokens finds tokens among the offered subprotocols, the only thing beside the URL that a browser's script can choose: as the element
// behind bearer, or with bearerPrefix.
func subprotocolTokens(r *Request) (list []sentToken) {
	for i, element := range r.Subprotocols {
		if encoded, ok := strings.CutPrefix(element, bearerPrefix); ok {
			text, err := base64.RawURLEncoding.DecodeString(encoded)
			if err != nil || base64.RawURLEncoding.EncodeToString(text) != encoded {
				text = nil // not what is good of it: a token that is malformed
			}
			list = append(list, offered(string(text), element))
		} else if element == "bearer" && i+1 < len(r.Subprotocols) {
			list = append(list, offered(r.Subprotocols[i+1], element, r.Subprotocols[i+1]))
		}
	}
	return list
}

// offered is a token that stands in these elements.
func offered(text string, elements ...string) sentToken {
	return sentToken{text, true, func(a *Admission) {
		for _, element := range elements {
			a.removeSubprotocol(element)
		}
	}}
}

func cookieTokens(name string) tokenSource {
	return func(r *Request) (list []sentToken) {
		for _, text := range cookies(r.Header["Cookie"], name) {
			if text != "" {
				list = append(list, sentToken{text: text, remove: func(a *Admission) { a.removeCookie(name) }})
			}
		}
		return list
	}
}

func queryTokens(name string) tokenSource {
	return func(r *Request) (list []sentToken) {
		for n, text := range parameters(r.RawQuery) {
			if n == name && text != "" {
				list = append(list, sentToken{text, true, func(a *Admission) { a.removeQuery(name) }})
			}
		}
		return list
	}
}
