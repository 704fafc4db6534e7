package main_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// The tests of the rows_*_test.go files are the table of bad inputs and faults that the gateway must survive, row by row and each
// with its neighbours, over a raw TCP connection to the real binary in front of a recording upstream. A subtest's name begins
// with the row's id. While the rows of one gateway run, a victim session sends numbered messages through it; afterwards
// goroutines and descriptors must be back, and no canary may be in its logs or metrics (wstest.Guard).

// rowSetup is what a table of rows changes in the gateway that it runs against.
type rowSetup struct {
	certificates string           // of the listener, "off" by default
	files        string           // further lines of the listener's tls section
	upstream     wstest.Behaviour // wstest.Echo by default
	servers      string           // of the upstream rows, the recorder by default
	driver       string           // of the gateway, "auto" by default
	route        string           // further keys of the route rows, `key: value, ...`
	policy       string           // of the route rows; the allow list of the Origin rows by default
	extra        string           // further lines of the file, at the top level
	noVictim     bool             // for rows that disturb every session
	unguarded    bool             // for rows that end the process
}

// originPolicy is the allow list that security.md gives the Origin rows.
const originPolicy = `origin: {allow: ["https://app.example.com", "https://*.w.example"]}`

// rowGate is a gateway under test with its recording upstreams.
type rowGate struct {
	*wstest.Process
	up        *wstest.Recorder // of the routes under test
	forbidden *wstest.Recorder // of the route /admin of the same host, which no row may reach
}

// startRows starts a gateway for rows: host app.example.com with the paths /ws below and /page below, a second route /admin that
// nothing may reach, and victim.example.com.
func startRows(t *testing.T, setup rowSetup) *rowGate {
	t.Helper()
	if setup.upstream == nil {
		setup.upstream = wstest.Echo
	}
	if setup.certificates == "" {
		setup.certificates = "off"
	}
	if setup.driver == "" {
		setup.driver = "auto"
	}
	if setup.policy == "" {
		setup.policy = originPolicy
	}
	if setup.route != "" {
		setup.route += ", "
	}
	up := wstest.NewRecorder(t, setup.upstream)
	forbidden := wstest.NewRecorder(t, wstest.Page("forbidden"))
	victims := wstest.NewRecorder(t, wstest.Echo)
	if setup.servers == "" {
		setup.servers = `servers: ["ws://` + up.Addr() + `"]`
	}
	config := fmt.Sprintf(`
listeners:
  - address: "127.0.0.1:0"
    tls: {certificates: "%s"%s}
    protocols: [h1]
routes:
  - {%sname: rows, hosts: [app.example.com, "[::1]"], paths: [/ws/*, /page/*], upstream: rows, policies: [rows], close_timeout: 1s}
  - {name: admin, hosts: [app.example.com], paths: [/admin/*, /internal/*], upstream: forbidden}
  - {name: victim, hosts: [victim.example.com], upstream: victim}
upstreams:
  rows: {%s}
  forbidden: {servers: ["ws://%s"]}
  victim: {servers: ["ws://%s"]}
policies:
  rows: {%s}
log: {level: debug, format: json}
driver: %s
%s
`, setup.certificates, setup.files, setup.route, setup.servers, forbidden.Addr(), victims.Addr(), setup.policy, setup.driver, setup.extra)
	g := &rowGate{Process: wstest.Start(t, config), up: up, forbidden: forbidden}
	if !setup.unguarded {
		g.warmUp(t, setup)
		wstest.Guard(t, g.Process)
	}
	if !setup.noVictim {
		c := g.dialHost(t, setup, "victim.example.com")
		c.Upgrade(wstest.HS0("/").With("Host", "victim.example.com").Without("Origin"))
		wstest.NewVictim(t, c)
	}
	t.Cleanup(func() {
		for _, u := range forbidden.Conns("") {
			t.Errorf("the route /admin was reached: %q", u.All())
		}
	})
	return g
}

// dialHost connects to the gateway, over TLS with that server name unless the listener is plain.
func (g *rowGate) dialHost(t *testing.T, setup rowSetup, name string) *wstest.Client {
	t.Helper()
	if setup.certificates == "off" {
		return wstest.Dial(t, g.Addr)
	}
	config := g.ClientTLS()
	config.ServerName = name
	return wstest.DialTLS(t, g.Addr, config)
}

// warmUp runs one whole session, so that the baseline of resources holds what the gateway makes at its first connection.
func (g *rowGate) warmUp(t *testing.T, setup rowSetup) {
	t.Helper()
	c := g.dialHost(t, setup, "victim.example.com")
	c.Upgrade(wstest.HS0("/warm").With("Host", "victim.example.com").Without("Origin"))
	c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
	c.ExpectClose(1000)
	c.ExpectEnd(wstest.Patience)
	c.Close()
	g.WaitLogs("connection", 1)
}

// hs is HS0 with the canaries of invariant I2 in the places where clients carry their secrets.
func hs(path string) *wstest.Request {
	return wstest.HS0(path+"?access_token="+wstest.Canary+"query").
		Add("Cookie: session="+wstest.Canary+"cookie", "Authorization: Bearer "+wstest.Canary+"token", "X-Api-Key: "+wstest.Canary+"key")
}

