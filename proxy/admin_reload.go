package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/ratelimit"
)

const (
	maxAdminBody  = 1 << 20
	minAdminToken = 32               // characters
	reloadTimeout = 25 * time.Second // within the time that the listener has for an answer
)

// adminTries is how often a wrong token may be sent.
var adminTries = ratelimit.Rate{PerSecond: 10.0 / 60, Burst: 10}

// A ReloadRequest is somebody at the admin listener who asks for a reload.
type ReloadRequest struct{ answer chan error }

// Answer tells them how it went, once.
func (r *ReloadRequest) Answer(err error) { r.answer <- err }

// ReloadRequests yields those who ask, one at a time. Each is to be answered.
func (s *Server) ReloadRequests() <-chan *ReloadRequest { return s.asked }

// ErrNoFile is the answer to who asks for a reload where there is no file.
var ErrNoFile = errors.New("this gateway has no configuration file")

// serveReload answers POST /-/reload: 200 with the generation that holds, or
// 422 with all mistakes of the configuration.
func (s *Server) serveReload(w http.ResponseWriter, r *http.Request) {
	body, status, text := s.mayChange(w, r)
	if status == 0 && body != "" && body != "{}" {
		status, text = http.StatusBadRequest, "want an empty body, or {}"
	}
	if status != 0 {
		answer(w, status, text)
		return
	}
	request := &ReloadRequest{make(chan error, 1)}
	late := time.NewTimer(reloadTimeout)
	defer late.Stop()
	select {
	case s.asked <- request:
	case <-r.Context().Done():
		return
	case <-late.C:
		answer(w, http.StatusServiceUnavailable, "nobody reloads at present")
		return
	}
	select {
	case err := <-request.answer:
		s.answerReload(w, err)
	case <-late.C:
		answer(w, http.StatusServiceUnavailable, "the reload takes long; the log tells how it went")
	}
}

// mayChange holds a request that changes something to the rules for such: JSON
// that no form of a web page can send, a body that is bounded, and the token if
// there is one. It returns the body, without white space around it, or the
// refusal.
func (s *Server) mayChange(w http.ResponseWriter, r *http.Request) (body string, status int, text string) {
	if want := s.site.Load().adminToken; want != nil {
		sent, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		sum := sha256.Sum256([]byte(sent))
		switch {
		case s.adminTries.RetryAfter(time.Now()) > 0:
			return "", http.StatusTooManyRequests, "too many wrong tokens, wait a minute"
		case !ok || subtle.ConstantTimeCompare(sum[:], want[:]) != 1:
			s.adminTries.Allow(time.Now())
			s.log.Warn("admin request refused", "path", r.URL.Path, "client", r.RemoteAddr, "reason", "token")
			w.Header().Set("WWW-Authenticate", "Bearer")
			return "", http.StatusUnauthorized, "token required"
		}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return "", http.StatusUnsupportedMediaType, "want Content-Type: application/json"
	}
	sent, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdminBody))
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return "", http.StatusRequestEntityTooLarge, "body too large"
	case err != nil:
		return "", http.StatusBadRequest, "the body broke off"
	}
	return strings.TrimSpace(string(sent)), 0, ""
}

// problem is RFC 9457's, with the mistakes.
type problem struct {
	Type   string    `json:"type"`
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Detail string    `json:"detail,omitempty"`
	Errors []mistake `json:"errors,omitempty"`
}

type mistake struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

func (s *Server) answerReload(w http.ResponseWriter, err error) {
	if err == nil {
		st := s.site.Load()
		writeJSON(w, http.StatusOK, "application/json", map[string]any{"generation": st.generation, "hash": st.digest})
		return
	}
	p := problem{Type: "about:blank", Title: "configuration rejected", Status: http.StatusUnprocessableEntity}
	var errs strictyaml.Errors
	switch {
	case errors.Is(err, ErrNoFile), errors.Is(err, ErrLeaving):
		p.Title, p.Status = err.Error(), http.StatusConflict
	case errors.As(err, &errs):
		for _, e := range errs {
			p.Errors = append(p.Errors, mistake{e.File, e.Line, e.Column, e.Path, e.Message})
		}
	default:
		p.Detail = err.Error()
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

func writeJSON(w http.ResponseWriter, status int, kind string, v any) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// compileToken reads the admin token.
func compileToken(c AdminConfig, report Report) *[sha256.Size]byte {
	if c.TokenFile == "" {
		return nil
	}
	data, err := readBounded(c.TokenFile, 4<<10)
	token := strings.TrimSpace(string(data))
	switch {
	case err != nil:
		report("admin.token_file", "reading the token: %v", err)
	case len(token) < minAdminToken:
		report("admin.token_file", "the token has less than %d characters, want one such as openssl rand -hex 32 makes", minAdminToken)
	}
	if _, open := strictyaml.OpenToEverybody(c.TokenFile); open {
		report("admin.token_file", "%q is open to everybody on this machine, want mode 0600", c.TokenFile)
	}
	sum := sha256.Sum256([]byte(token))
	return &sum
}
