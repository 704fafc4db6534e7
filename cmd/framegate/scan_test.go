package main_test

import (
	"cmp"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/acmetest"
	"github.com/framegate/framegate/internal/wstest"
)

// scanned starts a gateway with a certificate by ACME, and returns the address of its listener and a file with the CA's root.
func scanned(t *testing.T) (addr, root string) {
	t.Helper()
	ca := acmetest.New(t, acmetest.Setup{OCSP: true})
	// testssl.sh looks for an application's own security headers too.
	up := wstest.NewRecorder(t, wstest.Send(wstest.Head("HTTP/1.1 200 OK", "Content-Security-Policy: default-src 'self'", "Content-Length: 0")))
	config := acmeGateway(up.Addr(), ca.Config(t.TempDir()))
	p := wstest.Start(t, strings.Replace(config, "tls: {certificates: auto}", "tls: {certificates: auto}, protocols: [h1, h2], hsts: {}", 1))
	aim(ca, p)
	certified(t, ca, p.Addrs[1], wstest.Patience)
	root = filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Root().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return p.Addrs[1], root
}

// expect compares a report with the one that is kept. UPDATE=1 in the environment keeps the new one.
func expect(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", "scan", file)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(must(os.ReadFile(file))); got != want {
		t.Errorf("the report differs from %s:\n%s\nwant:\n%s", file, got, want)
	}
}

// sslscan finds TLS 1.2 and 1.3, six suites with ECDSA or TLS 1.3, and nothing that is weak.
func TestSSLScan(t *testing.T) {
	t.Parallel()
	sslscan, err := exec.LookPath("sslscan")
	if err != nil {
		t.Fatalf("%v: make test installs it", err)
	}
	addr, _ := scanned(t)
	out, err := exec.Command(sslscan, "--no-colour", "--no-check-certificate", "--sni-name=app.example.com", addr).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	report := regexp.MustCompile(`(?s)  SSL/TLS Protocols:.*`).FindString(string(out))
	report = regexp.MustCompile(`(?s)  SSL Certificate:.*|  TLS Compression:\n.*?\n\n`).ReplaceAllString(report, "") // sslscan's own library has no compression to offer
	expect(t, "sslscan.txt", strings.TrimSpace(regexp.MustCompile(` *\n`).ReplaceAllString(report, "\n"))+"\n")
}

// testssl.sh takes minutes: `make scan` runs it.
func TestTestSSL(t *testing.T) {
	if os.Getenv("FRAMEGATE_SCAN") == "" {
		t.Skip("takes minutes: make scan")
	}
	testssl, err := exec.LookPath("testssl")
	if err != nil {
		t.Fatalf("%v: make scan installs it", err)
	}
	addr, root := scanned(t)
	_, port, _ := net.SplitHostPort(addr)
	file := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.Command(testssl, "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--ip", "127.0.0.1", "--add-ca", root, "--jsonfile", file, "https://app.example.com:"+port+"/")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	var findings []struct{ ID, Severity, Finding string }
	if readErr := json.Unmarshal(must(os.ReadFile(file)), &findings); readErr != nil {
		t.Fatalf("%v, %v", err, readErr)
	}
	var lines []string
	for _, f := range findings {
		switch f.Severity {
		case "OK", "INFO", "WARN": // warnings are about testssl.sh's own library
		default:
			if f.Severity != "LOW" {
				t.Errorf("%s: %s %s", f.Severity, f.ID, f.Finding)
			}
			lines = append(lines, fmt.Sprintf("%s %s %s\n", cmp.Or(f.Severity, "?"), f.ID, f.Finding))
		}
	}
	if len(findings) < 100 {
		t.Errorf("only %d findings", len(findings))
	}
	slices.Sort(lines)
	expect(t, "testssl.txt", strings.Join(lines, ""))
}
