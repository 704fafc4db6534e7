//go:build unix

package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// A generation is one of the processes of a gateway that is upgraded: they share what they write to.
type generation struct {
	*wstest.Process
	pid int
}

// signalled sends a signal to this very process.
func (g *generation) signalled(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(g.pid, sig); err != nil {
		t.Fatalf("sending %v to %d: %v", sig, g.pid, err)
	}
}

// upgrade has the n-th upgrade happen, counted from 1, and returns the process that serves afterwards.
func (g *generation) upgrade(t *testing.T, n int) *generation {
	t.Helper()
	g.signalled(t, syscall.SIGUSR2)
	line := g.WaitLogs("upgraded", n)[n-1]
	next := &generation{g.Process, int(line["pid"].(float64))}
	t.Cleanup(func() { syscall.Kill(next.pid, syscall.SIGKILL) }) // before the cleanup of the first process, which waits for the output's end
	return next
}

// stop ends a gateway of n processes by its last one.
func (g *generation) stop(t *testing.T, n int) {
	t.Helper()
	g.signalled(t, syscall.SIGTERM)
	g.WaitLogs("stopped", n)
	if code := g.Wait(); code != 0 {
		t.Errorf("the first process ended with code %d", code)
	}
}

// upgradable is a configuration in front of an echo.
func upgradable(t *testing.T, more string) (config string, up *wstest.Recorder) {
	up = wstest.NewRecorder(t, wstest.Echo)
	return fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes: [{name: rows, hosts: [app.example.com], upstream: rows, close_timeout: 1s}]
upstreams: {rows: {servers: ["ws://%s"]}}
%s
`, up.Addr(), more), up
}

// upgradeLoad is traffic that goes on through upgrades.
type upgradeLoad struct {
	addr     string
	stop     chan struct{}
	all      sync.WaitGroup
	mu       sync.Mutex
	mistakes []string
	messages atomic.Int64
	sessions atomic.Int64
}

func (l *upgradeLoad) mistake(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mistakes = append(l.mistakes, fmt.Sprintf(format, args...))
}

func (l *upgradeLoad) over() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// session is one client that is served until the load stops, or n messages were echoed.
func (l *upgradeLoad) session(t *testing.T, n int) {
	c, err := wstest.TryDial(t, l.addr)
	if err != nil {
		l.mistake("connecting: %v", err)
		return
	}
	defer c.Close()
	c.Send(wstest.HS0("/").Without("Origin").Bytes())
	if resp, err := c.ReadHead(); err != nil || resp.Status != 101 {
		l.mistake("handshake: %v, %v", resp, err)
		return
	}
	for i := 0; i < n && !l.over(); i++ {
		text := []byte("message " + strconv.Itoa(i))
		c.Send(wstest.ClientFrame(0x81, text))
		f, err := c.ReadFrame()
		if err != nil || !bytes.Equal(f.Payload, text) {
			l.mistake("message %d: got %v, %v", i, f, err)
			return
		}
		l.messages.Add(1)
	}
	c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
	if f, err := c.ReadFrame(); err != nil || !f.IsClose() {
		l.mistake("the end: got %v, %v, want Close", f, err)
	}
	l.sessions.Add(1)
}

// TestUpgradeUnderLoad replaces a gateway three times while clients connect and talk all the time: no connection attempt is refused, no
// connection cut, no message lost, and each process ends with its last connection.
func TestUpgradeUnderLoad(t *testing.T) {
	t.Parallel()
	config, _ := upgradable(t, "")
	p := wstest.Start(t, config)
	g := &generation{p, p.PID()}
	l := &upgradeLoad{addr: p.Addr, stop: make(chan struct{})}
	for range 20 { // that stay
		l.all.Go(func() { l.session(t, 1<<30) })
	}
	for range 4 { // that come and go
		l.all.Go(func() {
			for !l.over() {
				l.session(t, 3)
			}
		})
	}
	grows := func(n *atomic.Int64, by int64) {
		t.Helper()
		from, deadline := n.Load(), time.Now().Add(wstest.Patience)
		for n.Load() < from+by {
			if time.Sleep(5 * time.Millisecond); time.Now().After(deadline) {
				t.Fatalf("only %d of %d more within %v; %q", n.Load()-from, by, wstest.Patience, l.mistakes)
			}
		}
	}
	for n := 1; n <= 3; n++ {
		grows(&l.sessions, 20)
		g = g.upgrade(t, n)
		grows(&l.sessions, 20)
		grows(&l.messages, 200)
	}
	if n := len(p.Logs("stopped")); n > 2 {
		t.Errorf("%d processes have ended, also the first one, whose clients are there", n)
	}
	close(l.stop)
	l.all.Wait()
	p.WaitLogs("stopped", 3) // those that were replaced
	for _, m := range l.mistakes {
		t.Error(m)
	}
	t.Logf("%d messages in %d sessions", l.messages.Load(), l.sessions.Load())
	c := wstest.Dial(t, p.Addr)
	c.Upgrade(wstest.HS0("/").Without("Origin"))
	c.Close()
	g.stop(t, 4)
	if _, err := wstest.TryDial(t, p.Addr); err == nil {
		t.Error("after the end somebody accepts")
	}
}

// TestUpgradeFails has upgrades fail in every way: nothing changes, and the log says so.
func TestUpgradeFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program, file := filepath.Join(dir, "framegate"), filepath.Join(dir, "gateway.yaml")
	install := func(script string) {
		t.Helper()
		next := program + ".new"
		if err := os.WriteFile(next, []byte("#!/bin/bash\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, program); err != nil {
			t.Fatal(err)
		}
	}
	run := "exec -a " + program + " " + wstest.Build(t) + ` "$@"`
	install(run)
	config, _ := upgradable(t, "upgrade: {timeout: 3s}")
	p := wstest.Launch{Program: []string{program}, Dir: dir}.Start(t, config)
	g := &generation{p, p.PID()}
	c := wstest.Dial(t, p.Addr)
	c.Upgrade(wstest.HS0("/").Without("Origin"))
	failed := 0
	fails := func(name, want string) {
		t.Helper()
		g.signalled(t, syscall.SIGUSR2)
		failed++
		if line := p.WaitLogs("upgrade failed", failed)[failed-1]; !strings.Contains(fmt.Sprint(line["error"]), want) {
			t.Errorf("%s: %v, want %q", name, line, want)
		}
		c.Send(wstest.ClientFrame(0x81, []byte(name)))
		c.ExpectFrame(0x81, []byte(name))
		other := wstest.Dial(t, p.Addr)
		other.Upgrade(wstest.HS0("/").Without("Origin"))
		other.Close()
	}
	install("exit 3")
	fails("a program that fails", "exit status 3")
	install("exec sleep 60")
	fails("a program that is never ready", "it was not ready in time")
	os.Remove(program)
	fails("no program", "no such file")
	install("echo this is another one >&2; " + run)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(file, append(whole, "nonsense: 1\n"...), 0o600)
	fails("a configuration with a mistake", "exit status 1")
	if !strings.Contains(p.Stderr(), `nonsense: unknown key`) {
		t.Error("the mistake in the configuration is told nowhere")
	}
	os.WriteFile(file, whole, 0o600)
	g = g.upgrade(t, 1) // and then it goes well
	if !strings.Contains(p.Stderr(), "this is another one") {
		t.Error("the program that was started is not the one that stands there now")
	}
	c.Send(wstest.ClientFrame(0x81, []byte("last")))
	c.ExpectFrame(0x81, []byte("last"))
	g.stop(t, 2)
	c.ExpectClose(1001) // the process before ends with the one that has taken its place
}

// TestUpgradeOfTheFirst: what is process 1 of its container would take its heir along when it ends, so it has none.
func TestUpgradeOfTheFirst(t *testing.T) {
	t.Parallel()
	unshare := []string{"unshare", "--pid", "--fork", "--kill-child"}
	if out, err := exec.Command(unshare[0], append(unshare[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("needs process namespaces, which are root's: %v: %s", err, out)
	}
	config, _ := upgradable(t, "")
	p := wstest.Launch{Program: append(unshare, wstest.Build(t))}.Start(t, config)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	first, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(first, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	if line := p.WaitLogs("upgrade failed", 1)[0]; !strings.Contains(fmt.Sprint(line["error"]), "process 1 of a container") {
		t.Errorf("the log has %v", line)
	}
	c := wstest.Dial(t, p.Addr)
	c.Upgrade(wstest.HS0("/").Without("Origin"))
	c.Close()
	syscall.Kill(first, syscall.SIGTERM)
	p.WaitLogs("stopped", 1)
}

// TestUpgradeDeadline has an old process give its last connections up, and follow reloads until then.
func TestUpgradeDeadline(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	readPID := func() int {
		text, _ := os.ReadFile(pidFile)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return pid
	}
	config, _ := upgradable(t, "upgrade: {deadline: 2s}")
	p := wstest.Start(t, config, "--pid-file", pidFile)
	g := &generation{p, p.PID()}
	if got := readPID(); got != g.pid {
		t.Errorf("the PID file has %d, want %d", got, g.pid)
	}
	c := wstest.Dial(t, p.Addr)
	c.Upgrade(wstest.HS0("/").Without("Origin"))
	next := g.upgrade(t, 1)
	start := time.Now()
	if got := readPID(); got != next.pid {
		t.Errorf("the PID file has %d, want %d of the new process", got, next.pid)
	}
	g.signalled(t, syscall.SIGUSR2)
	p.WaitLogs("no upgrade: one is under way or done, or the gateway ends", 1)
	next.signalled(t, syscall.SIGHUP)
	p.WaitLogs("reloaded", 2) // both
	c.Send(wstest.ClientFrame(0x81, []byte("on")))
	c.ExpectFrame(0x81, []byte("on"))
	c.ExpectClose(1001)
	between(t, "the end of the last connection", start, time.Second, wstest.Patience)
	c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1001, "")))
	p.WaitLogs("stopped", 1)
	next.stop(t, 2)
	if _, err := os.Stat(pidFile); !os.IsNotExist(err) {
		t.Errorf("after the end there is a PID file: %v", err)
	}
}
