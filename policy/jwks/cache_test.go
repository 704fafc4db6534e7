package jwks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestConfig(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		want   []string // of the mistakes, one each
	}{
		"good":            {Config{URL: "https://id.example.com/keys?p=b2c"}, nil},
		"port":            {Config{URL: "https://id.example.com:8443/keys", MaxStale: time.Minute}, nil},
		"loopback":        {Config{URL: "http://127.0.0.1:8080/keys", DangerouslyAllowHTTP: true}, nil},
		"none":            {Config{}, []string{"jwks_url: "}},
		"http":            {Config{URL: "http://id.example.com/keys"}, []string{"jwks_url: URL \"http://id.example.com/keys\" is plain http"}},
		"http here":       {Config{URL: "http://localhost/keys"}, []string{"want https"}},
		"http elsewhere":  {Config{URL: "http://10.0.0.1/keys", DangerouslyAllowHTTP: true}, []string{"(or a loopback address)"}},
		"password":        {Config{URL: "https://user:S3CRET@id.example.com/keys"}, []string{"user name or password"}},
		"fragment":        {Config{URL: "https://id.example.com/keys#S3"}, []string{"fragment"}},
		"everything":      {Config{URL: "ftp://id", CAFile: "/nowhere.pem", MaxStale: -1}, []string{"jwks_url", "jwks_ca: file", "max_stale"}},
		"not even a file": {Config{URL: testURL, CAFile: t.TempDir()}, []string{"is a directory"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			test.config.Validate(func(path, format string, args ...any) { got = append(got, path+": "+fmt.Sprintf(format, args...)) })
			if len(got) != len(test.want) || strings.Contains(fmt.Sprint(got), "S3CRET") {
				t.Fatalf("mistakes %q, want %q", got, test.want)
			}
			for i, want := range test.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("mistake %q, want one with %q", got[i], want)
				}
			}
			s, err := newRig(t, newIssuer()).Source(test.config)
			if (err == nil) != (s != nil) || (err == nil) != (len(test.want) == 0) {
				t.Errorf("source %v, error %v", s, err)
			}
		})
	}
}

// A configuration that says the same gets the same source, which keeps its keys and is not started twice; one that is gone ends.
func TestReload(t *testing.T) {
	bubble(t, newIssuer("a"), func(t *testing.T, r *rig, s *Source) {
		advance(time.Second)
		other := r.source(Config{URL: "https://other.example/keys"})
		if r.source(Config{URL: testURL}) != s || other == s {
			t.Fatal("sources are not told apart by their configuration")
		}
		r.checkFetches(1)
		r.Start([]*Source{s, other, s})
		check(t, s, "a", "found", 0)
		check(t, other, "a", "found", 50*time.Millisecond)
		r.checkFetches(2)

		r.Start([]*Source{other})
		advance(time.Hour)
		r.issuer.change(func() {
			if slices.Contains(r.issuer.asked[1:], testURL) {
				t.Error("a source that is not wanted any more was fetched")
			}
		})
		check(t, s, "a", "found", 0) // for requests that began under the old configuration
		check(t, s, "b", "not found", 0)
		advance(10 * time.Minute)
		check(t, s, "a", unavailable, 0)
		if again := r.source(Config{URL: testURL}); again == s {
			t.Error("a source that has ended is used again")
		}
	})
}

// A reload that fails makes sources that never start. The next good one forgets them.
func TestFailedReload(t *testing.T) {
	bubble(t, newIssuer("a"), func(t *testing.T, r *rig, s *Source) {
		advance(time.Second)
		failed := r.source(Config{URL: testURL, MaxStale: time.Minute})
		advance(time.Minute)
		r.checkFetches(1)
		r.Start([]*Source{s})
		if r.source(Config{URL: testURL, MaxStale: time.Minute}) == failed {
			t.Error("a source of a failed reload is remembered")
		}
	})
}

