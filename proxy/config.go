package proxy

import (
	"fmt"
	"strconv"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/policy/revocation"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/proxy/upstream"
	"github.com/framegate/framegate/ratelimit"
	"github.com/framegate/framegate/tlsmgr"
)

// Config is gateway.yaml.
type Config struct {
	Version     int                        `yaml:"version" required:"true" min:"1" max:"1" doc:"Version of this format; always 1."`
	Listeners   []ListenerConfig           `yaml:"listeners" required:"true" min:"1" doc:"Addresses that clients connect to."`
	Routes      []RouteConfig              `yaml:"routes" required:"true" min:"1" doc:"Which hosts and paths go to which upstream, under which policies."`
	Upstreams   map[string]upstream.Config `yaml:"upstreams" required:"true" min:"1" doc:"The applications behind the gateway, by name."`
	PolicyFiles []string                   `yaml:"policy_files" doc:"Files (or patterns such as policies/*.yaml, relative to this file) that hold further policies. Those that end in _test.yaml are tests, and not read."`
	Policies    map[string]policy.Config   `yaml:"policies" doc:"Policies by name; routes list the names."`
	TLS         tlsmgr.Config              `yaml:"tls" doc:"Where certificates come from and are kept."`
	Admin       AdminConfig                `yaml:"admin" doc:"Health and metrics."`
	Limits      LimitsConfig               `yaml:"limits" doc:"What holds over all listeners and routes."`
	Redis       *ratelimit.RedisConfig     `yaml:"redis" doc:"Where several gateways count the limits of policies together. Without it each counts its own."`
	Log         LogConfig                  `yaml:"log" doc:"What is logged, and how."`
	Driver      string                     `yaml:"driver" enum:"auto,goroutines" default:"auto" doc:"What moves the bytes of sessions: the reactor where the system has one, or two goroutines for each session."`
	Revocation  revocation.Config          `yaml:"revocation" doc:"What POST /-/revoke of the admin listener keeps."`
	Drain       DrainConfig                `yaml:"drain" doc:"How the gateway ends on SIGTERM."`
	Upgrade     UpgradeConfig              `yaml:"upgrade" doc:"How another process takes the gateway's place on SIGUSR2."`

	dir        string            // of the file, from which the paths in policies go out
	policyDirs map[string]string // of the files of those policies that have their own
	files      *fileBook         // what it was read from
	main       *strictyaml.Document
	owner      map[string]*strictyaml.Document // of those policies that come from a file of their own
}

// PolicyFile is one of policy_files.
type PolicyFile struct {
	Version  int                      `yaml:"version" required:"true" min:"1" max:"1" doc:"Version of this format; always 1."`
	Policies map[string]policy.Config `yaml:"policies" required:"true" min:"1" doc:"Policies by name; routes list the names."`
}

// ListenerConfig is one address that clients connect to.
type ListenerConfig struct {
	Address         string                `yaml:"address" required:"true" doc:"Host and port, such as :8443 or 127.0.0.1:8443. Port 0 takes a free one."`
	Socket          string                `yaml:"socket" doc:"Name (FileDescriptorName=) of the socket that systemd hands over for this listener. Without it that is the one with this address."`
	TLS             tlsmgr.ListenerConfig `yaml:"tls" required:"true" doc:"Certificates of this listener."`
	Protocols       []string              `yaml:"protocols" enum:"h1,h2,h3" default:"h1" min:"1" doc:"HTTP versions that are offered: h1 is HTTP/1.1, h2 is HTTP/2, with WebSockets by RFC 8441, h3 is HTTP/3, with WebSockets by RFC 9220, at the UDP port of the same number. Without TLS h1 alone."`
	TrustedProxies  []string              `yaml:"trusted_proxies" doc:"Networks of proxies in front of this listener, such as 10.0.0.0/8: from these alone X-Forwarded-For and X-Forwarded-Proto are believed, read from the right."`
	ProxyProtocol   *ProxyConfig          `yaml:"proxy_protocol" doc:"Load balancers that tell who the client is by the PROXY protocol. Not with h3."`
	ClientAuth      *ClientAuthConfig     `yaml:"client_auth" doc:"Certificates of clients, for hosts whose routes do not say otherwise."`
	MaxConnections  int                   `yaml:"max_connections" default:"10000" min:"1" doc:"Connections at once; further ones are refused with 503."`
	RedirectToHTTPS int                   `yaml:"redirect_to_https" min:"1" max:"65535" doc:"Port of https, such as 443, to which a listener without TLS sends every request for a host of the routes. Only checks of a CA are answered."`
	HSTS            *HSTSConfig           `yaml:"hsts" doc:"Has browsers use https alone for the hosts of this listener (Strict-Transport-Security)."`
}

