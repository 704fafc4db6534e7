package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// The tests of the peers_*_test.go files run real clients and real servers through the real binary: Chromium, and the Node scripts
// of testdata/peers. With FRAMEGATE_DIRECT=1 in the environment the clients reach the upstreams without the gateway, which tells a
// fault of the peers from one of the gateway.

const (
	kib = 1 << 10
	mib = 1 << 20

	peerTimeout = 150 * time.Second // for one verdict of a script
)

// sizesTo returns the payload sizes at which the length field of a frame changes its form, and those that no buffer holds, up to the
// given one.
func sizesTo(most int) []int {
	sizes := []int{0, 1, 125, 126, 127, 65535, 65536, mib, 16 * mib}
	return sizes[:slices.Index(sizes, most)+1]
}

// peer is a Node script under testdata/peers while it runs.
type peer struct {
	t      *testing.T
	script string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan peerLine // closed when the script's output ends
	stderr *strings.Builder
	passed int // checks so far
}

// peerLine is one line that a script prints.
type peerLine struct {
	Event string // of an upstream or of a script that waits for the test: "listening", "open", "close", ...
	Check string // the name of a check that has just been made
	OK    bool
	Error string
	Done  bool // every check has passed

	Port         int
	Extensions   string
	Origin       *string
	Code         int
	Reason, Text string
}

// startPeer runs a script with options as its argument. The cleanup ends it.
func startPeer(t *testing.T, script string, options any, env ...string) *peer {
	t.Helper()
	dir := filepath.Join("testdata", "peers")
	node := findNode(t, dir)
	argument, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, script: script, lines: make(chan peerLine, 64), stderr: new(strings.Builder)}
	p.cmd = exec.Command(node, script, string(argument))
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.stderr
	p.stdin, err = p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", script, err)
	}
	go p.read(stdout)
	t.Cleanup(p.kill)
	return p
}

// findNode returns the absolute path of Node.js: the one that make test has put beside the packages because the machine's is too old,
// else the machine's.
func findNode(t *testing.T, dir string) string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err != nil {
		t.Fatalf("the Node packages of %s are missing, run make test: %v", dir, err)
	}
	scripts, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts { // go test's cache notes this: a result is stale when a script has changed
		if _, err := os.Stat(filepath.Join(dir, script.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if own, _ := filepath.Glob(filepath.Join(dir, "node_modules", "node-linux-*", "bin", "node")); len(own) > 0 {
		path, err := filepath.Abs(own[0])
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	path, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("Node.js is missing, run make test: %v", err)
	}
	return path
}

func (p *peer) read(stdout io.Reader) {
	defer close(p.lines)
	scanner := bufio.NewScanner(stdout)
	for scanner.Scan() {
		line := peerLine{}
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			line = peerLine{Check: "output", Error: fmt.Sprintf("not a JSON line: %q", scanner.Text())}
		}
		p.lines <- line
	}
}

// kill ends the script with SIGKILL, so that the kernel ends its connections; the peers see no Close from it.
func (p *peer) kill() {
	p.cmd.Process.Kill()
	for line := range p.lines { // the reader must not block on a line that nobody has asked for
		if line.Event == "error" {
			p.t.Errorf("%s: %s", p.script, line.Error)
		}
	}
	p.cmd.Wait()
	if p.t.Failed() && p.stderr.Len() > 0 {
		p.t.Logf("%s: %s", p.script, p.stderr)
		p.stderr.Reset()
	}
}

// next returns the next line, ok false at the end of the output. A failed check fails the test.
func (p *peer) next() (line peerLine, ok bool) {
	p.t.Helper()
	timeout := time.NewTimer(peerTimeout)
	defer timeout.Stop()
	select {
	case line, ok = <-p.lines:
	case <-timeout.C:
		p.t.Fatalf("%s: no line for %v", p.script, peerTimeout)
	}
	if line.Check != "" && !line.OK || line.Event == "error" {
		p.t.Errorf("%s: %s: %s", p.script, line.Check, line.Error)
	} else if line.Check != "" {
		p.passed++
	}
	return line, ok
}

// await reads up to the line of the named event.
func (p *peer) await(event string) peerLine {
	p.t.Helper()
	for {
		line, ok := p.next()
		if !ok {
			p.t.Fatalf("%s ended before its event %q", p.script, event)
		}
		if line.Event == event {
			return line
		}
	}
}

// say writes one line to the script.
func (p *peer) say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v", p.script, err)
	}
}

// verdict reads the script's checks to its end and demands at least the given number of them, all passed.
func (p *peer) verdict(checks int) {
	p.t.Helper()
	done := false
	for {
		line, ok := p.next()
		if !ok {
			break
		}
		done = done || line.Done
	}
	if !done || p.passed < checks {
		p.t.Errorf("%s: %d of at least %d checks passed, finished: %v", p.script, p.passed, checks, done)
	}
}

// edge is where the clients of a test connect to.
type edge struct {
	HTTP, WS string          // base URLs, without a slash at the end
	CutCode  int             // the close code that a client sees when the upstream's connection ends without a Close
	Gateway  *wstest.Process // nil with FRAMEGATE_DIRECT
}

// newEdge starts a gateway with a TLS listener of the internal CA in front of the upstream at 127.0.0.1:port. The limits of its
// policy let messages of 16 MiB pass, with a little more for what deflate adds to noise. A script answers no ping while it makes or
// compresses as much, which takes long on a busy machine.
func newEdge(t *testing.T, port int, route ...string) *edge {
	t.Helper()
	return newEdgeOn(t, "auto", port, route...)
}

// newEdgeOn is newEdge with a driver.
func newEdgeOn(t *testing.T, driver string, port int, route ...string) *edge {
	t.Helper()
	return edgeOf(t, driver, fmt.Sprintf(`servers: ["ws://127.0.0.1:%d"]`, port), port, route...)
}

// edgeOf is newEdgeOn with keys of the upstream.
func edgeOf(t *testing.T, driver, upstream string, port int, route ...string) *edge {
	t.Helper()
	if os.Getenv("FRAMEGATE_DIRECT") == "1" {
		address := fmt.Sprintf("://127.0.0.1:%d", port)
		return &edge{HTTP: "http" + address, WS: "ws" + address, CutCode: 1006}
	}
	config := fmt.Sprintf(`
version: 1
listeners:
  - address: "127.0.0.1:0"
    tls: {certificates: internal}
    protocols: [h1]
routes:
  - name: peers
    hosts: [localhost]
    upstream: peer
    policies: [large]
    pong_timeout: 2m
    %s
upstreams:
  peer: {%s}
policies:
  large:
    client: {max_frame: 17MiB, max_message: 17MiB, max_fragments: 8192}
    upstream: {max_frame: 17MiB, max_message: 17MiB, max_fragments: 8192}
driver: %s
`, strings.Join(route, "\n    "), upstream, driver)
	p := wstest.Start(t, config)
	address := "://localhost:" + wstest.Port(t, p.Addr)
	return &edge{HTTP: "https" + address, WS: "wss" + address, CutCode: 1011, Gateway: p}
}

// env is the environment in which a Node client trusts the gateway's certificate, and that alone beyond the public ones.
func (e *edge) env() []string {
	if e.Gateway == nil {
		return nil
	}
	return []string{"NODE_EXTRA_CA_CERTS=" + e.Gateway.RootFile()}
}
