package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
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

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/framegate/framegate/internal/wstest"
)

// atATime is how many of this package's tests run at once. They wait for the gateway's clocks and for other processes far more than they
// work, so the default, the number of processors, would leave those idle.
const atATime = "4"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", atATime); err != nil { // -parallel on the command line still wins
		panic(err)
	}
	testscript.Main(m, map[string]func(){"framegate": func() { os.Exit(execute(os.Args[1:])) }})
}

// TestScript runs the end-to-end scripts of testdata/*.txtar. Beside the commands of testscript they have those of scriptCommands;
// what runs on beside a script is the real binary, as in the other tests of this package.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			schema, err := filepath.Abs(schemaFile)
			env.Setenv("SCHEMA", schema)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // each command would take a second more under the race detector
			env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, "data"))
			env.Values[worldKey{}] = &world{tb: env.T().(testing.TB)}
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    scriptExits,
			"fill":     scriptFill,
			"upstream": inWorld((*world).upstream),
			"start":    inWorld((*world).start),
			"await":    inWorld((*world).await),
			"signal":   inWorld((*world).signal),
			"ended":    inWorld((*world).ended),
			"token":    inWorld((*world).signIn),
			"open":     inWorld((*world).open),
			"send":     inWorld((*world).send),
			"closed":   inWorld((*world).closed),
		},
	})
}

// A world is what runs beside one script: a gateway, an upstream, a client.
type world struct {
	tb      testing.TB
	gateway *wstest.Process
	server  *wstest.Recorder
	client  *wstest.Client
	token   string // that handshakes carry
}

type worldKey struct{}

// inWorld makes a command of a method. Negated it is not understood, but for await.
func inWorld(method func(w *world, ts *testscript.TestScript, neg bool, args []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		method(ts.Value(worldKey{}).(*world), ts, neg, args)
	}
}

// need demands a number of arguments.
func need(ts *testscript.TestScript, neg bool, ok bool, usage string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// scriptExits is `exits CODE COMMAND ARG...`: it runs a command to its end and compares the exit code, of which testscript itself tells
// only zero from the others.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "exits CODE COMMAND ARG...")
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// scriptFill is `fill FILE...`: it puts the script's variables in the place of @NAME@, since ${NAME} is the gateway's own.
func scriptFill(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 0, "fill FILE...")
	for _, name := range args {
		text := regexp.MustCompile(`@[A-Z]+@`).ReplaceAllStringFunc(ts.ReadFile(name), func(s string) string { return ts.Getenv(strings.Trim(s, "@")) })
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// upstream is `upstream`: it starts an echo server and sets UPSTREAM to its address.
func (w *world) upstream(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 0, "upstream")
	w.server = wstest.NewRecorder(w.tb, wstest.Echo)
	ts.Setenv("UPSTREAM", w.server.Addr())
}

// start is `start ARG...`: it runs `framegate ARG...` beside the script. An argument that names a file of the script is made absolute.
func (w *world) start(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 0, "start ARG...")
	for i, arg := range args {
		if _, err := os.Stat(ts.MkAbs(arg)); err == nil {
			args[i] = ts.MkAbs(arg)
		}
	}
	w.gateway = wstest.StartCommand(w.tb, args...)
}

// await is `await stdout|stderr PATTERN [VAR]`: it waits until the gateway's output matches, and sets VAR to what the first group
// matched. Negated it demands that the output so far does not match.
func (w *world) await(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, false, len(args) == 2 || len(args) == 3 && !neg, "[!] await stdout|stderr PATTERN [VAR]")
	output := w.gateway.Stdout
	if args[0] == "stderr" {
		output = w.gateway.Stderr
	}
	pattern := regexp.MustCompile("(?m)" + args[1])
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(wstest.Patience); ; <-poll.C {
		found := pattern.FindStringSubmatch(output())
		switch {
		case neg && found != nil:
			ts.Fatalf("%s matches %q: %q", args[0], args[1], found[0])
		case neg:
			return
		case found != nil:
			if len(args) == 3 {
				ts.Setenv(args[2], found[1])
			}
			return
		case time.Now().After(deadline):
			ts.Fatalf("%s did not match %q within %v:\n%s", args[0], args[1], wstest.Patience, output())
		}
	}
}