// open upgrades a connection on a path of its own and returns both of its ends.
func (g *rowGate) open(t *testing.T, path string, extra ...string) (*wstest.Client, *wstest.Upstream) {
	t.Helper()
	c := wstest.Dial(t, g.Addr)
	c.Upgrade(hs(path).Add(extra...))
	return c, g.up.Wait(path)
}

// rowPath makes a path that only this row uses, so that its upstream connections can be told from those of other rows.
func rowPath(t *testing.T) string {
	name := t.Name()[strings.IndexByte(t.Name(), '/')+1:]
	return "/ws/" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
}

// refuse sends bytes and demands one refusal of the gateway's own with one of the given statuses, the end of the connection
// behind it, and no connection to the upstream. Rows of one gateway that call it must not run in parallel.
func (g *rowGate) refuse(t *testing.T, request []byte, statuses ...int) *wstest.Response {
	t.Helper()
	before := g.up.Dials()
	c := wstest.Dial(t, g.Addr)
	c.Send(request)
	resp := c.Response()
	if !slices.Contains(statuses, resp.Status) {
		t.Errorf("got %q %q, want status %v", resp.Line, resp.Body, statuses)
	}
	wstest.CheckRefusal(t, resp)
	if rest := c.ExpectEnd(2 * time.Second); len(rest) > 0 {
		t.Errorf("the gateway went on after the refusal: %.200q", rest)
	}
	if dials := g.up.Dials() - before; dials != 0 {
		t.Errorf("%d upstream connections for a refused request, want none", dials)
	}
	return resp
}

// refusal is one row of a table of requests that the gateway itself must refuse.
type refusal struct {
	name    string
	request *wstest.Request
	want    []int
}

// refuseAll runs a table of refusals one after the other.
func (g *rowGate) refuseAll(t *testing.T, rows []refusal) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { g.refuse(t, row.request.Bytes(), row.want...) })
	}
}

// admit demands that a request is upgraded and reaches the upstream, and closes the session again.
func (g *rowGate) admit(t *testing.T, request *wstest.Request) (*wstest.Response, *wstest.Upstream) {
	t.Helper()
	before := g.up.Dials()
	c := wstest.Dial(t, g.Addr)
	resp := c.Upgrade(request)
	conns := g.up.Conns("")
	if len(conns) != before+1 {
		t.Fatalf("%d upstream connections for one session", len(conns)-before)
	}
	c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
	c.ExpectClose(1000)
	c.Close()
	return resp, conns[before]
}

// wantFrames demands that the upstream has got these frames and then a Close with the given code, all of them masked, and then
// nothing more but the end of the connection. code 0 means that no Close may come.
func wantFrames(t *testing.T, u *wstest.Upstream, want [][]byte, code int) {
	t.Helper()
	if code != 0 {
		if got, reason := u.WaitClose(wstest.Patience); got != code {
			t.Errorf("the upstream got Close %d %q, want %d", got, reason, code)
		}
	}
	u.WaitEnd(wstest.Patience)
	frames, rest := u.Frames()
	if len(rest) > 0 {
		t.Errorf("the upstream got %d bytes of a frame that never became whole: %.64x", len(rest), rest)
	}
	if n := len(frames); n > 0 && frames[n-1].IsClose() && code != 0 {
		if frames[n-1].Key == [4]byte{} {
			t.Errorf("the gateway's Close has the mask key 0")
		}
		frames = frames[:n-1]
	}
	for _, f := range frames {
		if !f.Masked {
			t.Errorf("the upstream got the unmasked %v", f)
		}
	}
	var got [][]byte
	for _, f := range frames {
		got = append(got, f.Raw)
	}
	sameFrames(t, "the upstream", got, want)
}

// sameFrames compares frames as they were on the wire.
func sameFrames(t *testing.T, who string, got, want [][]byte) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("%s got frame %d of %d bytes %.48x, want %d bytes %.48x", who, i, len(got[i]), got[i], len(want[i]), want[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s got %d whole frames before the Close, want %d: %.300x", who, len(got), len(want), got[min(len(got), len(want)):])
	}
}

// atOnce returns a way to run subtests side by side, and one to wait for them. Rows spend their time waiting: t.Parallel, which
// allows as many as there are processors, would make them wait for each other.
func atOnce(t *testing.T) (run func(name string, row func(t *testing.T)), wait func()) {
	const most = 32
	var rows sync.WaitGroup
	slots := make(chan struct{}, most)
	run = func(name string, row func(t *testing.T)) {
		slots <- struct{}{}
		rows.Go(func() {
			defer func() { <-slots }()
			t.Run(name, row)
		})
	}
	return run, rows.Wait
}

// onBothDrivers runs rows that depend on what moves the bytes of sessions with either driver, side by side.
func onBothDrivers(t *testing.T, rows func(t *testing.T, driver string)) {
	t.Parallel()
	for _, driver := range []string{"auto", "goroutines"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			rows(t, driver)
		})
	}
}

// status is a short way to write the statuses of a row.
func status(codes ...int) []int { return codes }
