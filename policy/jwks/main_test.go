package jwks

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// document is a key set of one key per kid.
func document(kids ...string) []byte {
	type jwk struct {
		Kty string `json:"kty"`
		Crv string `json:"crv"`
		Kid string `json:"kid"`
		X   string `json:"x"`
	}
	set := map[string][]jwk{"keys": {}}
	for _, kid := range kids {
		seed := make([]byte, ed25519.SeedSize)
		copy(seed, kid)
		public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
		set["keys"] = append(set["keys"], jwk{"OKP", "Ed25519", kid, base64.RawURLEncoding.EncodeToString(public)})
	}
	data, err := json.Marshal(set)
	if err != nil {
		panic(err) // of strings
	}
	return data
}

// issuer publishes keys. It answers after a delay with what it published when it was asked.
type issuer struct {
	mu      sync.Mutex
	kids    []string
	answer  answer // but for the keys, of which the body is made if it is nil
	err     error
	delay   time.Duration
	fetches []time.Time
	asked   []string // the URLs
}

func newIssuer(kids ...string) *issuer {
	return &issuer{kids: kids, answer: answer{status: http.StatusOK}, delay: 50 * time.Millisecond}
}

// change makes the issuer another.
func (i *issuer) change(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *issuer) publish(kids ...string) { i.change(func() { i.kids = kids }) }
func (i *issuer) fail(err error)         { i.change(func() { i.err = err }) }

// says makes the issuer send a Cache-Control.
func (i *issuer) says(value string) {
	i.change(func() { i.answer.header = http.Header{"Cache-Control": {value}} })
}

func (i *issuer) get(ctx context.Context, c Config) (answer, error) {
	i.mu.Lock()
	i.fetches, i.asked = append(i.fetches, time.Now()), append(i.asked, c.URL)
	a, err, delay := i.answer, i.err, i.delay
	if a.body == nil {
		a.body = document(i.kids...)
	}
	i.mu.Unlock()
	select {
	case <-time.After(delay):
		return a, err
	case <-ctx.Done():
		return answer{}, errors.New("timed out")
	}
}

// count is the number of fetches so far.
func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.fetches)
}

// logBook keeps the lines of a log.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// with returns the lines that hold a text.
func (l *logBook) with(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(strings.Split(l.b.String(), "\n"), func(line string) bool { return !strings.Contains(line, text) })
}

const testURL = "https://id.example.com/keys"

// rig is a cache whose sources all ask one issuer.
type rig struct {
	*Cache
	t        *testing.T
	issuer   *issuer
	log      *logBook
	registry *prometheus.Registry
}

func newRig(t *testing.T, i *issuer) *rig {
	r := &rig{t: t, issuer: i, log: &logBook{}, registry: prometheus.NewRegistry()}
	r.Cache = newCache(slog.New(slog.NewTextHandler(r.log, nil)), r.registry, system{i.get})
	t.Cleanup(r.Close)
	return r
}

// source returns a source of the cache that does not run yet.
func (r *rig) source(c Config) *Source {
	r.t.Helper()
	s, err := r.Source(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// bubble runs a test in a bubble of its own time, with one source that was just started.
func bubble(t *testing.T, i *issuer, f func(*testing.T, *rig, *Source)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, i)
		s := r.source(Config{URL: testURL})
		r.Start([]*Source{s})
		f(t, r, s)
	})
}

// advance lets time pass, and what happens at its end end.
func advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// lookup says what Keys gives: the kid is there, it is not, or there are no keys; and what it took.
func lookup(s *Source, kid string) (string, time.Duration) {
	before := time.Now()
	set, err := s.Keys(context.Background(), kid)
	took := time.Since(before)
	switch {
	case err != nil:
		return err.Error(), took
	case set.Has(kid):
		return "found", took
	}
	return "not found", took
}

// check fails unless a lookup gives this outcome, after this time.
func check(t *testing.T, s *Source, kid, outcome string, after time.Duration) {
	t.Helper()
	if got, took := lookup(s, kid); got != outcome || took != after {
		t.Errorf("%q is %s after %v, want %s after %v", kid, got, took, outcome, after)
	}
}

// checkFetches fails unless there were so many fetches.
func (r *rig) checkFetches(want int) {
	r.t.Helper()
	if got := r.issuer.count(); got != want {
		r.t.Errorf("%d fetches, want %d", got, want)
	}
}

// series returns the values of the cache's metrics.
func (r *rig) series() map[string]float64 {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}

// checkSeries fails unless the metrics have exactly these values.
func (r *rig) checkSeries(want map[string]float64) {
	r.t.Helper()
	if got := r.series(); !maps.Equal(got, want) {
		r.t.Errorf("series %v\nwant   %v", fmt.Sprint(got), fmt.Sprint(want))
	}
}
