package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/framegate/framegate/proxy/handshake"
)

const (
	adminOff     = "off"
	adminDefault = "127.0.0.1:9901"
	adminSocket  = "admin" // FileDescriptorName= of its socket
	healthWait   = time.Second
)

// Healthy returns an error where what moves the bytes of sessions is stuck. It
// waits for a second at most.
func (s *Server) Healthy() error {
	ctx, cancel := context.WithTimeout(context.Background(), healthWait)
	defer cancel()
	return s.driver.answer(ctx)
}

// admin serves health and metrics on loopback, and takes orders. It
// trusts no browser: a page that resolves to loopback learns nothing from it, and
// changes nothing.
type admin struct {
	address string // as the configuration has it
	ln      net.Listener
	http    *http.Server
	wg      sync.WaitGroup // httpLoop
}

func newAdmin(s *Server, address string) (*admin, error) {
	ln, err := s.sockets.listen(address, adminSocket)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /-/reload", s.serveReload)
	mux.HandleFunc("POST /-/revoke", s.serveRevoke)
	mux.HandleFunc("POST /-/drain", s.serveDrain)
	mux.HandleFunc("POST /-/undrain", s.serveUndrain)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Healthy(); err != nil {
			answer(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		reason, ok := s.ready()
		if !ok {
			answer(w, http.StatusServiceUnavailable, reason)
			return
		}
		if s.reload.rejected.Load() { // what held holds on
			reason += "; the configuration that was read last was rejected, see the log"
		}
		answer(w, http.StatusOK, reason)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	return &admin{address: address, ln: ln, http: &http.Server{
		Handler:           guardAdmin(ln.Addr().String(), mux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    handshake.MaxHead,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),

		DisableGeneralOptionsHandler: true,
	}}, nil
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write([]byte(text + "\n"))
}

// guardAdmin refuses what a browser would send for a web page: another Host
// (DNS rebinding), an Origin, a cross-site fetch; upgrades; and every path that
// is not spelt as it is served.
func guardAdmin(address string, next http.Handler) http.Handler {
	_, port, _ := net.SplitHostPort(address) // of a listener
	hosts := map[string]bool{address: true, "localhost:" + port: true, "127.0.0.1:" + port: true, "[::1]:" + port: true}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case handshake.IsUpgrade(r):
			answer(w, http.StatusBadRequest, "no upgrade here")
		case !hosts[r.Host]:
			answer(w, http.StatusForbidden, "host is not allowed")
		case fromPage(r.Header):
			answer(w, http.StatusForbidden, "pages are not allowed")
		case path.Clean(r.URL.Path) != r.URL.Path || r.URL.RawPath != "":
			answer(w, http.StatusNotFound, "not found")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// fromPage recognises what a browser fetches for a page. What somebody typed
// into it has the site none and the mode navigate.
func fromPage(h http.Header) bool {
	_, origin := h["Origin"]
	other := func(value string) bool { return value != "none" && value != "navigate" }
	return origin || slices.ContainsFunc(h["Sec-Fetch-Site"], other) || slices.ContainsFunc(h["Sec-Fetch-Mode"], other)
}

func (a *admin) start() {
	a.wg.Go(a.httpLoop)
}

// httpLoop serves until close.
func (a *admin) httpLoop() { a.http.Serve(a.ln) }

func (a *admin) close() {
	a.ln.Close() // http.Server knows it only once it serves
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if a.http.Shutdown(ctx) != nil {
		a.http.Close()
	}
	a.wg.Wait()
}
