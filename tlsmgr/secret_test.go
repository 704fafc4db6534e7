package tlsmgr

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// All who ask get the same secret, at once and later; another store has another one.
func TestSecret(t *testing.T) {
	t.Parallel()
	store := StorageConfig{File: filepath.Join(t.TempDir(), "store")}
	got := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = store.Secret("sticky.key"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, secret := range got {
		if len(secret) != 32 || !bytes.Equal(secret, got[0]) {
			t.Fatalf("got %x and %x", got[0], secret)
		}
	}
	if again, err := store.Secret("sticky.key"); err != nil || !bytes.Equal(again, got[0]) {
		t.Errorf("later: %x, %v", again, err)
	}
	if other, err := (StorageConfig{File: t.TempDir()}).Secret("sticky.key"); err != nil || bytes.Equal(other, got[0]) {
		t.Errorf("another store has the same secret, or %v", err)
	}
	entries, err := os.ReadDir(store.File)
	if err != nil || len(entries) != 1 {
		t.Errorf("the store holds %v, %v", entries, err)
	}
	if info, err := entries[0].Info(); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestSecretErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "short"), []byte("S3CRET"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ dir, want string }{
		"short":  {dir, "holds 6 bytes, want 32"},
		"nowher": {filepath.Join(dir, "short"), "not a directory"},
	} {
		secret, err := StorageConfig{File: tt.dir}.Secret(name)
		if secret != nil || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%s: got %x, %v, want an error with %q", name, secret, err, tt.want)
		}
	}
}
