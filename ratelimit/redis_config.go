package ratelimit

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/framegate/framegate/internal/strictyaml"
)

// RedisConfig is the section redis of the configuration: where the gateways count together.
type RedisConfig struct {
	URL          string              `yaml:"url" secret:"userinfo" required:"true" doc:"Address, such as rediss://user:password@redis.example.com:6379/0; redis:// (without TLS) on this machine only."`
	CA           string              `yaml:"ca" doc:"PEM file with the certificates that a rediss server's may be signed by; without it, those of the system."`
	Prefix       string              `yaml:"prefix" default:"framegate:" doc:"What the names of all keys begin with."`
	Timeout      strictyaml.Duration `yaml:"timeout" default:"50ms" min:"1ms" max:"5s" doc:"How long an answer may take. Messages never wait for one, handshakes do."`
	Nodes        int                 `yaml:"nodes" default:"1" min:"1" max:"10000" doc:"Number of gateways: while Redis is away, each admits this part of a limit."`
	LeasePercent int                 `yaml:"lease_percent" default:"25" min:"1" max:"100" doc:"How much of its part of a burst a gateway takes from Redis ahead of need."`

	DangerouslyAllowPlaintext bool `yaml:"dangerously_allow_plaintext" doc:"Allows redis:// to other machines: the password and who is connected can be read on the way, and limits be changed."`
}

const wantedURL = "want rediss://[user:password@]host[:port][/database]"

// Validate reports every mistake of c, at paths relative to it. It reads the file that c names; it keeps and starts nothing.
func (c RedisConfig) Validate(report func(path, format string, args ...any)) { c.compile(report) }

// Options returns what a go-redis client of another package needs to reach the server of c, and reports every mistake of c. A round trip
// may take c.Timeout; nothing is tried twice.
func (c RedisConfig) Options(report func(path, format string, args ...any)) *redis.Options {
	return c.compile(report)
}

// Problem is the first mistake of c, nil if there is none.
func (c RedisConfig) Problem() (err error) {
	c.compile(func(path, format string, args ...any) {
		if err == nil {
			err = fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...))
		}
	})
	return err
}

// compile returns the options of the client. No report quotes the URL, which may hold a password.
func (c RedisConfig) compile(report func(path, format string, args ...any)) *redis.Options {
	o := &redis.Options{
		Protocol: 2, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, PipelinePoolSize: -1,
		PoolSize:              2 * maxFailures, // one is used; after so many failures to dial the pool would begin to dial by itself
		ContextTimeoutEnabled: true, DialTimeout: connectTimeout, PoolTimeout: connectTimeout,
		ReadTimeout: time.Duration(c.Timeout), WriteTimeout: time.Duration(c.Timeout),
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	c.compileURL(o, report)
	c.compileCA(o, report)
	if len(c.Prefix) > 64 || strings.Trim(strings.ToLower(c.Prefix), "abcdefghijklmnopqrstuvwxyz0123456789:._-/") != "" {
		report("prefix", "prefix %q: want up to 64 letters, digits and any of : . _ - /", c.Prefix)
	}
	if c.Timeout <= 0 {
		report("timeout", "timeout is %v, want a duration such as 50ms", c.Timeout)
	}
	if c.Nodes < 1 {
		report("nodes", "nodes is %d, want the number of gateways", c.Nodes)
	}
	if c.LeasePercent < 1 || c.LeasePercent > 100 {
		report("lease_percent", "lease_percent is %d, want 1 to 100", c.LeasePercent)
	}
	return o
}

func (c RedisConfig) compileURL(o *redis.Options, report func(path, format string, args ...any)) {
	u, err := url.Parse(c.URL)
	if err != nil {
		report("url", "not a URL, "+wantedURL)
		return
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "redis" && u.Scheme != "rediss":
		report("url", "unknown scheme, "+wantedURL)
	case host == "":
		report("url", "host missing, "+wantedURL)
	case u.Opaque != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		report("url", "more than a host and a database, "+wantedURL)
	case u.Scheme == "redis" && !onThisMachine(host) && !c.DangerouslyAllowPlaintext:
		report("url", "redis:// to %q would send the password and who is connected in clear text, want rediss:// "+
			"(or dangerously_allow_plaintext: true beside it)", host)
	}
	if u.Scheme == "rediss" {
		o.TLSConfig = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	o.Addr = net.JoinHostPort(host, port)
	o.Username = u.User.Username()
	o.Password, _ = u.User.Password()
	if database := strings.TrimPrefix(u.Path, "/"); database != "" {
		if o.DB, err = strconv.Atoi(database); err != nil || o.DB < 0 || strconv.Itoa(o.DB) != database {
			report("url", "the path is not the number of a database, "+wantedURL)
		}
	}
}

func (c RedisConfig) compileCA(o *redis.Options, report func(path, format string, args ...any)) {
	if c.CA == "" {
		return
	}
	if o.TLSConfig == nil {
		report("ca", "not used without TLS, want a URL that begins with rediss://")
		return
	}
	text, err := os.ReadFile(c.CA)
	if err != nil {
		report("ca", "cannot read %q, want a PEM file with certificates", c.CA)
		return
	}
	o.TLSConfig.RootCAs = x509.NewCertPool()
	if !o.TLSConfig.RootCAs.AppendCertsFromPEM(text) {
		report("ca", "no certificate in %q, want a PEM file with certificates", c.CA)
	}
}

// onThisMachine tells whether what is sent to host leaves the machine.
func onThisMachine(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}
