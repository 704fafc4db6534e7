//go:build linux

package main_test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// TestReloadBench does the experiment of row X-10 with 2,000 connections and 1,000 messages per second, against this gateway and those of Debian:
// make reload-bench. It demands what it says of Framegate, and prints what became of the others' connections.
func TestReloadBench(t *testing.T) {
	if os.Getenv("FRAMEGATE_RELOAD_BENCH") == "" {
		t.Skip("a measurement of minutes: make reload-bench")
	}
	const connections, perSecond, pause = 2000, 1000, 100 * time.Millisecond
	var table strings.Builder
	row := func(name string, r herdReport) {
		var codes []string
		for _, code := range slices.Sorted(maps.Keys(r.codes)) {
			codes = append(codes, fmt.Sprintf("%d: %d", code, r.codes[code]))
		}
		fmt.Fprintf(&table, "| %s | %d | %s | %d of %d | %d | %d |\n", name, r.cut, strings.Join(codes, ", "), r.refused, r.offenders, r.lost, r.processes)
	}
	t.Run("framegate", func(t *testing.T) {
		g := startReloading(t, herdOrigins(0), "limits: {handshakes: 10000/s}\n")
		r := newHerd(t, g.Addr, connections, perSecond).run(reloadedFramegate{g}, pause)
		checkHerd(t, r)
		row("Framegate", r)
	})
	for _, rival := range []struct {
		name   string
		make   func(t *testing.T, upstream string) *rival
		binary string
	}{
		{"nginx", newNginx(""), "nginx"},
		{"nginx, `worker_shutdown_timeout 10s`", newNginx("worker_shutdown_timeout 10s;"), "nginx"},
		{"HAProxy", newHAProxy(""), "haproxy"},
		{"HAProxy, `hard-stop-after 10s`", newHAProxy("hard-stop-after 10s"), "haproxy"},
		{"Caddy", newCaddy, "caddy"},
	} {
		t.Run(rival.name, func(t *testing.T) {
			if _, err := exec.LookPath(rival.binary); err != nil {
				t.Skipf("%s is not installed", rival.binary)
			}
			up := wstest.NewRecorder(t, wstest.Echo)
			g := rival.make(t, up.Addr())
			g.start()
			r := newHerd(t, g.addr, connections, perSecond).run(g, pause)
			t.Logf("%+v", r)
			row(rival.name, r)
		})
	}
	t.Logf("\n| gateway | cut although nothing had changed for them | codes that clients saw | refused by the new policy with 1008 | missed a message | processes at the end |\n|---|---|---|---|---|---|\n%s", table.String())
}

// A rival is another gateway. Whoever loses permission is refused by a rule on the Origin header, as its manual has it.
type rival struct {
	t       *testing.T
	addr    string
	file    string
	config  func(gone int) string
	command []string // that runs it
	check   []string // fails for a configuration that is wrong
	apply   []string // has it reload; nil: signal does
	signal  syscall.Signal
	env     []string
	cmd     *exec.Cmd
}

// freeAddr is an address of loopback that nobody had a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func (g *rival) start() {
	g.t.Helper()
	if err := os.WriteFile(g.file, []byte(g.config(0)), 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.cmd = exec.Command(g.command[0], g.command[1:]...)
	g.cmd.Env = append(os.Environ(), g.env...)
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
		g.cmd.Wait()
	})
	for deadline := time.Now().Add(wstest.Patience); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", g.addr); err == nil {
			c.Close()
			return
		} else if time.Now().After(deadline) {
			g.t.Fatal(err)
		}
	}
}

func (g *rival) reload(gone int, wrong bool) error {
	text := g.config(gone)
	if wrong {
		text += "\nnonsense {"
	}
	if err := os.WriteFile(g.file, []byte(text), 0o600); err != nil {
		return err
	}
	if g.check != nil {
		if exec.Command(g.check[0], g.check[1:]...).Run() != nil {
			return errRejected
		}
	}
	if g.apply == nil {
		return g.cmd.Process.Signal(g.signal)
	}
	apply := exec.Command(g.apply[0], g.apply[1:]...)
	apply.Env = append(os.Environ(), g.env...)
	if apply.Run() != nil {
		return errRejected
	}
	return nil
}

