package main_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// appUnderTest is a real application with the libraries of its protocol, server and client, behind the gateway of an example in
// examples/messages.
type appUnderTest struct {
	example, url, origin string
	checks               int
	bites                []string // all that the rules do in its script, none of it while the application is used as it is meant
	idle                 []string // rules that do nothing
}

func appsUnderTest() []appUnderTest {
	return []appUnderTest{
		{"chat", "chat.localhost/chat", "https://chat.localhost:8443", 16, []string{
			"close client too_big",
			"close client type",
			"close messages/client.json",
			"close messages/client.json.schema",
			"close messages/client.messages.per_connection",
			"close messages/client.operations",
			"close upstream too_big",
			"close upstream type",
			"drop messages/client.scripts",
			"refused pages/connections.per_ip",
			"refused pages/origin",
			"reply messages/client.operations.limits.say.per_connection",
			"reply messages/client.operations.limits.search.per_connection",
			"reply messages/client.operations.limits.typing.per_connection",
		}, nil},
		{"graphql-ws", "api.localhost/graphql", "https://app.localhost:8443", 17, []string{
			"close client too_big",
			"close client type",
			"close subscriptions/client.introspection",
			"close subscriptions/client.json",
			"close subscriptions/client.json.schema",
			"close subscriptions/client.messages.per_connection",
			"close subscriptions/client.operations",
			"close subscriptions/client.operations.limits.connection_init.per_connection",
			"close subscriptions/client.operations.limits.subscribe:*.per_connection",
			"close upstream too_big",
			"close upstream type",
			"refused pages/connections.per_ip",
			"refused pages/origin",
			"refused pages/subprotocols",
		}, nil},
		{"jsonrpc", "rpc.localhost/", "", 16, []string{
			"close client too_big",
			"close upstream too_big",
			"refused anybody/connections.per_ip",
			"refused anybody/handshakes.per_ip",
			"refused anybody/origin",
			"reply reading/client.call-size",
			"reply reading/client.json",
			"reply reading/client.json.schema",
			"reply reading/client.operations",
			"reply reading/client.operations.limits.*.per_connection",
			"reply reading/client.operations.limits.eth_estimateGas.per_connection",
			"reply reading/client.operations.limits.eth_getLogs.per_connection",
		}, []string{"reading/client.operations.limits.eth_call.per_connection"}}, // like that of eth_getLogs
		{"mqtt", "mqtt.localhost/mqtt", "", 25, []string{
			"close client too_big",
			"close client type",
			"close devices/client.bytes.per_connection",
			"close devices/client.operations",
			"close devices/client.operations.limits.connect.per_connection",
			"close devices/client.operations.limits.publish:*.per_connection",
			"close devices/client.operations.limits.subscribe:*.per_connection",
			"close devices/client.own-topics",
			"close upstream too_big",
			"close upstream type",
			"refused devices/connections.per_user",
			"refused devices/jwt",
			"refused devices/subprotocols",
		}, nil},
		{"socketio-game", "game.localhost/socket.io/", "https://game.localhost:8443", 17, []string{
			"close client too_big",
			"close client type",
			"close players/client.json",
			"close players/client.json.schema",
			"close players/client.messages.per_connection",
			"close players/client.operations",
			"close upstream too_big",
			"drop players/client.operations.limits./arena:move.per_connection",
			"drop players/client.operations.limits./arena:say.per_connection",
			"drop players/client.operations.limits./arena:shoot.per_connection",
			"refused pages/connections.per_ip",
			"refused pages/origin",
		}, nil},
		{"telemetry", "telemetry.localhost/ingest", "", 11, []string{
			"close client too_big",
			"close client type",
			"close sensors/client.version",
			"close sensors/upstream.messages.per_connection",
			"close upstream too_big",
			"delay sensors/client.bytes.per_connection",
			"delay sensors/client.messages.per_connection",
			"drop sensors/client.records",
			"refused sensors/connections.per_ip",
		}, []string{"sensors/addresses"}}, // the clients of a test have addresses that it allows
	}
}

// appOptions are the options of the scripts of applications.
type appOptions struct {
	URL    string            `json:"url"`    // of the application, at the gateway
	Origin string            `json:"origin"` // of its pages
	Socket string            `json:"socket"` // where the application listens
	Admin  string            `json:"admin"`  // address of the gateway's admin listener
	Tokens map[string]string `json:"tokens"` // by user
}

