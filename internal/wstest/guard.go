package wstest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Canary begins every secret that the tests send: tokens, cookies, keys, payloads (invariant I2 of security.md).
const Canary = "S3CRET"

// canaries are the forms in which a secret could show: as it is, in base64, and the key of HS0.
var canaries = []string{Canary, strings.ToLower(Canary), "UzNDUkVU", strings.TrimRight(HS0Key, "=")}

// Guard takes the gateway's present resources as the baseline. The cleanup then demands, once the test and its subtests are over,
// that within 5 s goroutines and descriptors are back (I3), that no canary and no control byte is in its output or its metrics
// (I2), that each line of its log is whole, and that nothing that a client said has made a new series.
func Guard(tb testing.TB, p *Process) {
	tb.Helper()
	// The reading itself takes goroutines, more or fewer of them at a time: the most of a few readings is what quiet means.
	baseline := p.Usage()
	for range 8 {
		u := p.Usage()
		baseline.Goroutines = max(baseline.Goroutines, u.Goroutines)
		baseline.Descriptors = max(baseline.Descriptors, u.Descriptors)
	}
	before := p.Metrics()
	tb.Cleanup(func() {
		tb.Helper()
		p.WaitUsage(baseline, 5*time.Second)
		CheckSecrets(tb, p)
		for series := range p.Metrics() {
			if _, ok := before[series]; !ok && strings.HasPrefix(series, "framegate_") {
				tb.Errorf("the series %s was not there from the start", series)
			}
		}
	})
}

// CheckSecrets demands that neither the gateway's output nor its metrics hold a canary or a raw control byte.
func CheckSecrets(tb testing.TB, p *Process) {
	tb.Helper()
	for line := range strings.SplitSeq(p.Stdout()+"\n"+p.Stderr(), "\n") {
		if found := canaryIn(line); found != "" {
			tb.Errorf("canary %q in the log line %.300q", found, line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
			tb.Errorf("control byte %#x in the log line %.300q", line[i], line)
		}
	}
	for line := range strings.SplitSeq(p.Stderr(), "\n") {
		checkLine(tb, line)
	}
	for series := range p.Metrics() {
		if found := canaryIn(series); found != "" {
			tb.Errorf("canary %q in the series %.300q", found, series)
		}
	}
}

// checkLine demands of one log line that it is JSON and that no field is over 1,024 bytes, a cut marked by at most a few more.
func checkLine(tb testing.TB, line string) {
	tb.Helper()
	var fields map[string]any
	if line != "" && json.Unmarshal([]byte(line), &fields) != nil {
		tb.Errorf("log line is not JSON: %.300q", line)
	}
	for name, value := range fields {
		if text, ok := value.(string); ok && len(text) > 1024+16 {
			tb.Errorf("log field %s has %d bytes: %.100q", name, len(text), text)
		}
	}
}

func canaryIn(s string) string {
	for _, c := range canaries {
		if strings.Contains(s, c) {
			return c
		}
	}
	return ""
}

// revealing matches what no answer to a client may hold: addresses, ports and versions.
var revealing = regexp.MustCompile(`\d+\.\d+\.\d+|\[?::1|:\d{2,5}|(?i)go1\.|(?i)framegate/|goroutine|dial tcp|\.go\b`)

// CheckRefusal demands of a response that the gateway made itself that it ends the connection and tells the client constant text
// only (I5).
func CheckRefusal(tb testing.TB, resp *Response) {
	tb.Helper()
	if !strings.EqualFold(resp.Get("Connection"), "close") {
		tb.Errorf("%q carries Connection: %q, want close", resp.Line, resp.Get("Connection"))
	}
	if len(resp.Body) > 256 {
		tb.Errorf("%q has a body of %d bytes, want a short constant text", resp.Line, len(resp.Body))
	}
	for _, text := range append([]string{string(resp.Body)}, resp.Fields...) {
		if name, value, ok := strings.Cut(text, ":"); ok && strings.EqualFold(name, "Date") && len(value) > 20 {
			continue
		}
		if found := revealing.FindString(text); found != "" {
			tb.Errorf("%q reveals %q in %q", resp.Line, found, text)
		}
		if found := canaryIn(text); found != "" {
			tb.Errorf("%q holds the canary %q in %q", resp.Line, found, text)
		}
	}
}

// CPU returns the processor time that the gateway has used so far, of all its threads, to the nanosecond.
func (p *Process) CPU() time.Duration {
	p.tb.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.PID()))
	if err != nil || len(files) == 0 {
		p.tb.Fatalf("no schedstat of the gateway: %v", err)
	}
	var total time.Duration
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has just ended; its time is lost, which a difference of two readings can bear
		}
		ns, err := strconv.ParseInt(strings.Fields(string(data))[0], 10, 64)
		if err != nil {
			p.tb.Fatalf("%s: %v", file, err)
		}
		total += time.Duration(ns)
	}
	return total
}
