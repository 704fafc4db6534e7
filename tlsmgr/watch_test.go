package tlsmgr

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatchDirs(t *testing.T) {
	base := t.TempDir()
	base, err := filepath.EvalSymlinks(base)
	check(t, err)
	at := func(elements ...string) string { return filepath.Join(append([]string{base}, elements...)...) }
	for _, dir := range []string{"plain/sub", "k8s/..2024_01", "live/site", "archive/site"} {
		check(t, os.MkdirAll(at(dir), 0o755))
	}
	for _, file := range []string{"plain/tls.crt", "k8s/..2024_01/tls.crt", "archive/site/cert1.pem"} {
		check(t, os.WriteFile(at(file), nil, 0o600))
	}
	for link, target := range map[string]string{
		"k8s/..data":         "..2024_01",
		"k8s/tls.crt":        "..data/tls.crt",
		"live/site/cert.pem": "../../archive/site/cert1.pem",
		"site.pem":           at("live/site/cert.pem"),
		"mount":              "k8s",
		"loop":               "loop",
		"dangling":           "plain/none.pem",
	} {
		check(t, os.Symlink(target, at(link)))
	}
	for path, want := range map[string][]string{
		"plain/tls.crt":         {"plain"},
		"plain/sub/../tls.crt":  {"plain"},
		"plain/none.pem":        {"plain"},
		"none/deeper/tls.crt":   {""},
		"k8s/tls.crt":           {"k8s", "k8s", "k8s/..2024_01"},
		"mount/tls.crt":         {"", "k8s", "k8s", "k8s/..2024_01"},
		"site.pem":              {"", "live/site", "archive/site"},
		"dangling":              {"", "plain"},
		"plain/tls.crt/no/file": {"plain/tls.crt"}, // what is in the way
	} {
		var wanted []string
		for _, dir := range want {
			wanted = append(wanted, at(dir))
		}
		if got := watchDirs(at(path)); !slices.Equal(got, wanted) {
			t.Errorf("watchDirs(%q) =\n%q, want\n%q", path, got, wanted)
		}
	}
	if got := watchDirs(at("loop")); len(got) != maxLinks+1 || len(slices.Compact(got)) != 1 {
		t.Errorf("a loop of links gives %q", got)
	}
	t.Chdir(at("plain"))
	if got := watchDirs("tls.crt"); !slices.Equal(got, []string{at("plain")}) {
		t.Errorf("a relative path gives %q", got)
	}
}

// reloadTest is a listener with one pair in a directory, watched by the real fsnotify.
type reloadTest struct {
	*testing.T
	book  *logBook
	serve func() int64
}

func startReload(t *testing.T, files FileConfig) reloadTest {
	m, book := startManager(t, Config{})
	config := filesListener(t, m, []string{"localhost"}, files)
	return reloadTest{t, book, func() int64 { return served(t, config, "localhost") }}
}

// wants waits for the reload and fails unless the certificate with that serial is then served.
func (r reloadTest) wants(serial int64) {
	r.Helper()
	r.book.wait(r, "certificate reloaded")
	if got := r.serve(); got != serial {
		r.Errorf("serves certificate %d, want %d", got, serial)
	}
}

func local(serial int64) certSpec {
	return certSpec{names: []string{"localhost"}, serial: serial}
}

func TestReloadOnRename(t *testing.T) {
	dir := t.TempDir()
	r := startReload(t, local(1).write(t, dir))
	for serial := range int64(3) {
		local(serial+2).write(t, dir)
		r.wants(serial + 2)
	}
	if n := r.book.count("level=ERROR"); n != 0 {
		t.Errorf("%d errors:\n%s", n, r.book)
	}
}

func TestReloadOnWriteInPlace(t *testing.T) {
	files := local(1).write(t, t.TempDir())
	r := startReload(t, files)
	certPEM, keyPEM := local(2).pem(t)
	check(t, os.WriteFile(files.Cert, certPEM, 0o600))
	check(t, os.WriteFile(files.Key, keyPEM, 0o600))
	r.wants(2)
}

