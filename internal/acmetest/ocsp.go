package acmetest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// startOCSP starts a responder that calls every certificate good.
func (c *CA) startOCSP(t testing.TB) (url string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		if err != nil {
			return
		}
		request, err := ocsp.ParseRequest(body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		issuer := c.issuer.GetIntermediateCert(0).Cert
		now := time.Now()
		reply, err := ocsp.CreateResponse(issuer, issuer, ocsp.Response{
			Status: ocsp.Good, SerialNumber: request.SerialNumber, ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(time.Hour),
		}, c.issuer.GetIntermediateKey(0))
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		c.ocsp.Add(1)
		w.Write(reply)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
