package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/framegate/framegate/proxy/handshake"
)

const adminOff = "off"

// admin serves health and metrics on loopback. It changes nothing, and trusts
// no browser: a page that resolves to loopback learns nothing from it.
type admin struct {
	ln   net.Listener
	http *http.Server
	wg   sync.WaitGroup // httpLoop
}

func newAdmin(s *Server, address string) (*admin, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.leaving.Load() {
			answer(w, http.StatusServiceUnavailable, "draining")
			return
		}
		answer(w, http.StatusOK, "ready")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return &admin{ln: ln, http: &http.Server{
		Handler:           guardAdmin(port, mux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    handshake.MaxHead,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}}, nil
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write([]byte(text + "\n"))
}

// guardAdmin refuses what a browser would send for a web page: another Host
// (DNS rebinding), an Origin, a cross-site fetch; and upgrades.
func guardAdmin(port string, next http.Handler) http.Handler {
	hosts := map[string]bool{"localhost:" + port: true, "127.0.0.1:" + port: true, "[::1]:" + port: true}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site := r.Header.Get("Sec-Fetch-Site")
		switch {
		case handshake.IsUpgrade(r):
			answer(w, http.StatusBadRequest, "no upgrade here")
		case !hosts[r.Host]:
			answer(w, http.StatusForbidden, "host is not allowed")
		case r.Header.Get("Origin") != "" || site != "" && site != "none":
			answer(w, http.StatusForbidden, "pages are not allowed")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (a *admin) start() {
	a.wg.Go(a.httpLoop)
}

// httpLoop serves until close.
func (a *admin) httpLoop() { a.http.Serve(a.ln) }

func (a *admin) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if a.http.Shutdown(ctx) != nil {
		a.http.Close()
	}
	a.wg.Wait()
}
