package wstest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// RootFile is the path of the internal CA's root, which the gateway writes when a listener has `certificates: internal`.
func (p *Process) RootFile() string { return filepath.Join(p.Storage, "internal", "root.crt") }

// ClientTLS returns a configuration that trusts the internal CA's root alone and names the server localhost.
func (p *Process) ClientTLS() *tls.Config {
	p.tb.Helper()
	pem, err := os.ReadFile(p.RootFile())
	if err != nil {
		p.tb.Fatalf("the internal root: %v", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		p.tb.Fatalf("no certificate in %s", p.RootFile())
	}
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// Metrics returns every series of the admin listener's /metrics, keyed as it is printed: `name` or `name{label="value"}`.
func (p *Process) Metrics() map[string]float64 {
	p.tb.Helper()
	client := &http.Client{Timeout: Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + p.Admin + "/metrics")
	if err != nil { // on a machine too busy to have the request read in time
		resp, err = client.Get("http://" + p.Admin + "/metrics")
	}
	if err != nil {
		p.tb.Fatalf("reading metrics: %v", err)
	}
	defer resp.Body.Close()
	series := make(map[string]float64)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		line := lines.Text()
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			p.tb.Fatalf("metrics line %q: %v", line, err)
		}
		series[line[:cut]] = value
	}
	if err := lines.Err(); err != nil || resp.StatusCode != http.StatusOK {
		p.tb.Fatalf("reading metrics: status %d, %v", resp.StatusCode, err)
	}
	return series
}

// Usage is what a process holds at one moment.
type Usage struct {
	Goroutines  int // the series go_goroutines of /metrics
	Descriptors int // the entries of /proc/PID/fd
}

func (u Usage) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors", u.Goroutines, u.Descriptors)
}

// Usage reads the present goroutine and descriptor counts. Both include what the reading itself needs.
func (p *Process) Usage() Usage {
	p.tb.Helper()
	goroutines, ok := p.Metrics()["go_goroutines"]
	if !ok {
		p.tb.Fatalf("/metrics has no go_goroutines")
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err != nil {
		p.tb.Fatal(err)
	}
	return Usage{Goroutines: int(goroutines), Descriptors: len(entries)}
}

// WaitUsage waits, limit at most, until the process holds no more than want, and returns that reading. It fails the test otherwise.
func (p *Process) WaitUsage(want Usage, limit time.Duration) Usage {
	p.tb.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(limit); ; <-poll.C {
		got := p.Usage()
		if got.Goroutines <= want.Goroutines && got.Descriptors <= want.Descriptors {
			return got
		}
		if time.Now().After(deadline) {
			p.tb.Errorf("framegate holds %v after %v, want at most %v", got, limit, want)
			return got
		}
	}
}

// Ready returns the status of /readyz on the admin listener.
func (p *Process) Ready() int {
	p.tb.Helper()
	client := &http.Client{Timeout: Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + p.Admin + "/readyz")
	if err != nil {
		p.tb.Fatalf("asking whether the gateway is ready: %v", err)
	}
	resp.Body.Close()
	return resp.StatusCode
}
