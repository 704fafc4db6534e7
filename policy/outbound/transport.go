package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// UserAgent is what the gateway calls itself in requests of its own.
const UserAgent = "framegate"

// maxHead bounds the head of an answer, in bytes.
const maxHead = 16 << 10

// Service is where requests go, and how.
type Service struct {
	URL         *url.URL       // of CheckURL
	Plain       Reach          // as for CheckURL; the addresses of names are known only now
	Roots       *x509.CertPool // who vouches for an https server; nil for the system's roots
	Timeout     time.Duration  // bounds each step of making a connection; of a whole request its context does
	Connections int            // at most so many at a time, kept when idle; 0 for one per request, closed behind the answer
}

// Transport makes a transport of HTTP/1.1 for requests to s. It follows no redirect, keeps no cookie, reads no proxy from the environment and
// no head beyond 16 KiB. It starts nothing; who stops using it calls CloseIdleConnections.
func (s Service) Transport() *http.Transport {
	dialer := net.Dialer{Timeout: s.Timeout}
	if s.URL.Scheme != "https" {
		dialer.ControlContext = s.Plain.control
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  nil, // the configuration alone says where requests go
		DialContext:            dialer.DialContext,
		Protocols:              &protocols,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.Roots},
		TLSHandshakeTimeout:    s.Timeout,
		DisableKeepAlives:      s.Connections == 0,
		MaxConnsPerHost:        s.Connections,
		MaxIdleConnsPerHost:    s.Connections,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHead,
	}
}

// control is a net.Dialer.ControlContext: it runs for each address that a name has led to, before the connection begins.
func (r Reach) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("judging the service's address: %w", err)
	}
	if !r.allows(a.Addr()) {
		return fmt.Errorf("plain http may not go to the address %s", a.Addr())
	}
	return nil
}
