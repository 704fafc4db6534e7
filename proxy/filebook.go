package proxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/framegate/framegate/internal/strictyaml"
)

// A fileBook notes from which files a configuration was read, and what was in
// them, so that it is known when it would be another one. A nil one notes
// nothing.
type fileBook struct {
	sums     map[string][sha256.Size]byte
	patterns []string
}

func newFileBook() *fileBook { return &fileBook{sums: map[string][sha256.Size]byte{}} }

// note takes what was read of a file; nothing, where it could not be.
func (b *fileBook) note(path string, data []byte) {
	if b != nil {
		b.sums[path] = sha256.Sum256(data)
	}
}

// read notes files that others read. An empty path is none.
func (b *fileBook) read(paths ...string) {
	for _, path := range paths {
		if path != "" {
			data, _ := readBounded(path, maxPolicyFile)
			b.note(path, data)
		}
	}
}

// pattern notes where files would be read if there were more of them.
func (b *fileBook) pattern(p string) { b.patterns = append(b.patterns, p) }

// loaded is what Load returns.
func (cfg *Config) loaded(warnings strictyaml.Errors) *Loaded {
	b, h := cfg.files, sha256.New()
	paths := slices.Sorted(maps.Keys(b.sums))
	for _, path := range paths {
		sum := b.sums[path]
		fmt.Fprintf(h, "%q %x\n", path, sum)
	}
	return &Loaded{Config: cfg, Warnings: warnings, Files: append(paths, b.patterns...), Digest: hex.EncodeToString(h.Sum(nil)[:16])}
}
