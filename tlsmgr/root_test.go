package tlsmgr

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

func rootFiles(dir string) (cert, key string) {
	return filepath.Join(dir, "internal", "root.crt"), filepath.Join(dir, "internal", "root.key")
}

func TestRootIsMadeAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "store")
	first, err := RootPEM(dir)
	check(t, err)
	certPath, keyPath := rootFiles(dir)
	for path, want := range map[string]os.FileMode{
		dir:                    0o700 | os.ModeDir,
		filepath.Dir(certPath): 0o700 | os.ModeDir,
		keyPath:                0o600,
		certPath:               0o644,
	} {
		info, err := os.Stat(path)
		check(t, err)
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
	again, err := RootPEM(dir)
	check(t, err)
	onDisk, err := os.ReadFile(certPath)
	check(t, err)
	if !bytes.Equal(first, again) || !bytes.Equal(first, onDisk) {
		t.Error("the root changed")
	}
	assertOnly(t, dir, "internal")

	block, rest := pem.Decode(first)
	if block == nil || len(rest) > 0 {
		t.Fatal("not one PEM block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	check(t, err)
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		t.Errorf("key %T, want ECDSA P-256", cert.PublicKey)
	}
	if life := cert.NotAfter.Sub(cert.NotBefore); life < 3650*24*time.Hour || life > 3655*24*time.Hour {
		t.Errorf("lives %v, want 10 years", life)
	}
	if !cert.IsCA || !cert.MaxPathLenZero || cert.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(cert.SubjectKeyId) == 0 {
		t.Errorf("not a proper authority: %+v", cert)
	}
	check(t, cert.CheckSignatureFrom(cert))
	other, err := RootPEM(t.TempDir())
	check(t, err)
	if bytes.Equal(other, first) {
		t.Error("two stores share a root")
	}
}

// assertOnly fails if dir holds anything but names, such as a temporary directory left behind.
func assertOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("%s holds %q, want %q", dir, got, names)
	}
}

func TestRootAgreedByProcesses(t *testing.T) {
	for range 3 {
		dir := t.TempDir()
		var all sync.WaitGroup
		results := make([]string, 8)
		for i := range results {
			all.Go(func() {
				command := exec.CommandContext(t.Context(), os.Args[0])
				command.Env = append(os.Environ(), childStore+"="+dir)
				out, err := command.CombinedOutput()
				if err != nil {
					t.Errorf("process %d: %v: %s", i, err, out)
				}
				results[i] = string(out)
			})
		}
		all.Wait()
		assertSame(t, dir, results)
	}
}

func TestRootAgreedByGoroutines(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		check(t, os.Mkdir(filepath.Join(dir, "internal"), 0o700)) // an empty directory may be there
		results := make([]string, 8)
		var all sync.WaitGroup
		for i := range results {
			all.Go(func() {
				out, err := RootPEM(dir)
				if err != nil {
					t.Errorf("goroutine %d: %v", i, err)
				}
				results[i] = string(out)
			})
		}
		all.Wait()
		assertSame(t, dir, results)
	}
}

func assertSame(t *testing.T, dir string, roots []string) {
	t.Helper()
	for i, root := range roots {
		if root == "" || root != roots[0] {
			t.Fatalf("root %d differs from the first:\n%s\n%s", i, root, roots[0])
		}
	}
	assertOnly(t, dir, "internal")
	assertOnly(t, filepath.Join(dir, "internal"), "root.crt", "root.key")
}