// RouteConfig sends some hosts and paths to an upstream.
type RouteConfig struct {
	Name         string               `yaml:"name" required:"true" doc:"Name in logs and metrics."`
	Hosts        []string             `yaml:"hosts" required:"true" min:"1" doc:"Host names without port; *.example.com stands for one label."`
	Paths        []string             `yaml:"paths" default:"/*" min:"1" doc:"Exact paths, or prefixes such as /ws/* (which is /ws and all below it)."`
	Upstream     string               `yaml:"upstream" required:"true" doc:"Name of the upstream."`
	ClientAuth   *ClientAuthConfig    `yaml:"client_auth" doc:"Certificates of clients for the hosts of this route, on every listener with TLS, in place of the listener's own. All routes of a host must say the same."`
	Policies     []string             `yaml:"policies" doc:"Names of the policies; all of them must admit. Without any, only pages of the same host may connect."`
	HTTP         string               `yaml:"http" enum:"pass,deny" default:"pass" doc:"What happens to requests that are not WebSocket handshakes."`
	Pings        string               `yaml:"pings" enum:"relay,answer" default:"relay" doc:"Whether pings of either side are relayed to the other one or answered here."`
	Compression  string               `yaml:"compression" enum:"pass,off,inspect" default:"pass" doc:"What becomes of permessage-deflate between client and upstream: pass leaves it to them, off declines it, inspect has both keep no context, so that limits, rates and rules hold for what compressed messages inflate to. A policy with rules about content makes pass into inspect."`
	CloseCodes   map[string]CloseCode `yaml:"close_codes" doc:"Own close codes by cause, for the client or for both sides."`
	IdleTimeout  strictyaml.Duration  `yaml:"idle_timeout" default:"5m" doc:"Ends a connection that carried no message for so long. The gateway's own pings do not count."`
	MaxLifetime  *strictyaml.Duration `yaml:"max_lifetime" doc:"Ends a connection at this age; without it, age does not matter."`
	PingInterval strictyaml.Duration  `yaml:"ping_interval" default:"20s" doc:"A side that is silent for so long is pinged."`
	PongTimeout  strictyaml.Duration  `yaml:"pong_timeout" default:"20s" doc:"How long a pinged side may stay silent before it counts as dead."`
	CloseTimeout strictyaml.Duration  `yaml:"close_timeout" default:"5s" doc:"How long a side may take to answer a Close before TCP ends."`
}

// driverGoroutines is the value of driver that leaves the reactor unused.
const driverGoroutines = "goroutines"

// AdminConfig is the listener for health and metrics.
type AdminConfig struct {
	TokenFile string `yaml:"token_file" doc:"File with a token of at least 32 characters, without which nothing can be changed over the admin listener: Authorization: Bearer TOKEN. Without it whoever reaches the listener may reload. What only reads needs none."`
	Address   string `yaml:"address" doc:"Loopback address of /healthz, /readyz and /metrics, or off. Default: 127.0.0.1:9901, if nobody else on this machine has it."`
}

