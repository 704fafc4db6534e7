package tlsmgr

import (
	"crypto/tls"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestFilesChosenByName(t *testing.T) {
	dir := t.TempDir()
	specs := []certSpec{
		{names: []string{"chat.example.com", "localhost"}},
		{names: []string{"*.example.com"}},
		{names: []string{"*.b.example.com", "second.example"}},
		{names: []string{"second.example", "only.example"}}, // the first pair of a name wins
	}
	var files []FileConfig
	for i, spec := range specs {
		spec.serial = int64(i + 1)
		files = append(files, spec.write(t, filepath.Join(dir, strconv.Itoa(i))))
	}
	m, book := startManager(t, Config{})
	config := filesListener(t, m, []string{"chat.example.com", "*.b.example.com", "only.example", "*.example.com"}, files...)
	if strings.Contains(book.String(), "no certificate") {
		t.Errorf("warned: %s", book)
	}
	for name, want := range map[string]int64{
		"chat.example.com":       1,
		"CHAT.Example.COM":       1,
		"localhost":              1,
		"other.example.com":      2,
		"b.example.com":          2,
		"x.b.example.com":        3,
		"second.example":         3,
		"only.example":           4,
		"example.com":            0,
		"x.chat.example.com":     0,
		"a.x.b.example.com":      0,
		"unknown":                0,
		"chat.example.com.evil":  0,
		strings.Repeat("x", 300): 0,
	} {
		if got := served(t, config, name); got != want {
			t.Errorf("%.40q is served certificate %d, want %d", name, got, want)
		}
	}
	// Of the TCP listener crypto/tls refuses such names itself; other transports may not.
	for name, want := range map[string]bool{"chat.example.com.": true, "Localhost.": true, "": false, ".": false, "127.0.0.1": false, "::1": false} {
		cert, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil || (cert != nil) != want {
			t.Errorf("GetCertificate(%q) = %v, %v, want a certificate: %t", name, cert != nil, err, want)
		}
	}
}

// An RSA pair for old clients beside an ECDSA pair: each client gets what it can use.
func TestFilesChosenByKeyType(t *testing.T) {
	dir := t.TempDir()
	ecdsa := certSpec{names: []string{"localhost"}, serial: 1}.write(t, filepath.Join(dir, "ecdsa"))
	rsa := certSpec{names: []string{"localhost"}, serial: 2, rsa: true}.write(t, filepath.Join(dir, "rsa"))
	m, _ := startManager(t, Config{})
	config := filesListener(t, m, nil, ecdsa, rsa)
	if got := served(t, config, "localhost"); got != 1 {
		t.Errorf("a modern client gets certificate %d, want the first", got)
	}
	client := insecure("localhost")
	client.MaxVersion = tls.VersionTLS12
	client.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	state, _, err := shake(t, config, client)
	check(t, err)
	if got := state.PeerCertificates[0].SerialNumber.Int64() - 1; got != 2 {
		t.Errorf("an RSA client gets certificate %d, want 2", got)
	}
	// Nobody's suite: the first one, and crypto/tls says handshake_failure.
	client.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	_, _, err = shake(t, config, client)
	wantError(t, err, "handshake failure")
}

func TestFilesWarnOfUncoveredHosts(t *testing.T) {
	m, book := startManager(t, Config{})
	dir := t.TempDir()
	files := certSpec{names: []string{"chat.example.com", "*.w.example"}}.write(t, dir)
	filesListener(t, m, []string{"z.example", "CHAT.example.com", "a.w.example", "*.w.example", "*.example.com", "10.0.0.1"}, files)
	var got []string
	for line := range strings.Lines(book.String()) {
		_, host, _ := strings.Cut(line, "host=")
		got = append(got, strings.TrimSpace(host))
	}
	if want := []string{"10.0.0.1", "*.example.com", "z.example"}; !slices.Equal(got, want) {
		t.Errorf("warned of %q, want %q:\n%s", got, want, book)
	}
	// A renewed certificate that lost a name is told too.
	certSpec{names: []string{"*.w.example"}}.write(t, dir)
	m.Reload()
	if book.count("host=chat.example.com") != 1 {
		t.Errorf("no warning after the reload:\n%s", book)
	}
}

func TestFilesOfSeveralListeners(t *testing.T) {
	dir := t.TempDir()
	a := certSpec{names: []string{"a.example"}, serial: 1}.write(t, filepath.Join(dir, "a"))
	b := certSpec{names: []string{"b.example"}, serial: 2}.write(t, filepath.Join(dir, "b"))
	m, _ := startManager(t, Config{})
	first, second := filesListener(t, m, nil, a), filesListener(t, m, nil, b)
	if served(t, first, "a.example") != 1 || served(t, first, "b.example") != 0 || served(t, second, "b.example") != 2 || served(t, second, "a.example") != 0 {
		t.Error("a listener serves another one's certificates")
	}
	certSpec{names: []string{"a.example"}, serial: 3}.write(t, filepath.Dir(a.Cert))
	certSpec{names: []string{"b.example"}, serial: 4}.write(t, filepath.Dir(b.Cert))
	m.Reload()
	if served(t, first, "a.example") != 3 || served(t, second, "b.example") != 4 {
		t.Error("a reload did not reach both listeners")
	}
}
