package tlsmgr

import (
	"encoding/base64"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

// DNSConfig is the section tls.acme.dns: who writes the records of dns-01. One of its two ways is given.
type DNSConfig struct {
	RFC2136 *RFC2136Config `yaml:"rfc2136" doc:"A name server that takes signed updates (BIND, Knot, PowerDNS and others)."`
	Exec    *ExecConfig    `yaml:"exec" doc:"A command of yours that writes the records."`
}

// RFC2136Config is a name server that takes dynamic updates (RFC 2136), signed by TSIG (RFC 8945).
type RFC2136Config struct {
	Server     string              `yaml:"server" required:"true" doc:"Address of the primary name server, such as 10.0.0.53:53. It is reached by TCP."`
	Zone       string              `yaml:"zone" doc:"Zone that is changed; without it, the one that the name server says it is."`
	KeyName    string              `yaml:"key_name" required:"true" doc:"Name of the TSIG key."`
	Algorithm  string              `yaml:"algorithm" enum:"hmac-sha256,hmac-sha384,hmac-sha512" default:"hmac-sha256" doc:"Algorithm of the TSIG key."`
	Secret     string              `yaml:"secret" secret:"true" required:"true" doc:"The TSIG key, base64; better as ${file:...}."`
	TTL        strictyaml.Duration `yaml:"ttl" default:"60s" min:"1s" max:"1h" doc:"Time to live of the records."`
	Propagated strictyaml.Duration `yaml:"propagated" default:"0s" min:"0" max:"10m" doc:"How long it takes from the primary to all servers of the zone; the CA is told after that."`
}

// ExecConfig is a command that writes and removes records.
type ExecConfig struct {
	Command []string            `yaml:"command" required:"true" min:"1" doc:"Absolute path of the program, and its arguments. It is run, without a shell, with the further arguments present or cleanup, the record's name and its TXT value, and ends with 0 once all servers of the zone have the record."`
	Timeout strictyaml.Duration `yaml:"timeout" default:"2m" min:"1s" max:"10m" doc:"How long the command may take; then it is killed, and the attempt has failed."`
}

func (c DNSConfig) validate(report func(path, format string, args ...any)) {
	if (c.RFC2136 == nil) == (c.Exec == nil) {
		report("", "wanted one of rfc2136 and exec")
	}
	if c.RFC2136 != nil {
		c.RFC2136.validate(func(path, format string, args ...any) { report(strictyaml.Join("rfc2136", path), format, args...) })
	}
	if c.Exec != nil && len(c.Exec.Command) > 0 && !filepath.IsAbs(c.Exec.Command[0]) {
		report("exec.command[0]", "%q is not an absolute path", c.Exec.Command[0])
	}
}

func (c RFC2136Config) validate(report func(path, format string, args ...any)) {
	if _, port, err := net.SplitHostPort(c.Server); c.Server != "" && (err != nil || port == "") {
		report("server", "%q is not an address, wanted host:port such as 10.0.0.53:53", c.Server)
	}
	for field, name := range map[string]string{"zone": c.Zone, "key_name": c.KeyName} {
		if name != "" && !validKeyName(name) {
			report(field, "%q is not a DNS name", name)
		}
	}
	if key, err := base64.StdEncoding.DecodeString(c.Secret); c.Secret != "" && (err != nil || len(key) < 16) {
		report("secret", "is not a key of 16 bytes or more in base64")
	}
}

// validKeyName accepts a single label too, as names of keys often are.
func validKeyName(name string) bool {
	_, ok := canonicalName(strings.TrimSuffix(name, ".") + ".key")
	return ok
}

// commandTimeout is the timeout of the command, 2 minutes where c was not decoded from a file.
func (c ExecConfig) commandTimeout() time.Duration {
	if c.Timeout == 0 {
		return 2 * time.Minute
	}
	return time.Duration(c.Timeout)
}