// kubernetes lays a secret out as the kubelet does: the files are links to ..data/, ..data is a link to a directory of that version, and a new
// version is swapped in by renaming a link over ..data; the old directory is removed.
func kubernetes(t *testing.T, dir, version string, spec certSpec) FileConfig {
	t.Helper()
	spec.write(t, filepath.Join(dir, version))
	old, _ := os.Readlink(filepath.Join(dir, "..data"))
	check(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
	check(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	files := FileConfig{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	if old != "" {
		check(t, os.RemoveAll(filepath.Join(dir, old)))
		return files
	}
	for _, path := range []string{files.Cert, files.Key} {
		check(t, os.Symlink(filepath.Join("..data", filepath.Base(path)), path))
	}
	return files
}

func TestReloadOnKubernetesSwap(t *testing.T) {
	dir := t.TempDir()
	r := startReload(t, kubernetes(t, dir, "..2026_01", local(1)))
	for serial, version := range map[int64]string{2: "..2026_02", 3: "..2026_03", 4: "..2026_04"} {
		kubernetes(t, dir, version, local(serial))
		r.wants(serial)
	}
}

// certbot changes links in live/, which the configured path reaches through another link.
func TestReloadOnChangeBehindLinks(t *testing.T) {
	base := t.TempDir()
	archive, etc := filepath.Join(base, "archive"), filepath.Join(base, "etc")
	check(t, os.Mkdir(etc, 0o755))
	local(1).write(t, filepath.Join(archive, "1"))
	local(2).write(t, filepath.Join(archive, "2"))
	live := filepath.Join(base, "live")
	check(t, os.Symlink("archive/1", live))
	files := FileConfig{Cert: filepath.Join(etc, "cert.pem"), Key: filepath.Join(etc, "key.pem")}
	check(t, os.Symlink("../live/tls.crt", files.Cert))
	check(t, os.Symlink(filepath.Join(live, "tls.key"), files.Key))
	r := startReload(t, files)
	check(t, os.Symlink("archive/2", live+".new"))
	check(t, os.Rename(live+".new", live))
	r.wants(2)
	local(3).write(t, filepath.Join(archive, "2"))
	r.wants(3)
}

// The watch of a directory dies with it; the one that takes its place is found.
func TestReloadWhenTheDirectoryIsReplaced(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "certs")
	r := startReload(t, local(1).write(t, dir))

	check(t, os.Rename(dir, dir+".old"))
	local(2).write(t, dir)
	r.wants(2)

	check(t, os.RemoveAll(dir))
	r.book.wait(t, "level=ERROR", "not reloaded")
	if got := r.serve(); got != 2 {
		t.Errorf("serves %d while the directory is gone, want the old certificate", got)
	}
	local(3).write(t, dir)
	r.wants(3)
	local(4).write(t, dir)
	r.wants(4)
}

func TestReloadKeepsTheOldPairOfABrokenOne(t *testing.T) {
	files := local(1).write(t, t.TempDir())
	r := startReload(t, files)
	replaceFile(t, files.Key, []byte("junk"))
	r.book.wait(t, "level=ERROR", "the old one stays in service", files.Cert, files.Key)
	if got := r.serve(); got != 1 {
		t.Errorf("serves %d, want the old certificate", got)
	}
	local(2).write(t, filepath.Dir(files.Cert))
	r.wants(2)
}

// fakeNotifier stands for the system in a synctest bubble: its events come when the test says so.
type fakeNotifier struct {
	changed chan struct{}
	added   atomic.Int64 // calls; one for each reload, with one directory
	removed []string
	closed  bool
	addErr  error
}

func (f *fakeNotifier) open(*slog.Logger) (notifier, error) {
	return notifier{
		changed: f.changed,
		add:     func(string) error { f.added.Add(1); return f.addErr },
		remove:  func(dir string) error { f.removed = append(f.removed, dir); return nil },
		close:   func() error { f.closed = true; return nil },
	}, nil
}

func bubbleManager(t *testing.T, open func(*slog.Logger) (notifier, error)) (*Manager, *logBook) {
	t.Helper()
	book, log := newLog()
	m, err := newManager(Config{}, nil, log, system{now: time.Now, random: rand.Reader, newNotifier: open})
	check(t, err)
	return m, book
}

// advance lets d pass in a bubble.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestChangesSettle(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeNotifier{changed: make(chan struct{}, 1)}
		m, book := bubbleManager(t, fake.open)
		filesListener(t, m, nil, certSpec{names: []string{"localhost"}, end: time.Now().Add(time.Hour / 2)}.write(t, dir))
		synctest.Wait()
		if fake.added.Load() != 1 {
			t.Fatalf("%d reloads at the start, want 1", fake.added.Load())
		}
		// Ten changes with little between them are one.
		for range 10 {
			fake.changed <- struct{}{}
			advance(settleTime / 2)
		}
		if fake.added.Load() != 1 {
			t.Error("reloaded before the changes settled")
		}
		advance(settleTime/2 + time.Millisecond)
		if fake.added.Load() != 2 {
			t.Errorf("%d reloads after the changes, want 1", fake.added.Load()-1)
		}
		// A directory that never rests is read every settleLimit.
		for range 100 {
			fake.changed <- struct{}{}
			advance(settleTime / 5)
		}
		if want := 2 + int64(100*settleTime/5/settleLimit); fake.added.Load() != want {
			t.Errorf("%d reloads in a restless directory, want %d", fake.added.Load()-2, want-2)
		}
		advance(settleTime * 2)
		before := fake.added.Load()
		// Nothing changes: the rescan remains, and tells of the expiry.
		advance(rescanEvery * 60)
		if n := fake.added.Load() - before; n != 60 {
			t.Errorf("%d rescans in an hour", n)
		}
		if n := book.count("certificate has expired"); n != 1 {
			t.Errorf("expiry told %d times", n)
		}
		check(t, m.Close())
		if !fake.closed {
			t.Error("the notifier was not closed")
		}
	})
}

