//go:build linux

package main_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// A fakeManager is the socket of a service manager.
type fakeManager struct {
	conn *net.UnixConn
	path string
}

func newFakeManager(t *testing.T) *fakeManager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &fakeManager{conn, path}
}

// next returns the next message, but those of the watchdog unless that is what is waited for.
func (m *fakeManager) next(t *testing.T, want string) string {
	t.Helper()
	m.conn.SetReadDeadline(time.Now().Add(wstest.Patience))
	for b := make([]byte, 1024); ; {
		n, err := m.conn.Read(b)
		if err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
		if got := string(b[:n]); got != "WATCHDOG=1" || want == got {
			return got
		}
	}
}

func (m *fakeManager) expect(t *testing.T, pattern string) {
	t.Helper()
	if got := m.next(t, pattern); !regexp.MustCompile("^" + pattern + "$").MatchString(got) {
		t.Errorf("the service manager was told %q, want %q", got, pattern)
	}
}

// The service manager hears of everything in its order, from the one process that is the service.
func TestSystemdIsTold(t *testing.T) {
	t.Parallel()
	m := newFakeManager(t)
	config, _ := upgradable(t, "")
	p := wstest.Launch{Env: []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=200000"}}.Start(t, config)
	g := &generation{p, p.PID()}
	m.expect(t, "READY=1")
	for range 3 {
		m.expect(t, "WATCHDOG=1")
	}
	g.signalled(t, syscall.SIGHUP)
	m.expect(t, `RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*\n`)
	m.expect(t, "READY=1")
	c := wstest.Dial(t, p.Addr)
	c.Upgrade(wstest.HS0("/").Without("Origin"))
	next := g.upgrade(t, 1)
	m.expect(t, fmt.Sprintf("READY=1\nMAINPID=%d", next.pid))
	for range 3 {
		m.expect(t, "WATCHDOG=1") // of the new process: the old one is silent
	}
	next.signalled(t, syscall.SIGHUP)
	m.expect(t, `RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*\n`)
	m.expect(t, "READY=1")
	p.WaitLogs("reloaded", 3)
	next.signalled(t, syscall.SIGTERM)
	m.expect(t, "STOPPING=1")
	p.WaitLogs("stopped", 2)
	p.Wait()
	m.conn.SetReadDeadline(time.Now())
	for b := make([]byte, 1024); ; {
		n, err := m.conn.Read(b)
		if err != nil {
			break
		}
		if got := string(b[:n]); got != "WATCHDOG=1" {
			t.Errorf("and then %q", got)
		}
	}
}

// activated starts a gateway with sockets of the given names, as systemd does.
func activated(t *testing.T, config string, names ...string) (p *wstest.Process, addrs []string) {
	t.Helper()
	var files []*os.File
	for range names {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		files, addrs = append(files, f), append(addrs, ln.Addr().String())
		ln.Close()
	}
	p = wstest.Launch{
		Program: []string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, wstest.Build(t)}, Files: files,
		Env: []string{fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES=" + strings.Join(names, ":")},
	}.Start(t, config)
	return p, addrs
}

// Sockets of systemd are found by their names, and handed on.
func TestSystemdSocketActivation(t *testing.T) {
	t.Parallel()
	config, _ := upgradable(t, `admin: {address: "127.0.0.1:1"}`)
	// Nobody may listen there: the sockets must come from elsewhere.
	config = strings.Replace(config, `address: "127.0.0.1:0"`, `address: "127.0.0.1:2", socket: clients`, 1)
	p, addrs := activated(t, config, "admin", "other", "clients")
	if p.Admin != addrs[0] || p.Addr != addrs[2] {
		t.Errorf("it listens on %s and %s, want %s and %s", p.Admin, p.Addr, addrs[0], addrs[2])
	}
	if line := p.WaitLogs("no listener is for this inherited socket", 1)[0]; line["socket"] != "other" {
		t.Errorf("got %v", line)
	}
	// It is closed after the line about it.
	for deadline := time.Now().Add(wstest.Patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addrs[1])
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the socket that nobody wants is still open")
		}
	}
	c := wstest.Dial(t, p.Addr)
	c.Upgrade(wstest.HS0("/").Without("Origin"))
	g := &generation{p, p.PID()}
	next := g.upgrade(t, 1)
	other := wstest.Dial(t, p.Addr)
	other.Upgrade(wstest.HS0("/").Without("Origin"))
	for _, c := range []*wstest.Client{c, other} {
		c.Send(wstest.ClientFrame(0x81, []byte("a")))
		c.ExpectFrame(0x81, []byte("a"))
	}
	next.stop(t, 2)
}

// What is no listening socket is told at the start.
func TestSystemdForeignDescriptor(t *testing.T) {
	t.Parallel()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	config, _ := upgradable(t, "")
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte("version: 1\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := wstest.Launch{
		Program: []string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, wstest.Build(t)}, Files: []*os.File{f},
		Env: []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=clients"},
	}.Command(t, "run", "--config", file)
	if code := p.Wait(); code != 1 || !strings.Contains(p.Stderr(), `inherited socket "clients" is no listening stream socket`) {
		t.Errorf("code %d: %s", code, p.Stderr())
	}
}

// The unit files of the example are right, as far as systemd can tell.
func TestSystemdExample(t *testing.T) {
	t.Parallel()
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"framegate.service", "framegate.socket"} {
		text, err := os.ReadFile("../../examples/systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.ReplaceAll(string(text), "/usr/local/bin/framegate", wstest.Build(t)))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(verify, "verify", "--man=no", filepath.Join(dir, "framegate.socket"), filepath.Join(dir, "framegate.service"))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