// What is there and unusable is an error that names it, and stays as it is.
func TestRootIsNeverReplaced(t *testing.T) {
	foreign := certSpec{names: []string{"localhost"}}
	foreignCert, foreignKey := foreign.pem(t)
	for name, test := range map[string]struct {
		spoil func(t *testing.T, certPath, keyPath string)
		parts []string
	}{
		"key corrupted": {func(t *testing.T, _, key string) { replaceFile(t, key, []byte("junk")) }, []string{"root.key", "key"}},
		"key empty":     {func(t *testing.T, _, key string) { replaceFile(t, key, nil) }, []string{"root.key"}},
		"key of another": {func(t *testing.T, _, key string) { replaceFile(t, key, foreignKey) },
			[]string{"root.key", "does not match"}},
		"key missing":    {func(t *testing.T, _, key string) { check(t, os.Remove(key)) }, []string{`root.key" is missing`, "restore it, or remove"}},
		"cert missing":   {func(t *testing.T, cert, _ string) { check(t, os.Remove(cert)) }, []string{`root.crt" is missing`, "restore it, or remove"}},
		"cert corrupted": {func(t *testing.T, cert, _ string) { replaceFile(t, cert, []byte("junk")) }, []string{"root.crt", "certificate"}},
		"not an authority": {func(t *testing.T, cert, key string) {
			replaceFile(t, cert, foreignCert)
			replaceFile(t, key, foreignKey)
		}, []string{"root.crt", "not a certificate authority"}},
		"key is a directory": {func(t *testing.T, _, key string) {
			check(t, os.Remove(key))
			check(t, os.Mkdir(key, 0o700))
		}, []string{"root.key", "reading"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := RootPEM(dir)
			check(t, err)
			certPath, keyPath := rootFiles(dir)
			test.spoil(t, certPath, keyPath)
			cert, _ := os.ReadFile(certPath)
			key, _ := os.ReadFile(keyPath)
			for range 2 {
				_, err = RootPEM(dir)
				wantError(t, err, append(test.parts, dir)...)
			}
			certNow, _ := os.ReadFile(certPath)
			keyNow, _ := os.ReadFile(keyPath)
			if !bytes.Equal(cert, certNow) || !bytes.Equal(key, keyNow) {
				t.Error("a file changed")
			}
			assertOnly(t, dir, "internal")
			m, _ := startManager(t, Config{Storage: StorageConfig{File: dir}})
			_, err = m.Listener(ListenerConfig{Certificates: "internal"}, nil)
			wantError(t, err, append(test.parts, dir)...)
		})
	}
}

func TestRootDirectoryWithOtherThings(t *testing.T) {
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "internal", "lost+found"), 0o700))
	_, err := RootPEM(dir)
	wantError(t, err, filepath.Join(dir, "internal"), "holds neither root.crt nor root.key", "remove it")
	assertOnly(t, dir, "internal")

	dir = t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "internal"), []byte("mine"), 0o600))
	_, err = RootPEM(dir)
	wantError(t, err, filepath.Join(dir, "internal"), "not a directory")
	if data, _ := os.ReadFile(filepath.Join(dir, "internal")); string(data) != "mine" {
		t.Error("a file in the place of the directory was touched")
	}

	_, err = RootPEM(filepath.Join(dir, "internal", "below"))
	wantError(t, err, filepath.Join(dir, "internal", "below"))
}

func TestRootExpires(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	_, made, err := openRoot(dir, now, rand.Reader)
	if err != nil || !made {
		t.Fatalf("made %t, %v", made, err)
	}
	_, made, err = openRoot(dir, now.AddDate(10, 0, -1), rand.Reader)
	if err != nil || made {
		t.Errorf("a day before the end: made %t, %v", made, err)
	}
	_, _, err = openRoot(dir, now.AddDate(10, 0, 1), rand.Reader)
	certPath, _ := rootFiles(dir)
	wantError(t, err, certPath, "expired on", "remove the directory")
}

// A failure on the way leaves nothing behind that a later start would trip over.
func TestRootWithoutRandomness(t *testing.T) {
	for name, random := range map[string]io.Reader{"error": iotest.ErrReader(errors.New("no entropy")), "short": strings.NewReader("abc")} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, _, err := openRoot(dir, time.Now(), random)
			wantError(t, err, dir, "making the internal root")
			assertOnly(t, dir)
			_, err = RootPEM(dir)
			check(t, err)
		})
	}
}

// An authority of the user's own may take the place of ours, with any kind of key.
func TestRootOfTheUser(t *testing.T) {
	dir := t.TempDir()
	certPEM, keyPEM, err := newRoot(time.Now(), rand.Reader)
	check(t, err)
	check(t, os.MkdirAll(filepath.Join(dir, "internal"), 0o755))
	certPath, keyPath := rootFiles(dir)
	check(t, os.WriteFile(certPath, append(bytes.Clone(certPEM), keyPEM...), 0o644)) // the key beside the certificate is never shown
	check(t, os.WriteFile(keyPath, keyPEM, 0o644))
	got, err := RootPEM(dir)
	check(t, err)
	if !bytes.Equal(got, certPEM) {
		t.Errorf("exported\n%s", got)
	}
	m, book := startManager(t, Config{Storage: StorageConfig{File: dir}})
	_, err = m.Listener(ListenerConfig{Certificates: "internal"}, nil)
	check(t, err)
	book.wait(t, "level=WARN", "key file is open to other users", keyPath, "mode=0644")
}
