package health

import (
	"cmp"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/proxy/handshake"
)

// Report receives one configuration mistake. The path is relative to the section, for example "http.path".
type Report = func(path, format string, args ...any)

// Config is the section health of an upstream: active checks. Exactly one of the three kinds must be there. Zero numbers stand for the defaults.
type Config struct {
	TCP       *TCPConfig           `yaml:"tcp" doc:"A check is a connection, TLS included where the server speaks it."`
	HTTP      *HTTPConfig          `yaml:"http" doc:"A check is a GET request."`
	WebSocket *WebSocketConfig     `yaml:"websocket" doc:"A check is a WebSocket: a handshake whose 101 is verified, a ping with its pong, and a Close."`
	Interval  strictyaml.Duration  `yaml:"interval" default:"5s" doc:"Between the checks of a server."`
	Timeout   strictyaml.Duration  `yaml:"timeout" default:"3s" doc:"For a whole check, the connection included."`
	Jitter    *strictyaml.Duration `yaml:"jitter" min:"0" doc:"By how much each check may come earlier or later, at random, so that neither servers nor gateways are checked in step. Default: a fifth of the interval."`
	Healthy   int                  `yaml:"healthy" default:"2" min:"1" max:"100" doc:"Successful checks in a row that bring a server up again. The first check of all decides alone."`
	Unhealthy int                  `yaml:"unhealthy" default:"3" min:"1" max:"100" doc:"Failed checks in a row that take a server down."`
}

// TCPConfig is the check by a connection.
type TCPConfig struct{}

// HTTPConfig is the check by a request.
type HTTPConfig struct {
	Path   string       `yaml:"path" required:"true" doc:"What is asked for, such as /healthz; a query may follow."`
	Host   string       `yaml:"host" doc:"The Host of the request. Default: the host and port of the server's URL."`
	Status *StatusRange `yaml:"status" doc:"The status that a healthy server answers, such as 204, or a range such as 200-399. Default: 200-299."`
}

// WebSocketConfig is the check by a WebSocket.
type WebSocketConfig struct {
	Path        string `yaml:"path" required:"true" doc:"Where the server has its WebSocket, such as /ws; a query may follow."`
	Host        string `yaml:"host" doc:"The Host of the handshake. Default: the host and port of the server's URL."`
	Origin      string `yaml:"origin" doc:"The Origin of the handshake, for servers that want one. Default: none."`
	Subprotocol string `yaml:"subprotocol" doc:"The subprotocol that is offered, and that the server must agree to. Default: none."`
}

// Ejection is the section ejection of an upstream: what failed connections do. Zero numbers stand for the defaults.
type Ejection struct {
	Failures   int                 `yaml:"failures" default:"3" min:"1" max:"1000" doc:"Failures in a row that eject a server: connections that are not made, TLS included, handshakes without a right answer in time, and answers with a status from 500 on."`
	Backoff    strictyaml.Duration `yaml:"backoff" default:"10s" doc:"How long a server gets no connections. Each further time is twice as long. Behind it one connection tries the server."`
	MaxBackoff strictyaml.Duration `yaml:"max_backoff" default:"5m" doc:"The longest of these times. A server that has worked for so long begins anew with the first."`
	MaxEjected *strictyaml.Percent `yaml:"max_ejected" doc:"Share of the servers that may be out at once, by failed checks or ejected, before no more are ejected. A single server is never ejected below 100%. Default: 50%."`
}

// Checks is how and when servers are checked. It is immutable and safe for concurrent use.
type Checks struct {
	Interval time.Duration
	Timeout  time.Duration
	Jitter   time.Duration // at most Interval
	check    check
}

// check makes one check over conn, whose deadline is set, of a server whose URL has the authority host. It does not close conn.
type check func(conn net.Conn, host string) error

