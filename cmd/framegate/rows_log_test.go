package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// A logged gateway writes its log into a pipe that the test reads, or does not.
type logged struct {
	t           *testing.T
	cmd         *exec.Cmd
	log         *os.File
	lines       *bufio.Reader
	addr, admin string
}

// startLogged runs a gateway with debug logging and reads its log up to the lines of its listeners.
func startLogged(t *testing.T) *logged {
	t.Helper()
	up := wstest.NewRecorder(t, wstest.Echo)
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	config := fmt.Sprintf(`
version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes: [{name: r, hosts: [app.example.com], paths: [/ws/*], upstream: u}]
upstreams: {u: {servers: ["ws://%s"]}}
admin: {address: "127.0.0.1:0"}
log: {level: debug, format: json}
limits: {handshakes: 10000/s}
drain: {delay: 0s, window: 100ms, hard_stop: 10s}
`, up.Addr())
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g := &logged{t: t, cmd: exec.Command(wstest.Build(t), "run", "--config", file), log: r, lines: bufio.NewReader(r)}
	g.cmd.Stderr = w
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		g.cmd.Process.Kill()
		g.cmd.Wait()
		r.Close()
	})
	r.SetReadDeadline(time.Now().Add(wstest.Patience))
	for g.addr == "" || g.admin == "" {
		line, err := g.lines.ReadString('\n')
		if err != nil {
			t.Fatalf("reading the log: %v", err)
		}
		if m := regexp.MustCompile(`"address":"([^"]+)","for":"(\w+)"`).FindStringSubmatch(line); m != nil {
			*map[string]*string{"admin": &g.admin, "clients": &g.addr}[m[2]] = m[1]
		}
	}
	r.SetReadDeadline(time.Time{})
	return g
}

// dropped reads the counter of lost lines.
func (g *logged) dropped() int {
	g.t.Helper()
	resp, err := http.Get("http://" + g.admin + "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	m := regexp.MustCompile(`(?m)^framegate_log_lines_dropped_total (\d+)$`).FindSubmatch(text)
	if err != nil || m == nil {
		g.t.Fatalf("no counter of lost lines: %v", err)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// refused makes a request whose refusal is a line of more than a kibibyte.
func (g *logged) refused(i int) {
	c := wstest.Dial(g.t, g.addr)
	c.Send(wstest.HS0(fmt.Sprintf("/nowhere/%d/%s", i, strings.Repeat("p", 1000))).Bytes())
	if resp := c.Response(); resp.Status != 404 {
		g.t.Fatalf("got %q, want 404", resp.Line)
	}
	c.Close()
}

// stop demands that SIGTERM ends the gateway in order.
func (g *logged) stop() {
	g.t.Helper()
	g.cmd.Process.Signal(syscall.SIGTERM)
	start := time.Now()
	if err := g.cmd.Wait(); err != nil {
		g.t.Errorf("the gateway ended with %v", err)
	}
	between(g.t, "the end of the process", start, 0, 10*time.Second)
}

// TestRowsLogBlocked is row X-18: nobody reads the log, and nobody notices but the counter of lost lines.
func TestRowsLogBlocked(t *testing.T) {
	t.Parallel()
	g := startLogged(t)
	session := wstest.Dial(t, g.addr)
	session.Upgrade(wstest.HS0("/ws").Without("Origin"))
	n := 0
	for ; g.dropped() == 0; n += 50 {
		if n > 5000 {
			t.Fatal("no line was lost although nobody reads the log")
		}
		for i := range 50 {
			g.refused(n + i)
		}
		start := time.Now()
		session.Send(wstest.ClientFrame(0x81, []byte("still here")))
		session.ExpectFrame(0x81, []byte("still here"))
		between(t, "an echo while nobody reads the log", start, 0, 3*time.Second)
	}
	other := wstest.Dial(t, g.addr)
	other.Upgrade(wstest.HS0("/ws").Without("Origin"))
	other.Send(wstest.Hex("88 82 M 03e8"))
	other.ExpectClose(1000)

	rest := make(chan string)
	go func() { // somebody reads again
		text, _ := io.ReadAll(g.lines)
		rest <- string(text)
	}()
	g.stop()
	text := <-rest
	if got := strings.Count(text, `"msg":"refused"`); got < 100 || got > n {
		t.Errorf("%d refusals are in the log of %d, want those that fitted", got, n)
	}
	if !strings.HasSuffix(text, "\"msg\":\"stopped\"}\n") {
		t.Errorf("the log ends in %.300q", text[max(0, len(text)-300):])
	}
	session.ExpectClose(1001)
}

// TestRowsLogGone is its neighbour: whoever read the log has gone for good.
func TestRowsLogGone(t *testing.T) {
	t.Parallel()
	g := startLogged(t)
	session := wstest.Dial(t, g.addr)
	session.Upgrade(wstest.HS0("/ws").Without("Origin"))
	g.log.Close()
	for n := 0; g.dropped() < 3; n++ {
		g.refused(n)
	}
	session.Send(wstest.ClientFrame(0x81, []byte("still here")))
	session.ExpectFrame(0x81, []byte("still here"))
	g.stop()
	session.ExpectClose(1001)
}