// Close ends a fetch under way and lets go whoever waits for it. The keys stay.
func TestClose(t *testing.T) {
	bubble(t, newIssuer("a"), func(t *testing.T, r *rig, s *Source) {
		advance(time.Second)
		r.issuer.change(func() { r.issuer.delay = time.Hour })
		var waiting sync.WaitGroup
		waiting.Go(func() { check(t, s, "b", "not found", time.Second) })
		advance(time.Second)
		before := time.Now()
		r.Close()
		waiting.Wait()
		if took := time.Since(before); took > 0 {
			t.Errorf("Close took %v", took)
		}
		check(t, s, "a", "found", 0)
		check(t, s, "b", "not found", 0)
		if lines := r.log.with("level=WARN"); len(lines) > 0 {
			t.Errorf("warned of %q", lines)
		}
		r.Start([]*Source{r.source(Config{URL: "https://late.example/keys"})})
		advance(time.Hour)
		r.checkFetches(2)
	})
}

func TestMetrics(t *testing.T) {
	bubble(t, newIssuer("a", "b"), func(t *testing.T, r *rig, s *Source) {
		r.checkSeries(map[string]float64{
			"framegate_jwks_fetches_total id.example.com ok": 0, "framegate_jwks_fetches_total id.example.com unreachable": 0,
			"framegate_jwks_fetches_total id.example.com status": 0, "framegate_jwks_fetches_total id.example.com invalid": 0,
			"framegate_jwks_keys id.example.com": 0, "framegate_jwks_age_seconds id.example.com": 0,
		})
		advance(3*time.Second + 50*time.Millisecond)
		r.issuer.fail(errors.New("connection refused"))
		lookup(s, "c") // 50 ms, and another try a second later
		r.issuer.fail(nil)
		r.issuer.change(func() { r.issuer.answer.status = 404 })
		advance(1100 * time.Millisecond) // and again 2 s later
		r.issuer.change(func() { r.issuer.answer.status, r.issuer.answer.body = 200, []byte("{}") })
		advance(2100 * time.Millisecond)
		r.checkSeries(map[string]float64{
			"framegate_jwks_fetches_total id.example.com ok": 1, "framegate_jwks_fetches_total id.example.com unreachable": 1,
			"framegate_jwks_fetches_total id.example.com status": 1, "framegate_jwks_fetches_total id.example.com invalid": 1,
			"framegate_jwks_keys id.example.com": 2, "framegate_jwks_age_seconds id.example.com": 6.25,
		})
	})
}

// Several sets of one host share its series: the keys of all, the age of the oldest. A host that is gone takes its series along.
func TestMetricsOfOneHost(t *testing.T) {
	bubble(t, newIssuer("a", "b"), func(t *testing.T, r *rig, s *Source) {
		advance(5*time.Second + 50*time.Millisecond)
		more := r.source(Config{URL: testURL + "/more"})
		r.Start([]*Source{s, more, r.source(Config{URL: "https://[2001:db8::1]:8443/keys"})})
		advance(2*time.Second + 50*time.Millisecond)
		got := r.series()
		for name, want := range map[string]float64{
			"framegate_jwks_fetches_total id.example.com ok":       2,
			"framegate_jwks_keys id.example.com":                   4,
			"framegate_jwks_age_seconds id.example.com":            7.05,
			"framegate_jwks_keys [2001:db8::1]:8443":               2,
			"framegate_jwks_age_seconds [2001:db8::1]:8443":        2,
			"framegate_jwks_fetches_total [2001:db8::1]:8443 ok":   1,
			"framegate_jwks_fetches_total [2001:db8::1]:8443 none": 0,
		} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
		r.Start([]*Source{more})
		synctest.Wait()
		if got := r.series(); len(got) != 6 || got["framegate_jwks_fetches_total id.example.com ok"] != 2 {
			t.Errorf("series %v", got)
		}
		r.Start(nil)
		synctest.Wait()
		r.checkSeries(map[string]float64{})
	})
}

// Many users at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	bubble(t, newIssuer("a"), func(t *testing.T, r *rig, s *Source) {
		r.issuer.says("max-age=60")
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for n := range 100 {
					lookup(s, "a")
					lookup(s, fmt.Sprint(i, n))
					r.source(Config{URL: fmt.Sprintf("https://%d.example/keys", n%3)})
					if i == 0 {
						r.Start([]*Source{s, r.source(Config{URL: fmt.Sprintf("https://%d.example/keys", n%3)})})
						r.series()
					}
					s.Ready()
					time.Sleep(time.Second)
				}
			})
		}
		all.Wait()
		check(t, s, "a", "found", 0)
	})
}
