//go:build !linux

package wstest

import "os/exec"

// dieWithParent does nothing: other systems have no parent-death signal.
func dieWithParent(*exec.Cmd) {}

// lockFile does nothing here: tests of the binary run on Linux.
func lockFile(string) (unlock func(), err error) { return func() {}, nil }
