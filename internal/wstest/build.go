package wstest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
)

// built is the path of the binary of this test run. It is made once, by the first test that asks.
var built = sync.OnceValues(buildBinary)

// Build compiles cmd/framegate, once per test process, and returns the path of the program. It is built with the race detector
// when the tests run under it, so that a data race in the gateway ends it with exit code 66. The file stays in the user's cache
// directory, where the next run finds it up to date and need not link again.
func Build(tb testing.TB) string {
	tb.Helper()
	path, err := built()
	if err != nil {
		tb.Fatalf("building framegate: %v", err)
	}
	return path
}

func buildBinary() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	if err := noteSources(root); err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a place for the binary: %w", err)
	}
	// Two clones of the repository on one machine must not take each other's binary.
	sum := sha256.Sum256([]byte(root))
	dir := filepath.Join(cache, "framegate-test", hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	name, args := "framegate", []string{"build", "-buildvcs=false"}
	if RaceEnabled() {
		name, args = "framegate-race", append(args, "-race")
	}
	path := filepath.Join(dir, name)
	unlock, err := lockFile(path + ".lock") // go test builds and runs several packages at a time
	if err != nil {
		return "", err
	}
	defer unlock()
	cmd := exec.Command("go", append(args, "-o", path, "./cmd/framegate")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return path, nil
}

// noteSources looks at every source file of the module. The go command notes at which files a test looks, and takes a cached result
// only while they are unchanged; without this it would not see that the binary under test has changed.
func noteSources(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if name == ".git" || name == "node_modules" || name == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		if _, err := os.Stat(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // an editor may be at work
			return err
		}
		return nil
	})
}

// RaceEnabled reports whether this test binary was built with the race detector.
func RaceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// moduleRoot walks up from the working directory, which go test sets to the package's own, to the main go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module github.com/framegate/framegate\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod of github.com/framegate/framegate above the working directory")
		}
		dir = parent
	}
}
