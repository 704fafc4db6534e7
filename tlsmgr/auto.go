package tlsmgr

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

const (
	// obtainTimeout bounds one attempt to get a certificate.
	obtainTimeout = 5 * time.Minute

	// maxOrders is how many certificates are ordered at a time.
	maxOrders = 8

	// startPatience is how long a start waits for the certificates that the store has.
	startPatience = 5 * time.Second
)

// retryAfter is how long to wait after a failed attempt, by how many have failed before. The last one repeats. It is certmagic's own schedule,
// which renewals follow.
var retryAfter = []time.Duration{
	time.Minute, 2 * time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 10 * time.Minute, 10 * time.Minute, 20 * time.Minute,
	20 * time.Minute, 20 * time.Minute, 20 * time.Minute, 30 * time.Minute, 30 * time.Minute, 30 * time.Minute, 30 * time.Minute, 30 * time.Minute,
	30 * time.Minute, time.Hour, time.Hour, time.Hour, 2 * time.Hour, 2 * time.Hour, 3 * time.Hour, 3 * time.Hour, 6 * time.Hour,
}

// backOff is the wait after a number of failed attempts.
func backOff(failures int) time.Duration { return retryAfter[min(max(failures, 1), len(retryAfter))-1] }

// An auto is the source of certificates from ACME: certmagic orders, renews and staples; handshakes see only an index of what it holds, and so
// never wait for its locks, the store or a CA.
type auto struct {
	cfg    ACMEConfig
	log    *slog.Logger
	zap    *zap.Logger // certmagic's, over log
	sys    system
	store  *store
	copies certmagic.Storage // of certificates, on this machine; may be nil
	cache  *certmagic.Cache
	magic  *certmagic.Config
	first  atomic.Pointer[certmagic.ACMEIssuer] // which answers http-01, also for the others; nil before start

	index    atomic.Pointer[certIndex]
	hosts    atomic.Pointer[hostSet] // of all listeners with certificates: auto
	problems problems
	demand   *demand // nil without on_demand
	lookups  *rate.Limiter
	notice   *notices // of handshakes for names without a certificate

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // obtainLoop of each name, watchLoop, and orders on demand
	orders chan struct{}  // holds one for each order under way
	wake   chan struct{}  // has watchLoop look again, holds at most one

	mu    sync.Mutex
	names map[string]bool // that are managed
}

// endpoints are the addresses at which this gateway answers challenges, host and port; http is empty where no listener is without TLS.
type endpoints struct{ http, tls string }

// newAuto makes the source. Only certmagic's maintenance, of certificates that are yet to come, runs before start.
func newAuto(cfg ACMEConfig, b backend, copies certmagic.Storage, log *slog.Logger, sys system) *auto {
	a := &auto{
		cfg: cfg, copies: copies, log: log, zap: newBridge(log), sys: sys, names: map[string]bool{}, wake: make(chan struct{}, 1), orders: make(chan struct{}, maxOrders),
		lookups: rate.NewLimiter(20, 100), notice: newNotices(sys.now),
	}
	a.problems.now = sys.now
	a.index.Store(&certIndex{})
	a.hosts.Store(&hostSet{})
	a.store = newStore(b, sys.now, func(err error) { a.problems.count(reasonOf(err)) })
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		RenewCheckInterval: sys.renewEvery,
		Logger:             a.zap,
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage:    a.store,
		LocalCache: copies,
		Logger:     a.zap,
		OnEvent:    a.event,

		RenewalWindowRatio: certmagic.DefaultRenewalWindowRatio,

		KeySource: certmagic.StandardKeyGenerator{KeyType: certmagic.KeyType(cmp.Or(cfg.KeyType, "p256"))},
		OCSP:      certmagic.OCSPConfig{HTTPProxy: http.ProxyFromEnvironment}, // with it, requests have a time-out
		Issuers:   []certmagic.Issuer{},                                       // those of start; nil would be a default of certmagic's
	})
	if cfg.OnDemand != nil {
		a.demand = newDemand(*cfg.OnDemand, a)
	}
	return a
}

// started tells whether start has been called.
func (a *auto) started() bool { return a.first.Load() != nil }

// start makes the issuers and runs the watch, once.
func (a *auto) start(at endpoints) error {
	if a.started() {
		return nil
	}
	if err := a.addIssuers(at); err != nil {
		return err
	}
	a.wg.Go(a.watchLoop)
	return nil
}

// manage has certificates got and kept for the hosts, from now on. It returns once those that the store has are in service, or after a while.
func (a *auto) manage(hosts hostSet) {
	a.hosts.Store(&hosts)
	loaded := make(chan struct{})
	var loading sync.WaitGroup
	wanted := a.wanted(hosts)
	a.drop(wanted, hosts)
	a.mu.Lock()
	for _, name := range wanted {
		if _, ok := a.names[name]; ok {
			continue
		}
		a.names[name] = true
		loading.Add(1)
		a.wg.Go(func() { a.obtainLoop(name, loading.Done) })
	}
	a.mu.Unlock()
	a.wg.Go(func() {
		loading.Wait()
		close(loaded)
	})
	select {
	case <-loaded:
	case <-time.After(startPatience):
	case <-a.ctx.Done():
	}
	a.publish()
}

