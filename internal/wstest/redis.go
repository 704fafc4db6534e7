package wstest

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A RedisServer is a real redis-server that keeps nothing on disk.
type RedisServer struct {
	Addr string // host:port

	tb    testing.TB
	cmd   *exec.Cmd
	ended chan struct{} // closed once cmd has
}

// StartRedis starts a redis-server, which answers when StartRedis returns, and ends with the test.
func StartRedis(tb testing.TB) *RedisServer {
	tb.Helper()
	r := &RedisServer{tb: tb}
	tb.Cleanup(r.Kill)
	for range 10 { // somebody else may take the port in between
		ln := Listen(tb, "127.0.0.1:0")
		r.Addr = ln.Addr().String()
		ln.Close()
		if r.run() {
			return r
		}
	}
	tb.Fatal("redis-server does not answer")
	return nil
}

// Restart starts it anew where it was, once it has been killed. It remembers nothing.
func (r *RedisServer) Restart() {
	r.tb.Helper()
	if !r.run() {
		r.tb.Fatalf("redis-server does not come back at %s", r.Addr)
	}
}

// Kill ends it at once, if it has not ended.
func (r *RedisServer) Kill() {
	r.cmd.Process.Kill()
	<-r.ended
}

// run starts the process and reports whether it answers.
func (r *RedisServer) run() bool {
	r.tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		r.tb.Fatalf("%v: make test installs it", err)
	}
	r.cmd = exec.Command(path, "--bind", "127.0.0.1", "--port", Port(r.tb, r.Addr), "--save", "", "--appendonly", "no", "--dir", r.tb.TempDir())
	dieWithParent(r.cmd)
	if err := r.cmd.Start(); err != nil {
		r.tb.Fatal(err)
	}
	ended := make(chan struct{})
	r.ended = ended
	go func(cmd *exec.Cmd) {
		cmd.Wait()
		close(ended)
	}(r.cmd)
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if text, err := r.ask("PING"); err == nil && strings.HasPrefix(text, "+PONG") {
			return true
		}
		select {
		case <-ended:
			return false
		default:
		}
	}
	r.Kill()
	return false
}

// Ask sends an inline command and returns the reply as it came.
func (r *RedisServer) Ask(format string, args ...any) string {
	r.tb.Helper()
	text, err := r.ask(format, args...)
	if err != nil {
		r.tb.Fatal(err)
	}
	return text
}

func (r *RedisServer) ask(format string, args ...any) (string, error) {
	c, err := net.DialTimeout("tcp", r.Addr, Patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(Patience))
	if _, err := fmt.Fprintf(c, format+"\r\nQUIT\r\n", args...); err != nil {
		return "", err
	}
	text, err := io.ReadAll(c)
	return string(text), err
}