// Compile checks the section and returns its immutable form, nil where it has reported a mistake.
func (c *Config) Compile(report Report) *Checks {
	failed := false
	fail := func(path, format string, args ...any) {
		failed = true
		report(path, format, args...)
	}
	k := &Checks{
		Interval: cmp.Or(time.Duration(c.Interval), 5*time.Second),
		Timeout:  cmp.Or(time.Duration(c.Timeout), 3*time.Second),
	}
	k.Jitter = k.Interval / 5
	if c.Jitter != nil {
		k.Jitter = time.Duration(*c.Jitter)
	}
	if k.Jitter > k.Interval {
		fail("jitter", "%s is longer than the interval, %s", k.Jitter, k.Interval)
	}
	var kinds []string
	for _, kind := range []struct {
		name    string
		there   bool
		compile func(Report) check
	}{
		{"tcp", c.TCP != nil, c.TCP.compile},
		{"http", c.HTTP != nil, c.HTTP.compile},
		{"websocket", c.WebSocket != nil, c.WebSocket.compile},
	} {
		if kind.there {
			kinds = append(kinds, kind.name)
			k.check = kind.compile(func(path, format string, args ...any) { fail(strictyaml.Join(kind.name, path), format, args...) })
		}
	}
	switch len(kinds) {
	case 0:
		fail("", "no kind of check, want one of: tcp, http, websocket")
	case 1:
	default:
		fail(kinds[1], "a second kind of check beside %s, want one", kinds[0])
	}
	if failed {
		return nil
	}
	return k
}

// Rules makes the rules of a pool of both sections; c may be nil, for no checks.
func (e *Ejection) Rules(c *Config, report Report) *Rules {
	r := &Rules{
		Failures:   cmp.Or(e.Failures, 3),
		Backoff:    cmp.Or(time.Duration(e.Backoff), 10*time.Second),
		MaxBackoff: cmp.Or(time.Duration(e.MaxBackoff), 5*time.Minute),
		MaxEjected: 0.5,
	}
	if e.MaxEjected != nil {
		r.MaxEjected = e.MaxEjected.Share()
	}
	if r.Backoff > r.MaxBackoff {
		report("max_backoff", "%s is shorter than backoff, %s", r.MaxBackoff, r.Backoff)
	}
	if c != nil {
		r.Checked, r.Healthy, r.Unhealthy = true, cmp.Or(c.Healthy, 2), cmp.Or(c.Unhealthy, 3)
	}
	return r
}

// Next returns after how long the next check is due; random is from [0, 1).
func (k *Checks) Next(random float64) time.Duration {
	return k.Interval - k.Jitter + time.Duration(2*float64(k.Jitter)*random)
}

// First returns after how long the first check of a server is due: soon, but not at once with all others.
func (k *Checks) First(random float64) time.Duration {
	return time.Duration(float64(k.Jitter) * random)
}

// parseTarget reads a path with an optional query.
func parseTarget(text string, report Report) (path, query string) {
	u, err := url.ParseRequestURI(text)
	if err != nil || !strings.HasPrefix(text, "/") || strings.Contains(text, "#") {
		report("path", "%q is no path, want one such as /healthz", text)
		return "", ""
	}
	path, refusal := handshake.CanonicalPath(u)
	if refusal != nil || path != strings.Split(text, "?")[0] {
		report("path", "%q is not written in its canonical form, want one such as /healthz", text)
	}
	return path, u.RawQuery
}

// checkHost demands that a Host is one.
func checkHost(text string, report Report) {
	if _, _, ok := handshake.CanonicalAuthority(text); text != "" && !ok {
		report("host", "%q is no host, want one such as app.example.com", text)
	}
}

// checkValue demands that a value can stand in a field of a header.
func checkValue(text, path string, report Report) {
	if slices.ContainsFunc([]byte(text), func(b byte) bool { return b <= ' ' || b > '~' || b == ',' }) {
		report(path, "%q has a space, a comma or a byte that is not printable ASCII", text)
	}
}
