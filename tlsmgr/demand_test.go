package tlsmgr

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/acmetest"
)

// A name that is allowed gets its certificate in the first handshake for it; one that is not gets an alert.
func TestOnDemand(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	var asked atomic.Int64
	ask := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Query().Get("domain") {
		case "asked.demand.example.com":
		case "moved.demand.example.com":
			http.Redirect(w, r, "/?domain=asked.demand.example.com", http.StatusFound)
		case "slow.demand.example.com":
			select {
			case <-r.Context().Done():
			case <-time.After(time.Minute):
			}
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(ask.Close)
	cfg := acmeConfig(t, ca)
	cfg.ACME.OnDemand = &OnDemandConfig{Allow: []string{"allowed.demand.example.com", "*.all.demand.example.com"}, Ask: ask.URL + "/?from=gateway"}
	g := startAuto(t, ca, cfg, nil, nil, "*.demand.example.com", "*.all.demand.example.com", "fixed.example.com")
	g.serial(t, "fixed.example.com")
	for _, name := range []string{"allowed.demand.example.com", "any.all.demand.example.com", "asked.demand.example.com"} {
		var clients sync.WaitGroup
		for range 5 {
			clients.Go(func() {
				if _, err := g.dial(name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		clients.Wait()
	}
	if n := ca.Orders(); n != 4 {
		t.Errorf("%d orders, want 4", n)
	}
	before := asked.Load()
	for _, name := range []string{"other.demand.example.com", "moved.demand.example.com", "slow.demand.example.com", "other.demand.example.com", "demand.example.com", "x.example.com"} {
		start := time.Now()
		if _, err := g.dial(name); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > demandPatience {
			t.Errorf("%s took %v", name, took)
		}
	}
	if n := asked.Load() - before; n != 3 {
		t.Errorf("asked %d times, want 3: what was denied is remembered", n)
	}
	if n := ca.Orders(); n != 4 {
		t.Errorf("%d orders after the refusals, want 4", n)
	}
	for result, want := range map[string]float64{demandServed: 3, demandDenied: 3} {
		if n, _ := g.metric(t, "framegate_certificate_demands_total", result); n != want {
			t.Errorf("%s: %v, want %v", result, n, want)
		}
	}
	check(t, g.Close())
	again := startAuto(t, ca, cfg, nil, nil, "*.demand.example.com")
	if _, err := again.dial("asked.demand.example.com"); err != nil {
		t.Errorf("from the store: %v", err)
	}
	if n := ca.Orders(); n != 4 {
		t.Errorf("%d orders after a restart, want 4", n)
	}
}

// T-12: of any number of names that are allowed, at most ten are ordered at once, and ten more in a minute.
func TestOnDemandIsCapped(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	cfg := acmeConfig(t, ca)
	cfg.ACME.OnDemand = &OnDemandConfig{Allow: []string{"*.capped.example.com"}}
	now := time.Now()
	var skip atomic.Int64
	var orders atomic.Int64
	g := startAuto(t, ca, cfg, nil, func(s *system) { s.now = func() time.Time { return now.Add(time.Duration(skip.Load())) } }, "*.capped.example.com")
	ca.Fault(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/order-plz" {
			orders.Add(1)
		}
		acmetest.Problem(403, "rejectedIdentifier")(w, r)
	})
	ask := func(i int) {
		name := fmt.Sprintf("n%d.capped.example.com", i)
		if cert, err := g.config.GetCertificate(&tls.ClientHelloInfo{ServerName: name}); cert != nil || err != nil {
			t.Errorf("%s: %v %v", name, cert, err)
		}
	}
	for i := range 10000 {
		ask(i)
	}
	if n := orders.Load(); n > 10 || n < 1 {
		t.Errorf("%d orders for 10,000 names", n)
	}
	if n, _ := g.metric(t, "framegate_certificate_demands_total", demandCapped); n < 9900 {
		t.Errorf("%v names were capped", n)
	}
	skip.Add(int64(time.Minute))
	for i := range 1000 {
		skip.Add(int64(time.Millisecond))
		ask(20000 + i)
	}
	if n := orders.Load(); n > 20 {
		t.Errorf("%d orders in a second minute", n)
	}
	if n := len(g.auto.Load().demand.denied); n > maxDenied {
		t.Errorf("%d names are remembered", n)
	}
}