func TestRescanWithoutNotifier(t *testing.T) {
	for name, open := range map[string]func(*slog.Logger) (notifier, error){
		"none":      func(*slog.Logger) (notifier, error) { return notifier{}, errors.New("too many open files") },
		"no watch":  (&fakeNotifier{addErr: errors.New("no space left on device")}).open,
		"no events": (&fakeNotifier{}).open,
	} {
		dir := t.TempDir()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, book := bubbleManager(t, open)
				config := filesListener(t, m, nil, local(1).write(t, dir))
				local(2).write(t, dir)
				advance(rescanEvery + time.Second)
				if cert := config.GetCertificate; cert == nil || book.count("certificate reloaded") != 1 {
					t.Errorf("not reloaded:\n%s", book)
				}
				advance(rescanEvery * 10)
				want := 1
				if name == "no events" {
					want = 0
				}
				if n := book.count("level=WARN"); n != want+book.count("expired") {
					t.Errorf("%d warnings, want %d:\n%s", n, want, book)
				}
				check(t, m.Close())
			})
		})
	}
}

// Watches follow the links: what no path leads through any more is let go.
func TestWatchesAreLetGo(t *testing.T) {
	dir := t.TempDir()
	dir, err := filepath.EvalSymlinks(dir)
	check(t, err)
	fake := &fakeNotifier{changed: make(chan struct{}, 1)}
	m, _ := bubbleManager(t, fake.open)
	filesListener(t, m, nil, kubernetes(t, dir, "..1", local(1)))
	kubernetes(t, dir, "..2", local(2))
	m.Reload()
	if want := []string{filepath.Join(dir, "..1")}; !slices.Equal(fake.removed, want) {
		t.Errorf("removed %q, want %q", fake.removed, want)
	}
	if len(m.watches.dirs) != 2 {
		t.Errorf("watches %v", m.watches.dirs)
	}
	check(t, m.Close())
}

// Close while events pour in: nothing waits for itself, and goleak finds nothing left.
func TestCloseUnderChanges(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		book, log := newLog()
		m, err := New(Config{}, nil, log)
		check(t, err)
		filesListener(t, m, nil, local(1).write(t, dir))
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					_ = os.WriteFile(filepath.Join(dir, "other"), nil, 0o600)
				}
			}
		}()
		for range 10 {
			m.Reload()
		}
		check(t, m.Close())
		m.Reload() // does nothing
		close(stop)
		<-stopped
		if n := book.count("level=ERROR"); n > 0 {
			t.Errorf("errors:\n%s", book)
		}
	}
}

// The files of a configuration that is forgotten are watched no more; its certificates stay, and other configurations do not notice.
func TestForget(t *testing.T) {
	m, _ := startManager(t, Config{})
	one := certSpec{names: []string{"one.example"}, serial: 1}.write(t, t.TempDir())
	two := certSpec{names: []string{"two.example"}, serial: 2}.write(t, t.TempDir())
	first, second := filesListener(t, m, []string{"one.example"}, one), filesListener(t, m, []string{"two.example"}, two)
	m.Forget(first)
	m.Forget(first)
	m.mu.Lock()
	dirs := len(m.watches.dirs)
	m.mu.Unlock()
	if dirs != 1 {
		t.Errorf("%d directories are watched, want that of the other one", dirs)
	}
	if got := served(t, first, "one.example"); got != 1 {
		t.Errorf("the configuration that was forgotten serves %d", got)
	}
	if got := served(t, second, "two.example"); got != 2 {
		t.Errorf("the other one serves %d", got)
	}
}
