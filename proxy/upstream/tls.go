package upstream

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// compileTLS makes the configuration that the pool's wss servers share, but for their names.
func compileTLS(c *TLSConfig, servers []string, report Report) *tls.Config {
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
	if !slices.ContainsFunc(servers, func(text string) bool { return strings.HasPrefix(text, "wss://") }) {
		report("tls", "no server of this pool speaks TLS, want a wss:// server or no tls section")
	}
	if c.CA != "" {
		pool, bad := loadCA(c.CA)
		if bad != nil {
			bad.report(report, "tls.ca", "file", c.CA)
		}
		conf.RootCAs = pool
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

// loadCA reads a file of PEM certificates. Unlike x509.CertPool.AppendCertsFromPEM it passes over nothing: a certificate that cannot be read, or
// a private key that has no business here, is an error.
func loadCA(file string) (*x509.CertPool, *flaw) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, flawf("cannot be read: %s", withoutPath(err))
	}
	pool := x509.NewCertPool()
	n := 0
	for rest := data; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, flawf("holds a PEM block of type %q, want CERTIFICATE blocks alone", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, flawf("holds a certificate (number %d) that cannot be read: %s", n+1, err.Error())
		}
		pool.AddCert(cert)
	}
	if begun := bytes.Count(data, []byte("-----BEGIN ")); begun != n || n == 0 {
		return nil, flawf("holds %d whole PEM certificates of %d begun, want at least one and each whole", n, begun)
	}
	return pool, nil
}

// withoutPath returns the text of a file system error that does not name the file, which stands in the report already.
func withoutPath(err error) string {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return err.Error()
}
