package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// What is in the tokens, and where the gateway tells whose they are.
const (
	issuer     = "framegate-demo"
	audience   = "chat"
	userHeader = "X-Demo-User"
)

const (
	tokenLife = time.Hour
	maxSignIn = 1 << 10 // bytes of a request for a token
)

// A signer signs tokens (RFC 7519) with a key that is made when the application starts, and never leaves it.
type signer struct {
	jose jose.Signer
	keys []byte
}

func newSigner() (*signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	private := jose.JSONWebKey{Key: key, KeyID: "demo", Algorithm: string(jose.ES256), Use: "sig"}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private}, nil)
	if err != nil {
		return nil, err
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{private.Public()}})
	return &signer{s, keys}, err
}

// token is one for name, valid from now for an hour.
func (s *signer) token(name string, now time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "aud": audience, "sub": name, "iat": now.Unix(), "exp": now.Add(tokenLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed, err := s.jose.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// Keys is what verifies the tokens: a JSON Web Key Set (RFC 7517) with the public key.
func (a *App) Keys() []byte { return a.signer.keys }

// signIn takes {"name":"Ada"} and answers {"token":"..."}. Whoever asks is believed: the demo is about what comes then.
func (a *App) signIn(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Name string `json:"name"`
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSignIn))
	if err == nil {
		err = json.Unmarshal(data, &asked)
	}
	name := cleanName(asked.Name)
	if err != nil || name == "" {
		http.Error(w, `a name is wanted, as {"name": "Ada"}`, http.StatusBadRequest)
		return
	}
	token, err := a.signer.token(name, time.Now())
	if err != nil {
		http.Error(w, "signing failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]string{"token": token})
}
