// Package wstest holds what the tests of several packages share: the real binary as a child process, and pipes, peers and
// recorders for WebSocket connections. Only tests import it.
package wstest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

const (
	startTimeout = 30 * time.Second // a race build on a loaded machine takes seconds to listen
	stopTimeout  = 30 * time.Second
)

// Process is a running framegate. Its cleanup stops it with SIGTERM and demands exit code 0, unless the test has ended it.
type Process struct {
	Addr    string   // host:port of the first listener
	Addrs   []string // host:port of all listeners, in the order of the configuration
	Admin   string   // host:port of the admin listener, "" when it is off
	Storage string   // directory of certificates (tls.storage.file)

	tb     testing.TB
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has ended and all of its output has been read
	stdout outputLog
	stderr outputLog
	waited atomic.Bool // the test has judged the exit code itself
}

// outputLog collects the lines of one stream and wakes those who wait for one.
type outputLog struct {
	mu      sync.Mutex
	lines   []string
	changed chan struct{} // closed and replaced when a line arrives
}

// Start writes config to a file, runs `framegate run --config FILE args...` and returns when every listener has logged that it
// listens. Top-level keys that the test leaves out get values that let tests run side by side: version 1, an admin listener on
// a free port, a storage directory of its own, and a drain of 100 ms.
func Start(tb testing.TB, config string, args ...string) *Process {
	tb.Helper()
	return Launch{}.Start(tb, config, args...)
}

// StartIn is Start with the configuration in a directory that holds files which it names.
func StartIn(tb testing.TB, dir, config string, args ...string) *Process {
	tb.Helper()
	return Launch{Dir: dir}.Start(tb, config, args...)
}

// Launch is how a framegate is started where that matters.
type Launch struct {
	Program []string   // and what stands before its arguments; nil: what Build makes
	Env     []string   // beside that of the test
	Files   []*os.File // that it inherits, from descriptor 3 on; closed here once it has them
	Dir     string     // of the configuration; empty: one of this test
}

// Start is the function Start.
func (l Launch) Start(tb testing.TB, config string, args ...string) *Process {
	tb.Helper()
	dir := l.Dir
	if dir == "" {
		dir = tb.TempDir()
	}
	full, listeners, storage := completeConfig(tb, config, filepath.Join(dir, "storage"))
	file := filepath.Join(dir, "gateway.yaml")
	if err := os.WriteFile(file, []byte(full), 0o600); err != nil {
		tb.Fatal(err)
	}
	p := l.Command(tb, append([]string{"run", "--config", file}, args...)...)
	p.Storage = storage
	p.awaitListeners(listeners)
	return p
}

// StartCommand runs `framegate args...` for any subcommand and returns at once; use WaitLog to learn when it is ready.
func StartCommand(tb testing.TB, args ...string) *Process {
	tb.Helper()
	return Launch{}.Command(tb, args...)
}

// Command is StartCommand.
func (l Launch) Command(tb testing.TB, args ...string) *Process {
	tb.Helper()
	if l.Program == nil {
		l.Program = []string{Build(tb)}
	}
	p := &Process{tb: tb, done: make(chan struct{})}
	p.stdout.changed, p.stderr.changed = make(chan struct{}), make(chan struct{})
	p.cmd = exec.Command(l.Program[0], append(l.Program[1:], args...)...)
	p.cmd.ExtraFiles = l.Files
	p.cmd.Dir = tb.TempDir()
	// The race detector waits a second at each exit, by default, for reports that are under way.
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOGC=") }) // which may be set to make tests faster
	p.cmd.Env = append(env, "XDG_DATA_HOME="+tb.TempDir(), "GORACE=atexit_sleep_ms=50 "+os.Getenv("GORACE"))
	p.cmd.Env = append(p.cmd.Env, l.Env...)
	dieWithParent(p.cmd)
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("starting framegate: %v", err)
	}
	for _, f := range l.Files {
		f.Close()
	}
	go p.collect(stdout, stderr)
	tb.Cleanup(p.cleanup)
	return p
}

// completeConfig adds the top-level keys that are missing and counts the listeners, the admin listener included.
func completeConfig(tb testing.TB, config, storage string) (full string, listeners int, dir string) {
	tb.Helper()
	var top struct {
		Version   any
		Listeners []any
		TLS       struct {
			Storage struct{ File string }
		} `yaml:"tls"`
		Admin struct{ Address string }
		Drain any
	}
	if err := yaml.Unmarshal([]byte(config), &top); err != nil {
		tb.Fatalf("configuration of the test: %v", err)
	}
	var add strings.Builder
	if top.Version == nil {
		add.WriteString("version: 1\n")
	}
	if top.TLS.Storage.File == "" {
		top.TLS.Storage.File = storage
		add.WriteString("tls: {storage: {file: " + strconv.Quote(storage) + "}}\n") // names of tests are in it
	}
	if top.Admin.Address == "" {
		add.WriteString("admin: {address: \"127.0.0.1:0\"}\n")
	}
	if top.Drain == nil {
		add.WriteString("drain: {delay: 0s, window: 100ms, hard_stop: 10s}\n")
	}
	listeners = len(top.Listeners)
	if top.Admin.Address != "off" {
		listeners++
	}
	return strings.TrimRight(config, "\n") + "\n" + add.String(), listeners, top.TLS.Storage.File
}