// drop ends the management of names that no listener has any more.
func (a *auto) drop(wanted []string, hosts hostSet) {
	var gone []certmagic.SubjectIssuer
	a.mu.Lock()
	for name := range a.names {
		if _, kept := slices.BinarySearch(wanted, name); !kept && !hosts.has(name) {
			delete(a.names, name)
			gone = append(gone, certmagic.SubjectIssuer{Subject: name})
		}
	}
	a.mu.Unlock()
	a.cache.RemoveManaged(gone)
	for _, g := range gone {
		a.problems.solved(g.Subject)
	}
}

// has tells whether a name is managed.
func (a *auto) has(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.names[name]
}

// wanted are the names to get certificates for: a wildcard stands for the names one label below it. Where each of these gets its own, on
// demand, there are no wildcards.
func (a *auto) wanted(hosts hostSet) []string {
	var names []string
	wild := a.cfg.DNS != nil
	for name := range hosts.exact {
		if _, parent, _ := strings.Cut(name, "."); wild && hosts.parents[parent] || a.cfg.public() && notPublic(name) {
			continue
		}
		names = append(names, name)
	}
	if wild {
		for parent := range hosts.parents {
			names = append(names, "*."+parent)
		}
	}
	slices.Sort(names)
	return names
}

// obtainLoop gets the certificate of a name, from the store or by an order, and ends once there is one: certmagic renews it. loaded is called
// once the store has been asked.
func (a *auto) obtainLoop(name string, loaded func()) {
	err := a.load(a.ctx, name)
	loaded()
	for failures := 0; err != nil; {
		if errors.Is(err, fs.ErrNotExist) {
			if err = a.order(name); err == nil {
				return
			}
		}
		if a.ctx.Err() != nil || !a.has(name) {
			return
		}
		failures++
		wait := a.sys.retry(failures)
		a.problems.failed(name, err, wait)
		a.log.Warn("no certificate yet, trying again", "name", name, "reason", reasonOf(err), "error", brief(err), "attempt", failures, "wait", wait.String())
		select {
		case <-time.After(wait):
		case <-a.ctx.Done():
			return
		}
		err = a.load(a.ctx, name) // another gateway may have got it
	}
}

// load puts the certificate that the store has into service; fs.ErrNotExist if there is none.
func (a *auto) load(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, obtainTimeout)
	defer cancel()
	cert, err := a.magic.CacheManagedCertificate(ctx, name)
	if err != nil {
		return err
	}
	a.problems.solved(name)
	a.publish()
	a.log.Info("certificate in service", "name", name, "not_after", cert.Leaf.NotAfter, "issuer", cert.Leaf.Issuer.CommonName)
	return nil
}

// order gets a new certificate and puts it into service.
func (a *auto) order(name string) error {
	select {
	case a.orders <- struct{}{}:
		defer func() { <-a.orders }()
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
	ctx, cancel := context.WithTimeout(a.ctx, obtainTimeout)
	defer cancel()
	if err := a.magic.ObtainCertSync(ctx, name); err != nil {
		return err
	}
	return a.load(ctx, name)
}

// event is told by certmagic what it does. Only renewals matter here: obtainLoop knows of the rest.
func (a *auto) event(_ context.Context, event string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	renewal, _ := data["renewal"].(bool)
	switch {
	case event == "cert_failed" && renewal:
		err, _ := data["error"].(error)
		failures := a.problems.failed(name, err, 0)
		wait := backOff(failures)
		a.problems.wait(name, wait)
		a.log.Warn("certificate not renewed, the old one stays in service", "name", name, "reason", reasonOf(err), "error", brief(err), "attempt", failures, "wait", wait.String())
	case event == "cert_obtained":
		a.problems.solved(name)
		a.log.Info("certificate obtained", "name", name, "issuer", data["issuer"], "renewal", renewal)
		a.poke()
	}
	return nil
}

// poke has watchLoop look again.
func (a *auto) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// current is the newest certificate that certmagic holds for a managed name.
func (a *auto) current(name string) (newest certmagic.Certificate, all []certmagic.Certificate) {
	for _, cert := range a.cache.AllMatchingCertificates(name) {
		if !slices.Contains(cert.Names, name) {
			continue // a wildcard's
		}
		all = append(all, cert)
		if newest.Empty() || cert.Leaf.NotBefore.After(newest.Leaf.NotBefore) {
			newest = cert
		}
	}
	return newest, all
}

// publish makes the index anew from what certmagic holds.
func (a *auto) publish() {
	x := &certIndex{exact: make(map[string][]*tls.Certificate), wild: make(map[string][]*tls.Certificate)}
	for _, name := range a.managed() {
		cert, _ := a.current(name)
		if cert.Empty() {
			continue
		}
		if exact, parent, _ := canonicalPattern(name); parent != "" {
			x.wild[parent] = []*tls.Certificate{&cert.Certificate}
		} else {
			x.exact[exact] = []*tls.Certificate{&cert.Certificate}
		}
	}
	a.index.Store(x)
}

// managed are the names that are managed, in order.
func (a *auto) managed() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.names))
}

// leaves are the certificates in service, by name.
func (a *auto) leaves() map[string]*x509.Certificate { return a.index.Load().leaves() }

// close ends everything: orders under way are given up, and their locks released.
func (a *auto) close() {
	a.cancel()
	a.cache.Stop()
	a.wg.Wait()
	a.store.close()
	if a.demand != nil {
		a.demand.close()
	}
}

// brief is the text of an error, not longer than a line should be.
func brief(err error) string { return fmt.Sprintf("%.500s", err.Error()) }
