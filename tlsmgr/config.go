package tlsmgr

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The values of ListenerConfig.Certificates.
const (
	certificatesAuto     = "auto"
	certificatesInternal = "internal"
	certificatesFiles    = "files"
	certificatesOff      = "off"
)

// Config is the section tls of the configuration.
type Config struct {
	ACME    ACMEConfig    `yaml:"acme" doc:"How certificates are got for listeners with certificates: auto."`
	Storage StorageConfig `yaml:"storage" doc:"Where the gateway keeps the certificates and keys that it makes or gets."`
}

// StorageConfig is the section tls.storage.
type StorageConfig struct {
	File  string              `yaml:"file" doc:"Directory of the store; without it $XDG_DATA_HOME/framegate, else ~/.local/share/framegate. Beside redis it holds copies, with which the gateway can start while Redis is away."`
	Redis *RedisStorageConfig `yaml:"redis" doc:"Keeps what ACME needs in Redis instead, so that several gateways share certificates, challenges and locks."`
}

// ListenerConfig is the section tls of one listener.
type ListenerConfig struct {
	Certificates string       `yaml:"certificates" enum:"auto,internal,files,off" required:"true" doc:"Where certificates come from: auto (ACME, for the hosts of the routes), internal (the gateway's own development root), files, or off (no TLS)."`
	Files        []FileConfig `yaml:"files" doc:"The certificates of certificates: files; the server name that the client asks for chooses among them."`
}

// FileConfig names the two PEM files of one certificate.
type FileConfig struct {
	Cert string `yaml:"cert" required:"true" doc:"PEM file with the certificate, followed by its intermediates."`
	Key  string `yaml:"key" required:"true" doc:"PEM file with the private key, readable by the gateway alone."`
}

// Dir is the directory of the store: File, or $XDG_DATA_HOME/framegate, or ~/.local/share/framegate. It need not exist yet. A relative
// XDG_DATA_HOME is ignored, as the XDG base directory specification demands.
func (c StorageConfig) Dir() (string, error) {
	if c.File != "" {
		return filepath.Clean(c.File), nil
	}
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "framegate"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no directory for the store: set tls.storage.file (%w)", err)
	}
	return filepath.Join(home, ".local", "share", "framegate"), nil
}

// Validate reports every mistake of c, at paths relative to it. It reads the files that c names, so that a certificate that would stop
// the start is found by a check too; it keeps nothing, starts nothing and makes nothing.
func (c ListenerConfig) Validate(report func(path, format string, args ...any)) {
	switch c.Certificates {
	case certificatesFiles:
		if len(c.Files) == 0 {
			report("files", "missing, wanted at least one pair {cert: FILE, key: FILE}")
		}
		for i, f := range c.Files {
			f.validate(func(field, format string, args ...any) {
				report(fmt.Sprintf("files[%d]%s", i, field), format, args...)
			})
		}
	case certificatesAuto, certificatesInternal, certificatesOff:
		if len(c.Files) > 0 {
			report("files", "not used with certificates: %s, wanted certificates: files", c.Certificates)
		}
	default:
		report("certificates", "unknown value %q, wanted auto, internal, files or off", c.Certificates)
	}
}

// Auto tells whether the listener's certificates come from ACME.
func (c ListenerConfig) Auto() bool { return c.Certificates == certificatesAuto }

// Off tells whether the listener has no TLS.
func (c ListenerConfig) Off() bool { return c.Certificates == certificatesOff }

// validate reports the mistakes of one pair, at ".cert", ".key" or "" for what concerns both.
func (f FileConfig) validate(report func(path, format string, args ...any)) {
	if f.Cert == "" {
		report(".cert", "missing, wanted the path of a PEM file")
	}
	if f.Key == "" {
		report(".key", "missing, wanted the path of a PEM file")
	}
	if f.Cert == "" || f.Key == "" {
		return
	}
	if _, err := readPair(f); err != nil {
		field := ""
		if e, ok := errors.AsType[*pairError](err); ok {
			field = e.field
		}
		report(field, "%v", err)
	}
}
