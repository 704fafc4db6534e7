package proxy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// counted reads a counter.
func counted(c prometheus.Counter) float64 {
	var m dto.Metric
	if c.Write(&m) != nil {
		return -1
	}
	return m.GetCounter().GetValue()
}

// series returns the values of all series of the gateway's own, by name and labels.
func (m *metrics) series(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "framegate_") {
			continue
		}
		for _, s := range f.Metric {
			var labels []string
			for _, l := range s.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			all[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = s.GetCounter().GetValue() + s.GetGauge().GetValue()
		}
	}
	return all
}

// oddTraffic ends sessions in every way that a peer can, and asks for what is refused. It returns the number of sessions.
func oddTraffic(t *testing.T, g *gateway, up *wstest.Recorder) (sessions int) {
	t.Helper()
	session := func(path string) (*wstest.Client, *wstest.Upstream) {
		sessions++
		return g.open(t, up, path)
	}
	for code := range frame.StatusCode(5001) {
		if frame.ValidCode(code) && (code < 1016 || code%500 == 0 || code%1000 == 999) {
			c, u := session(fmt.Sprintf("/client/%d", code))
			c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(int(code), "odd reason")))
			u.WaitClose(wstest.Patience)
			c.Close()
		}
	}
	c, _ := session("/empty")
	c.Send(wstest.ClientFrame(0x88, nil))
	c.Close()
	c, _ = session("/protocol")
	c.Send(wstest.Hex("81 01 61"))
	c.ExpectClose(4000)
	c.Close()
	_, u := session("/upstream/close")
	u.Send(wstest.ServerFrame(0x88, wstest.CloseFrame(4321, "")))
	_, u = session("/upstream/gone")
	u.Close()
	c, _ = session("/client/gone")
	c.Close()
	c, u = session("/client/gone/amid/a/frame")
	c.Send(wstest.ClientFrame(0x82, make([]byte, 100<<10))[:50<<10])
	u.WaitBody(wstest.Patience, "part of a frame", func(b []byte) bool { return len(b) > 0 })
	c.Close()
	_, u = session("/upstream/gone/amid/a/frame")
	u.Send(wstest.ServerFrame(0x82, make([]byte, 100<<10))[:50<<10])
	u.Reset()
	session("/idle")
	for _, request := range []string{
		"BREW /pot HTTP/1.1\r\nHost: app.example.com\r\n\r\n", "GET / HTTP/1.1\r\nHost: evil-" + wstest.Canary + "\r\n\r\n", "garbage\r\n\r\n", "GET /%ff HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
		string(wstest.HS0("/").With("Host", "nobody").Bytes()), string(wstest.HS0("/").With("Sec-WebSocket-Version", "99").Bytes()), string(wstest.HS0("/").Bytes()),
	} {
		c := wstest.Dial(t, g.addr)
		c.Send([]byte(request))
		c.Head()
		c.Close()
	}
	return sessions
}

// Whatever clients and upstreams do, no series comes that was not there from the beginning.
func TestMetricsDoNotGrow(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ", idle_timeout: 300ms, close_timeout: 300ms, close_codes: {idle: 1012, protocol: 4000, upstream_lost: 3000, client_lost: {upstream: 1008}}"))
	before := g.metrics.series(t)
	if len(before) < 100 {
		t.Fatalf("only %d series", len(before))
	}
	sessions := oddTraffic(t, g, up)
	waitFor(t, "the end of all sessions", func() bool { return len(g.log.lines(t, "connection")) == sessions })
	after := g.metrics.series(t)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[name]; !ok {
			t.Errorf("%s is new", name)
		}
	}
	ended := 0.0
	for name, value := range after {
		if strings.HasPrefix(name, "framegate_closes_total") {
			ended += value
		}
	}
	if accepted := after["framegate_handshakes_total{result=accepted,route=app}"]; accepted != float64(sessions) || ended != accepted || after["framegate_connections{route=app}"] != 0 {
		t.Errorf("%d sessions: %v accepted, %v ended, %v live", sessions, accepted, ended, after["framegate_connections{route=app}"])
	}
	for _, name := range []string{
		"framegate_closes_total{cause=idle,code=1012,side=gateway}", "framegate_closes_total{cause=protocol,code=4xxx,side=client}", "framegate_closes_total{cause=peer_closed,code=4xxx,side=upstream}",
		"framegate_closes_total{cause=peer_closed,code=none,side=client}", "framegate_requests_total{result=malformed,route=-}", "framegate_handshakes_total{result=policy,route=app}",
	} {
		if after[name] == 0 {
			t.Errorf("%s is 0", name)
		}
	}
}

// Every end that the relay can report has its series, with the table's codes and with a configuration's own.
func TestMetricsHaveEveryEnd(t *testing.T) {
	t.Parallel()
	m := newMetrics("test")
	own := relay.Codes{relay.Drain: {1012, 1012}, relay.NoPong: {3999, 4999}}
	m.route(&route{name: "app", limits: &relay.Limits{}})
	m.route(&route{name: "own", limits: &relay.Limits{Codes: own}})
	before := m.series(t)
	for _, cause := range relay.Causes() {
		for _, by := range relay.Blamed(cause) {
			for _, codes := range []*relay.Codes{{}, &own} {
				told := [2]frame.StatusCode{codes.Code(cause, by, relay.Client), codes.Code(cause, by, relay.Upstream)}
				for _, closed := range []frame.StatusCode{0, 1000, 1003, 1007, 1014, 3000, 3999, 4000, 4999} {
					m.closed(relay.Result{Cause: cause, By: by, Closed: closed, Told: told})
					m.closed(relay.Result{Cause: cause, By: by, Closed: closed})
				}
			}
		}
	}
	for name := range m.series(t) {
		if _, ok := before[name]; !ok {
			t.Errorf("%s is new", name)
		}
	}
}

// What was relayed is counted by route and by who sent it.
func TestMetricsCountWhatIsRelayed(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ""))
	c, _ := g.open(t, up, "/")
	c.Send(wstest.ClientFrame(0x01, []byte("two ")), wstest.ClientFrame(0x80, []byte("frames")), wstest.ClientFrame(0x82, make([]byte, 70000)))
	for range 3 {
		c.Frame()
	}
	for _, side := range []string{"client", "upstream"} {
		labels := "{from=" + side + ",route=app}"
		waitFor(t, "the counts", func() bool { return g.metrics.series(t)["framegate_messages_total"+labels] == 2 })
		s := g.metrics.series(t)
		if frames, bytes := s["framegate_frames_total"+labels], s["framegate_payload_bytes_total"+labels]; frames != 3 || bytes != 70010 {
			t.Errorf("from the %s: %v frames of %v bytes, want 3 of 70010", side, frames, bytes)
		}
	}
	if live := g.metrics.series(t)["framegate_connections{route=app}"]; live != 1 {
		t.Errorf("%v connections are live, want 1", live)
	}
}
