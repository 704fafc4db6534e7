package upstream

import (
	"crypto/tls"
	"slices"
	"strings"

	"github.com/framegate/framegate/policy/outbound"
)

// compileTLS makes the configuration that the pool's wss servers share, but for their names.
func compileTLS(c *TLSConfig, servers []ServerConfig, report Report) *tls.Config {
	conf := &tls.Config{
		MinVersion: tls.VersionTLS12,
		// A WebSocket is opened over HTTP/1.1 here: a server that prefers HTTP/2 must know that before it chooses.
		NextProtos: []string{"http/1.1"},
		// The records of one write leave together; records that grow slowly would cost system calls on each relayed message.
		DynamicRecordSizingDisabled: true,
	}
	if c == nil {
		return conf
	}
	if !slices.ContainsFunc(servers, func(s ServerConfig) bool { return strings.Contains(s.URL, "wss://") }) {
		report("tls", "no server of this pool speaks TLS, want a wss:// server or no tls section")
	}
	if c.CA != "" {
		conf.RootCAs = outbound.Roots(c.CA, "tls.ca", report)
	}
	if c.Cert != "" || c.Key != "" {
		if own := newClientCertificate(c.Cert, c.Key, func(path, format string, args ...any) { report("tls."+path, format, args...) }); own != nil {
			conf.GetClientCertificate = own.get
		}
	}
	if c.ServerName != "" {
		name, bad := parseServerName(c.ServerName)
		if bad != nil {
			bad.report(report, "tls.server_name", "server name", c.ServerName)
		}
		conf.ServerName = name
	}
	return conf
}

// serverName is the name that the server's certificate must carry: DNS names stand there without a final dot.
func (t target) serverName() string { return strings.TrimSuffix(t.host, ".") }

// parseServerName accepts a DNS name, or an IP address with or without brackets.
func parseServerName(text string) (string, *flaw) {
	if !strings.HasPrefix(text, "[") && strings.Contains(text, ":") {
		text = "[" + text + "]"
	}
	if strings.HasPrefix(text, "[") && !strings.HasSuffix(text, "]") {
		return "", flawf(`has "[" without "]", want a name such as "app.internal"`)
	}
	host, bad := parseHost(text)
	return strings.TrimSuffix(host, "."), bad
}