// Behind the gateways of the examples, in which addresses and keys alone are replaced, every application does what it is for, and no rule minds; then each rule
// does what it says, as the client sees it.
func TestApplications(t *testing.T) {
	t.Parallel()
	apps := appsUnderTest()
	for _, entry := range must(os.ReadDir("../../examples/messages")) {
		if !slices.ContainsFunc(apps, func(a appUnderTest) bool { return a.example == entry.Name() }) {
			t.Errorf("no application runs behind %s", entry.Name())
		}
	}
	for _, app := range apps {
		for _, driver := range []string{"auto", "goroutines"} {
			t.Run(app.example+"/"+driver, func(t *testing.T) {
				t.Parallel()
				app.test(t, driver)
			})
		}
	}
}

func (app *appUnderTest) test(t *testing.T, driver string) {
	g, options := app.start(t, driver)
	script := startPeer(t, "app_"+app.example+".mjs", options, "NODE_EXTRA_CA_CERTS="+g.RootFile())
	script.await("normal")
	if got, _ := bites(g); len(got) > 0 {
		t.Errorf("while the application is used as it is meant: %q", got)
	}
	script.say("go on")
	script.verdict(app.checks)
	var got, idle []string
	for end := time.Now().Add(wstest.Patience); ; time.Sleep(50 * time.Millisecond) { // the end of a connection is counted a moment after its client has seen it
		if got, idle = bites(g); slices.Equal(got, app.bites) || time.Now().After(end) {
			break
		}
	}
	if !slices.Equal(got, app.bites) {
		t.Errorf("the rules did\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(app.bites, "\n"))
	}
	if !slices.Equal(idle, app.idle) {
		t.Errorf("nothing was done by %q, want %q", idle, app.idle)
	}
}

// start runs the gateway in a copy of the example's folder, with other addresses and keys.
func (app *appUnderTest) start(t *testing.T, driver string) (*wstest.Process, appOptions) {
	t.Helper()
	dir, source := t.TempDir(), filepath.Join("../../examples/messages", app.example)
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	options := appOptions{Origin: app.origin, Socket: filepath.Join(dir, "app.sock"), Tokens: map[string]string{}}
	if keys := filepath.Join(dir, "keys.json"); app.example == "mqtt" {
		m := newMinter(t, "ours")
		if err := os.WriteFile(keys, keySet(t, m), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, device := range []string{"pump-7", "pump-8"} {
			options.Tokens[device] = m.mint(map[string]any{"sub": device, "aud": "mqtt"})
		}
		options.Tokens["other"] = m.mint(map[string]any{"sub": "pump-7", "aud": "chat"})
	}
	config := string(must(os.ReadFile(filepath.Join(source, "gateway.yaml"))))
	config = strings.Replace(config, `"127.0.0.1:8443"`, `"127.0.0.1:0"`, 1)
	config = regexp.MustCompile(`ws://127\.0\.0\.1:\d+`).ReplaceAllLiteralString(config, "unix:"+options.Socket)
	g := wstest.StartIn(t, dir, config+"driver: "+driver+"\n")
	host, path, _ := strings.Cut(app.url, "/")
	options.URL = "wss://" + host + ":" + wstest.Port(t, g.Addr) + "/" + path
	options.Admin = g.Admin
	return g, options
}

// bites tells what the rules have done at a gateway, sorted: refused requests, what became of messages, and connections that ended by
// the shape of a message. idle are the rules of policies that did nothing.
func bites(g *wstest.Process) (all, idle []string) {
	labels := regexp.MustCompile(`^framegate_(\w+)\{(.*)\}$`)
	label := regexp.MustCompile(`(\w+)="(.*?)"`)
	rules := map[string]bool{} // whether they did anything
	done := map[string]bool{}
	for series, value := range g.Metrics() {
		m := labels.FindStringSubmatch(series)
		if m == nil {
			continue
		}
		of := map[string]string{}
		for _, pair := range label.FindAllStringSubmatch(m[2], -1) {
			of[pair[1]] = pair[2]
		}
		rule := of["policy"] + "/" + of["rule"]
		switch {
		case m[1] == "decisions_total" && of["outcome"] == "refused" && of["policy"] != "default", m[1] == "message_rules_total":
			done[of["outcome"]+" "+rule] = value > 0
			rules[rule] = rules[rule] || value > 0
		case m[1] == "closes_total" && (of["cause"] == "type" || of["cause"] == "too_big"):
			if value > 0 {
				done["close "+of["side"]+" "+of["cause"]] = true
			}
		}
	}
	maps.DeleteFunc(done, func(_ string, yes bool) bool { return !yes })
	maps.DeleteFunc(rules, func(_ string, did bool) bool { return did })
	return slices.Sorted(maps.Keys(done)), slices.Sorted(maps.Keys(rules))
}