// LimitsConfig is what holds whatever policies say.
type LimitsConfig struct {
	Connections int             `yaml:"connections" default:"50000" min:"1" doc:"Client connections at once, over all listeners; further ones are refused with 503."`
	Waiting     int             `yaml:"waiting" default:"5000" min:"1" doc:"Connections at once on which nothing is served: in their TLS handshake, before their first request, or between two. One more ends the one that has waited longest."`
	Handshakes  *ratelimit.Rate `yaml:"handshakes" doc:"WebSocket handshakes in a time, over all listeners; further ones are refused with 503. Default: 500/s, or the highest rate of handshakes in a policy."`
}

// defaultHandshakes is the rate at which handshakes are admitted where neither
// the section limits nor a policy names a higher one.
var defaultHandshakes = ratelimit.Rate{PerSecond: 500, Burst: 500}

// handshakes is the rate that holds. A default may not undercut what the
// configuration says: a rate in a policy raises it.
func (cfg *Config) handshakes() ratelimit.Rate {
	if cfg.Limits.Handshakes != nil {
		return *cfg.Limits.Handshakes
	}
	most := defaultHandshakes
	for _, p := range cfg.Policies {
		for _, r := range p.Handshakes.Rates() {
			most.PerSecond, most.Burst = max(most.PerSecond, r.PerSecond), max(most.Burst, r.Burst)
		}
	}
	return most
}

// LogConfig says what is logged.
type LogConfig struct {
	Level  string `yaml:"level" enum:"debug,info,warn,error" default:"info" doc:"Least severe level that is logged."`
	Format string `yaml:"format" enum:"json,text" default:"json" doc:"One JSON object or one line of key=value pairs for each event."`
}

// DrainConfig says how the gateway ends.
type DrainConfig struct {
	Delay    strictyaml.Duration `yaml:"delay" default:"5s" min:"0" doc:"Between /readyz failing and the listeners closing, so that load balancers notice."`
	Window   strictyaml.Duration `yaml:"window" default:"30s" min:"0" doc:"Over which the closes of the live connections are spread."`
	Rate     ratelimit.Rate      `yaml:"rate" default:"1000/s" doc:"Most closes in a time, for which the window grows if need be, up to shortly before the hard stop. Of one route or server alike."`
	HardStop strictyaml.Duration `yaml:"hard_stop" default:"60s" doc:"After which the process ends whatever is left."`
}

// UpgradeConfig says how the gateway hands over to another process.
type UpgradeConfig struct {
	Timeout  strictyaml.Duration `yaml:"timeout" default:"30s" doc:"How long the new process may take until it could accept connections. One that takes longer is ended, and nothing changes."`
	Deadline strictyaml.Duration `yaml:"deadline" default:"12h" doc:"After which the old process drains the connections that it still has."`
}

// CloseCode is what the sides are told where a route overrides the table of
// causes: a number for the client alone, or a mapping for either side.
type CloseCode struct {
	Client   int  `yaml:"client" min:"1000" max:"4999" doc:"Code for the client."`
	Upstream int  `yaml:"upstream" min:"1000" max:"4999" doc:"Code for the upstream."`
	short    bool // written as a number
}

// of returns the code for a side, 0 where there is none.
func (c CloseCode) of(side relay.Side) frame.StatusCode {
	if side == relay.Client {
		return frame.StatusCode(c.Client)
	}
	return frame.StatusCode(c.Upstream)
}

// UnmarshalText reads the form that is a number.
func (c *CloseCode) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1000 || n > 4999 {
		return fmt.Errorf("%q is not a close code, want %s", text, c.Wanted())
	}
	c.Client, c.short = n, true
	return nil
}

// Wanted names the form in error messages.
func (CloseCode) Wanted() string { return "a number such as 1012 or 4000" }

// JSONSchema describes the form that is a number.
func (CloseCode) JSONSchema() map[string]any {
	return map[string]any{"type": "integer", "minimum": 1000, "maximum": 4999}
}

// causes returns the names that close_codes may have.
func causes() map[string]relay.Cause {
	all := map[string]relay.Cause{}
	for _, c := range relay.Causes() {
		if c != relay.PeerClosed { // always relayed as it came
			all[c.String()] = c
		}
	}
	return all
}
