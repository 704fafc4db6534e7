//go:build !linux

package wstest

import (
	"os/exec"
	"testing"
)

// dieWithParent does nothing: other systems have no parent-death signal.
func dieWithParent(*exec.Cmd) {}

// lockFile does nothing here: tests of the binary run on Linux.
func lockFile(string) (unlock func(), err error) { return func() {}, nil }

// BlackHole needs Linux.
func BlackHole(tb testing.TB) string {
	tb.Fatal("only Linux has ports that drop each SYN")
	return ""
}

// LimitDescriptors needs Linux.
func (p *Process) LimitDescriptors(uint64) {
	p.tb.Fatal("only Linux limits the descriptors of another process")
}