// signal is `signal TERM|INT`.
func (w *world) signal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT}
	need(ts, neg, len(args) == 1 && signals[args[0]] != nil, "signal TERM|INT")
	w.gateway.Signal(signals[args[0]])
}

// ended is `ended CODE [WITHIN]`: it waits for the end of the gateway, and compares the exit code and the time that this took.
func (w *world) ended(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1 || len(args) == 2, "ended CODE [WITHIN]")
	within := wstest.Patience
	if len(args) == 2 {
		var err error
		within, err = time.ParseDuration(args[1])
		ts.Check(err)
	}
	start := time.Now()
	if code := w.gateway.Wait(); strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
	if took := time.Since(start); took > within {
		ts.Fatalf("it took %v, want at most %v", took, within)
	}
}

// open is `open STATUS ws://ADDR/PATH|wss://NAME:PORT/PATH [ROOT] [ORIGIN]`: it shakes hands as app.example.com, or as localhost over
// TLS, which trusts the root in a file alone. The client before it leaves.
func (w *world) open(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2 && len(args) <= 4, "open STATUS URL [ROOT] [ORIGIN]")
	if w.client != nil {
		w.client.Close()
	}
	scheme, rest, _ := strings.Cut(args[1], "://")
	addr, path, _ := strings.Cut(rest, "/")
	request := wstest.HS0("/" + path).Without("Origin")
	if scheme == "wss" {
		request.With("Host", addr)
		w.client = wstest.DialTLS(w.tb, addr, trusting(ts, args[2]))
	} else {
		w.client = wstest.Dial(w.tb, addr)
	}
	if len(args) == 4 {
		request.With("Origin", args[3])
	}
	if w.token != "" {
		request.With("Authorization", "Bearer "+w.token)
	}
	w.client.Send(request.Bytes())
	if args[0] == "101" {
		w.client.Accepted(request)
	} else if resp := w.client.Response(); strconv.Itoa(resp.Status) != args[0] {
		ts.Fatalf("got %q, want %s", resp.Line, args[0])
	}
}

// trusting is the configuration of a client that trusts the root in a file alone.
func trusting(ts *testscript.TestScript, file string) *tls.Config {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ts.ReadFile(file))) {
		ts.Fatalf("no certificate in %s", file)
	}
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// signIn is `token URL ROOT NAME`: it gets a token of the demo's application, which handshakes carry from now on.
func (w *world) signIn(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "token URL ROOT NAME")
	client := http.Client{Timeout: wstest.Patience, Transport: &http.Transport{TLSClientConfig: trusting(ts, args[1]), DisableKeepAlives: true}}
	response, err := client.Post(args[0], "application/json", strings.NewReader(`{"name": "`+args[2]+`"}`))
	ts.Check(err)
	defer response.Body.Close()
	var got struct{ Token string }
	ts.Check(json.NewDecoder(response.Body).Decode(&got))
	if w.token = got.Token; w.token == "" {
		ts.Fatalf("no token")
	}
}

// send is `send TEXT WANT`: it sends a text message and compares the next one that arrives, as a pattern.
func (w *world) send(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "send TEXT WANT")
	w.client.Send(wstest.ClientFrame(0x81, []byte(args[0])))
	for f := w.client.Frame(); ; f = w.client.Frame() {
		if regexp.MustCompile(args[1]).Match(f.Payload) {
			return
		}
	}
}

// closed is `closed CODE [UPSTREAM]`: the client gets a Close with that code, answers it and leaves; the upstream got a Close too.
func (w *world) closed(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1 || len(args) == 2, "closed CODE [UPSTREAM]")
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	w.client.ExpectClose(code)
	w.client.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(code, "")))
	w.client.Close()
	if len(args) == 2 {
		if got, _ := w.server.Wait("/ws").WaitClose(wstest.Patience); strconv.Itoa(got) != args[1] {
			ts.Fatalf("the upstream got Close %d, want %s", got, args[1])
		}
	}
}
