package ratelimit

import (
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

// certificateFile is a PEM file with the certificate of a server of the standard library's tests.
func certificateFile(t *testing.T) string {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// mistakes decodes a section and returns what is wrong with it.
func mistakes(t *testing.T, text string) (c RedisConfig, all []string) {
	t.Helper()
	_, errs := strictyaml.Decode("f", []byte(text), nil, &c)
	for _, err := range errs {
		all = append(all, err.Error())
	}
	if len(errs) == 0 {
		c.Validate(func(path, format string, args ...any) {
			all = append(all, path+": "+fmt.Sprintf(format, args...))
		})
	}
	return c, all
}

func TestRedisConfig(t *testing.T) {
	ca := certificateFile(t)
	for name, test := range map[string]struct {
		text, addr, user, password string
		db                         int
		tls                        bool
	}{
		"loopback":   {`url: redis://localhost`, "localhost:6379", "", "", 0, false},
		"IPv4":       {`url: redis://127.0.0.1:7000/3`, "127.0.0.1:7000", "", "", 3, false},
		"IPv6":       {`url: "redis://[::1]/"`, "[::1]:6379", "", "", 0, false},
		"TLS":        {`url: rediss://user:p%40ss@redis.example.com:6380/15`, "redis.example.com:6380", "user", "p@ss", 15, true},
		"own CA":     {"url: rediss://:secret@redis.example.com\nca: " + ca, "redis.example.com:6379", "", "secret", 0, true},
		"plain text": {"url: redis://10.0.0.1\ndangerously_allow_plaintext: true", "10.0.0.1:6379", "", "", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, all := mistakes(t, test.text)
			if len(all) > 0 {
				t.Fatal(all)
			}
			o := c.compile(nil)
			if o.Addr != test.addr || o.Username != test.user || o.Password != test.password || o.DB != test.db || (o.TLSConfig != nil) != test.tls {
				t.Errorf("%q as %q, %q, database %d, TLS %t", o.Addr, o.Username, o.Password, o.DB, o.TLSConfig != nil)
			}
			if test.tls && (o.TLSConfig.ServerName != "redis.example.com" || (o.TLSConfig.RootCAs != nil) != strings.Contains(test.text, "ca:")) {
				t.Errorf("TLS for %q, own roots %t", o.TLSConfig.ServerName, o.TLSConfig.RootCAs != nil)
			}
			if !o.ContextTimeoutEnabled || o.ReadTimeout != 50*time.Millisecond || o.MaxRetries != -1 {
				t.Errorf("context %t, read %v, retries %d", o.ContextTimeoutEnabled, o.ReadTimeout, o.MaxRetries)
			}
			if c.Nodes != 1 || c.LeasePercent != 25 || c.Prefix != "framegate:" {
				t.Errorf("defaults: %+v", c)
			}
		})
	}
}

// Each mistake has its place and its words, and none shows the URL, which holds a password.
func TestRedisConfigRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"prefix: a":                                   "url: ",
		"url: redis://:hunter2@10.0.0.1":              `url: redis:// to "10.0.0.1" would send the password and who is connected in clear text`,
		"url: redis://:hunter2@redis":                 `url: redis:// to "redis" would send`,
		"url: redis://:hunter2@localhost.example.com": `url: redis:// to "localhost.example.com" would send`,
		"url: rediss://:hunter2@":                     "url: host missing, want rediss://",
		"url: http://:hunter2@localhost":              "url: unknown scheme, want rediss://",
		"url: localhost:6379":                         "url: unknown scheme",
		`url: "rediss://:hunter2@h:port"`:             "url: not a URL, want rediss://",
		`url: "rediss://:hunter2%zz@h"`:               "url: not a URL",
		"url: rediss://:hunter2@h/x":                  "url: the path is not the number of a database",
		"url: rediss://:hunter2@h/01":                 "url: the path is not the number of a database",
		"url: rediss://:hunter2@h/-1":                 "url: the path is not the number of a database",
		"url: rediss://:hunter2@h?db=1":               "url: more than a host and a database",
		"url: rediss://h\nca: /nowhere.pem":           `ca: cannot read "/nowhere.pem", want a PEM file`,
		"url: rediss://h\nca: " + empty:               "ca: no certificate in",
		"url: redis://localhost\nca: " + empty:        "ca: not used without TLS",
		"url: rediss://h\nprefix: \"a b\"":            `prefix: prefix "a b": want up to 64`,
		"url: rediss://h\nprefix: \"{a}\"":            "prefix: ",
		"url: rediss://h\nnodes: 0":                   "f:2:8: nodes: ",
		"url: rediss://h\nnodes: -1":                  "f:2:8: nodes: ",
		"url: rediss://h\nlease_percent: 0":           "f:2:16: lease_percent: ",
		"url: rediss://h\nlease_percent: 101":         "f:2:16: lease_percent: ",
		"url: rediss://h\ntimeout: 0s":                "f:2:10: timeout: ",
		"url: rediss://h\ntimeout: 50":                "f:2:10: timeout: ",
		"url: rediss://h\nnode: 3":                    "f:2:1: node: ",
	} {
		_, all := mistakes(t, text)
		if len(all) != 1 || !strings.Contains(all[0], want) || strings.Contains(all[0], "hunter2") {
			t.Errorf("%q: %q, want %q", text, all, want)
		}
	}
}

// A program that skips Validate gets an error, and nothing runs.
func TestNewRedisRefuses(t *testing.T) {
	for _, c := range []RedisConfig{
		{},
		{URL: "redis://localhost"},
		{URL: "redis://localhost", Timeout: strictyaml.Duration(ms), Nodes: 1},
		{URL: "redis://:hunter2@10.0.0.1", Timeout: strictyaml.Duration(ms), Nodes: 1, LeasePercent: 1},
	} {
		s, err := NewRedis(c, 10, slog.New(slog.DiscardHandler))
		if s != nil || err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "redis.") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
