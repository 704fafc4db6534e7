//go:build unix

package tlsmgr

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes the lock of a file, unless another one has it.
func lockFile(file *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, &os.PathError{Op: "flock", Path: file.Name(), Err: err}
		}
	}
}

// removeLocked removes a file while it is locked, so that nobody has locked it in between.
func removeLocked(file *os.File) { os.Remove(file.Name()) }
