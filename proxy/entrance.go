package proxy

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/tlsmgr"
)

// HSTSConfig has browsers use https alone for a host (RFC 6797).
type HSTSConfig struct {
	MaxAge            strictyaml.Duration `yaml:"max_age" default:"8760h" doc:"How long browsers keep to it."`
	IncludeSubdomains bool                `yaml:"include_subdomains" doc:"For all names below the host too."`
	Preload           bool                `yaml:"preload" doc:"Agrees to the lists that browsers come with. Hard to undo."`
}

const (
	hstsField   = "Strict-Transport-Security"
	hstsPreload = 365 * 24 * time.Hour // what the lists demand
)

// An entrance is what a listener does with requests of its own before any route.
type entrance struct {
	redirect int    // port of https that all requests are sent to; 0 sends none
	hsts     string // value of Strict-Transport-Security; empty for none
}

// compileEntrance makes the entrance of a listener.
func compileEntrance(c *ListenerConfig, report Report) entrance {
	f := entrance{redirect: c.RedirectToHTTPS}
	if f.redirect != 0 && !c.TLS.Off() {
		report("redirect_to_https", "is for listeners without TLS, want certificates: off")
	}
	if c.HSTS == nil {
		return f
	}
	if c.TLS.Off() {
		report("hsts", "is for listeners with TLS (RFC 6797 section 7.2)")
	}
	age := time.Duration(c.HSTS.MaxAge)
	f.hsts = fmt.Sprintf("max-age=%d", int64(age/time.Second))
	if c.HSTS.IncludeSubdomains {
		f.hsts += "; includeSubDomains"
	}
	if c.HSTS.Preload {
		f.hsts += "; preload"
		if age < hstsPreload || !c.HSTS.IncludeSubdomains {
			report("hsts.preload", "needs include_subdomains: true and a max_age of 8760h or more")
		}
	}
	return f
}

// entered answers requests that are for no route: the checks of a CA, and what
// is to come again by https. It tells whether it did.
func (s *Server) entered(st *site, w http.ResponseWriter, r *http.Request) bool {
	d := st.doors[peerOf(r).listener]
	if d == nil {
		return false // the listener is gone, its connections go on
	}
	f := d.entrance
	if f.hsts != "" {
		w.Header().Set(hstsField, f.hsts)
	}
	switch {
	case s.certs.IsChallengePath(r.URL.Path):
		if s.certs.ServeChallenge(w, r) {
			s.metrics.requests.WithLabelValues(noRoute, resultChallenge).Inc()
			return true
		}
		s.refuseEntrance(w, r, refuse(http.StatusNotFound, resultNoRoute, "not found"))
	case f.redirect != 0:
		if no := s.redirect(st, w, r, f.redirect); no != nil {
			s.refuseEntrance(w, r, no)
		}
	default:
		return false
	}
	return true
}

func (s *Server) refuseEntrance(w http.ResponseWriter, r *http.Request, no *refused) {
	s.metrics.requests.WithLabelValues(noRoute, no.result).Inc()
	s.logRefused(r, noRoute, no)
	no.write(w, r)
}

// redirect sends a request for a host of ours to https. Handshakes too: a
// client that follows comes again, and one that does not has said nothing yet.
func (s *Server) redirect(st *site, w http.ResponseWriter, r *http.Request, port int) *refused {
	host, path, no := readPlain(r)
	if no != nil {
		return no
	}
	if st.router.of(host) == nil {
		return refuse(http.StatusNotFound, resultNoRoute, "not found")
	}
	if port != 443 {
		host = net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
	}
	decoded, raw := canonicalURLPath(path)
	target := url.URL{Scheme: "https", Host: host, Path: decoded, RawPath: raw, RawQuery: r.URL.RawQuery}
	h := w.Header()
	h.Set("Location", target.String())
	h.Set("Connection", "close")
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusPermanentRedirect)
	s.metrics.requests.WithLabelValues(noRoute, resultRedirected).Inc()
	return nil
}

// startCertificates has the certificates of ACME got, now that the listeners
// have their addresses.
func (s *Server) startCertificates(st *site) {
	var plain, secure string
	for _, l := range st.listeners {
		switch c := st.doors[l].cfg.TLS; {
		case c.Off() && plain == "":
			plain = l.ln.Addr().String()
		case c.Auto() && secure == "":
			secure = l.ln.Addr().String()
		}
	}
	if err := s.certs.Start(plain, secure); err != nil {
		s.log.Error("no certificates by ACME", "error", err.Error())
	}
}

// Certified returns the addresses of the listeners that answer the checks of a
// CA, as they stand in the configuration, and the hosts that have certificates
// by ACME; none where no listener has such.
func (cfg *Config) Certified() (plain, secure string, hosts []string) {
	for _, l := range cfg.Listeners {
		switch {
		case l.TLS.Off() && plain == "":
			plain = l.Address
		case l.TLS.Auto() && secure == "":
			secure = l.Address
		}
	}
	if secure == "" {
		return "", "", nil
	}
	for i := range cfg.Routes {
		for _, name := range cfg.Routes[i].Hosts {
			if host, ok := canonicalHost(name); ok && !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
		}
	}
	return plain, secure, hosts
}

// certificateUses is what the listeners make of the section tls.
func (cfg *Config) certificateUses() tlsmgr.Uses {
	uses := tlsmgr.Uses{Redis: cfg.Redis}
	for _, l := range cfg.Listeners {
		uses.Auto = uses.Auto || l.TLS.Auto()
		uses.Plain = uses.Plain || l.TLS.Off()
	}
	return uses
}

// compileCertificates checks what the section tls says, and whether the hosts
// of the routes can have certificates.
func compileCertificates(cfg *Config, report, warn Report) {
	uses := cfg.certificateUses()
	cfg.TLS.Validate(uses, prefixed("tls", report))
	if !uses.Auto {
		return
	}
	for i := range cfg.Routes {
		for j, name := range cfg.Routes[i].Hosts {
			host, ok := canonicalHost(name)
			if !ok {
				continue // reported
			}
			path := fmt.Sprintf("routes[%d].hosts[%d]", i, j)
			if problem, never := cfg.TLS.CheckHost(host); never {
				report(path, "%q with certificates: auto: %s", name, problem)
			} else if problem != "" {
				warn(path, "%q with certificates: auto: %s", name, problem)
			}
		}
	}
}
