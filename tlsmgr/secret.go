package tlsmgr

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// secretSize is the length of a secret in bytes.
const secretSize = 32

// Secret gives a secret of the store under a name, of 32 bytes by chance, which is made when the store has none. Several processes that ask at
// once get the same one. A secret that is there but damaged is an error and stays as it is.
func (c StorageConfig) Secret(name string) ([]byte, error) {
	dir, err := c.Dir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	secret, err := readSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	if err := createSecret(dir, name); err != nil {
		return nil, fmt.Errorf("making a secret in %q: %w", dir, err)
	}
	return readSecret(path)
}

func readSecret(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	if err == nil && len(secret) != secretSize {
		err = fmt.Errorf("file %q holds %d bytes, want %d: remove it, and another one is made", path, len(secret), secretSize)
	}
	if err != nil {
		return nil, err
	}
	return secret, nil
}

// createSecret makes a secret whole or not at all. Where there is one meanwhile, that stays.
func createSecret(dir, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(dir, "."+name+"-") // mode 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	secret := make([]byte, secretSize)
	rand.Read(secret) // never fails: crypto/rand ends the process instead
	if err := writeFile(filepath.Join(temp, name), secret, 0o600); err != nil {
		return err
	}
	if err := os.Link(filepath.Join(temp, name), filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	syncDir(dir)
	return nil
}