// awaitListeners waits for n lines `msg="listening"` and keeps their addresses.
func (p *Process) awaitListeners(n int) {
	p.tb.Helper()
	lines := p.WaitLogs("listening", n)
	for _, line := range lines {
		addr, _ := line["address"].(string)
		if isAdmin(line) {
			p.Admin = addr
		} else {
			p.Addrs = append(p.Addrs, addr)
		}
	}
	if len(p.Addrs) > 0 {
		p.Addr = p.Addrs[0]
	}
}

// isAdmin reports whether the line is of the admin listener: one of its other fields says so.
func isAdmin(line map[string]any) bool {
	for key, value := range line {
		if key != "address" && key != "msg" && (value == "admin" || key == "admin" && value == true) {
			return true
		}
	}
	return false
}

// collect owns both output streams and the process until it has ended.
func (p *Process) collect(stdout, stderr io.Reader) {
	var streams sync.WaitGroup
	streams.Go(func() { p.stdout.read(stdout) })
	streams.Go(func() { p.stderr.read(stderr) })
	streams.Wait()
	p.cmd.Wait() // the state holds the exit code; a non-zero one is not an error here
	close(p.done)
}

func (l *outputLog) read(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			l.mu.Lock()
			l.lines = append(l.lines, strings.TrimSuffix(line, "\n"))
			close(l.changed)
			l.changed = make(chan struct{})
			l.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

func (l *outputLog) snapshot() (lines []string, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[:len(l.lines):len(l.lines)], l.changed
}

// Stderr returns what the process has written to standard error so far.
func (p *Process) Stderr() string {
	lines, _ := p.stderr.snapshot()
	return strings.Join(lines, "\n")
}

// Stdout returns what the process has written to standard output so far.
func (p *Process) Stdout() string {
	lines, _ := p.stdout.snapshot()
	return strings.Join(lines, "\n")
}

// Logs returns the JSON log lines so far whose msg is the given one; "" takes all of them.
func (p *Process) Logs(msg string) []map[string]any {
	lines, _ := p.stderr.snapshot()
	return logLines(lines, msg)
}

func logLines(lines []string, msg string) []map[string]any {
	var found []map[string]any
	for _, line := range lines {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && (msg == "" || fields["msg"] == msg) {
			found = append(found, fields)
		}
	}
	return found
}

// WaitLogs waits until there are at least n log lines with the given msg and returns all of them. It fails the test when the
// process ends first or 30 s have passed.
func (p *Process) WaitLogs(msg string, n int) []map[string]any {
	p.tb.Helper()
	var found []map[string]any
	p.wait(&p.stderr, func(lines []string) bool {
		found = logLines(lines, msg)
		return len(found) >= n
	}, func() string { return fmt.Sprintf("%d of %d log lines %q", len(found), n, msg) })
	return found
}

// WaitStdout waits until standard output matches and returns the match with its groups. It fails the test as WaitLogs does.
func (p *Process) WaitStdout(pattern *regexp.Regexp) []string {
	p.tb.Helper()
	var match []string
	p.wait(&p.stdout, func(lines []string) bool {
		match = pattern.FindStringSubmatch(strings.Join(lines, "\n"))
		return match != nil
	}, func() string { return fmt.Sprintf("no output that matches %v", pattern) })
	return match
}

// wait waits until the lines of one stream satisfy enough; progress tells how far it came when that fails.
func (p *Process) wait(l *outputLog, enough func(lines []string) bool, progress func() string) {
	p.tb.Helper()
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	done := p.done
	for {
		lines, changed := l.snapshot()
		if enough(lines) {
			return
		}
		if done == nil {
			p.tb.Fatalf("framegate ended with code %d: %s", p.cmd.ProcessState.ExitCode(), progress())
		}
		select {
		case <-changed:
		case <-done:
			done = nil // look once more: the last lines may have come just before the end
		case <-timeout.C:
			p.tb.Fatalf("after %v: %s", startTimeout, progress())
		}
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal; a process that has ended already is no error.
func (p *Process) Signal(sig os.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.tb.Fatalf("sending %v to framegate: %v", sig, err)
	}
}

// Wait waits until the process has ended, 30 s at most, and returns its exit code, -1 if a signal ended it. A test that calls it
// judges the exit code itself; the cleanup then only looks for data races.
func (p *Process) Wait() int {
	p.tb.Helper()
	p.waited.Store(true)
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(stopTimeout):
	}
	p.tb.Errorf("framegate did not end within %v", stopTimeout)
	p.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines belong into the failure's log
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		p.cmd.Process.Kill()
		<-p.done
	}
	return p.cmd.ProcessState.ExitCode()
}

// Stop sends SIGTERM and fails the test unless the process ends with code 0.
func (p *Process) Stop() {
	p.tb.Helper()
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		p.tb.Errorf("framegate ended with code %d after SIGTERM, want 0", code)
	}
}

func (p *Process) cleanup() {
	if !p.waited.Load() {
		p.Stop()
	}
	p.cmd.Process.Kill() // a test may have waited for nothing but its time-out
	<-p.done
	stderr := p.Stderr()
	if strings.Contains(stderr, "WARNING: DATA RACE") {
		p.tb.Errorf("the race detector found a data race in framegate")
	}
	if p.tb.Failed() {
		const most = 20_000
		p.tb.Logf("framegate %v\n%s", p.cmd.Args[1:], stderr[max(0, len(stderr)-most):])
	}
}

// Port returns the port of a host:port address such as Addr.
func Port(tb testing.TB, addr string) string {
	tb.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatalf("address %q: %v", addr, err)
	}
	return port
}