// processes counts those of the gateway's process group.
func (g *rival) processes() (n int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, _ := os.ReadFile(path)
		_, rest, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); len(fields) > 2 && fields[0] != "Z" && fields[2] == fmt.Sprint(g.cmd.Process.Pid) {
			n++
		}
	}
	return n
}

func newNginx(more string) func(t *testing.T, upstream string) *rival {
	return func(t *testing.T, upstream string) *rival {
		dir := t.TempDir()
		g := &rival{t: t, addr: freeAddr(t), file: filepath.Join(dir, "nginx.conf"), signal: syscall.SIGHUP}
		g.config = func(gone int) string {
			origins := ""
			for page := range gone {
				origins += fmt.Sprintf("%q 1; ", herdOrigin(page))
			}
			relay := fmt.Sprintf(`proxy_pass http://%s; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_read_timeout 1h;`, upstream)
			return fmt.Sprintf(`daemon off; worker_processes 2; worker_rlimit_nofile 20000; pid %[1]s/pid; error_log %[1]s/error.log; %[2]s
events { worker_connections 9000; }
http { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
map $http_origin $gone { default 0; %[3]s }
server { listen %[4]s; server_name app.example.com; if ($gone) { return 403; } location / { %[5]s } }
server { listen %[4]s; server_name other.example.com; location / { %[5]s } } }
`, dir, more, origins, g.addr, relay)
		}
		g.command, g.check = []string{"nginx", "-c", g.file}, []string{"nginx", "-t", "-q", "-c", g.file}
		return g
	}
}

func newHAProxy(more string) func(t *testing.T, upstream string) *rival {
	return func(t *testing.T, upstream string) *rival {
		g := &rival{t: t, addr: freeAddr(t), file: filepath.Join(t.TempDir(), "haproxy.cfg"), signal: syscall.SIGUSR2}
		g.config = func(gone int) string {
			deny := ""
			for page := range gone {
				deny += fmt.Sprintf("  http-request deny if { hdr(host) app.example.com } { req.hdr(origin) %s }\n", herdOrigin(page))
			}
			return fmt.Sprintf(`global
  maxconn 9000
  %s
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend f
  bind %s
%s  default_backend b
backend b
  server s %s
`, more, g.addr, deny, upstream)
		}
		g.command, g.check = []string{"haproxy", "-W", "-f", g.file}, []string{"haproxy", "-c", "-q", "-f", g.file}
		return g
	}
}

func newCaddy(t *testing.T, upstream string) *rival {
	dir, admin := t.TempDir(), freeAddr(t)
	g := &rival{t: t, addr: freeAddr(t), file: filepath.Join(dir, "Caddyfile"), env: []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}}
	_, port, _ := net.SplitHostPort(g.addr)
	g.config = func(gone int) string {
		deny := ""
		for page := range gone {
			deny += "    header Origin " + herdOrigin(page) + "\n"
		}
		if deny != "" {
			deny = "  @gone {\n" + deny + "  }\n  respond @gone 403\n"
		}
		return fmt.Sprintf(`{
  admin %[1]s
  auto_https off
}
http://app.example.com:%[2]s {
  bind 127.0.0.1
%[3]s  reverse_proxy %[4]s
}
http://other.example.com:%[2]s {
  bind 127.0.0.1
  reverse_proxy %[4]s
}
`, admin, port, deny, upstream)
	}
	g.command = []string{"caddy", "run", "--config", g.file, "--adapter", "caddyfile"}
	g.apply = []string{"caddy", "reload", "--config", g.file, "--adapter", "caddyfile", "--address", admin}
	return g
}
