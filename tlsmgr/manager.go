package tlsmgr

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// system is what a manager takes from the operating system. Tests replace it.
type system struct {
	now         func() time.Time
	random      io.Reader
	newNotifier func(*slog.Logger) (notifier, error)
}

// Manager gives listeners their certificates and keeps these fresh. All methods may be called at the same time.
type Manager struct {
	storage StorageConfig
	log     *slog.Logger
	sys     system

	mu       sync.Mutex
	closed   bool
	root     *root // of the internal source, once a listener needed it
	fileSets []*fileSet
	watches  watchSet
	stop     chan struct{} // closed by Close; nil until watchLoop runs
	done     chan struct{} // closed when watchLoop has returned
}

// New makes a manager. It reads and starts nothing yet; a store that is there but is no directory is an error. A nil log discards.
func New(cfg Config, log *slog.Logger) (*Manager, error) {
	return newManager(cfg, log, system{now: time.Now, random: rand.Reader, newNotifier: newNotifier})
}

func newManager(cfg Config, log *slog.Logger, sys system) (*Manager, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if path := cfg.Storage.File; path != "" {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return nil, fmt.Errorf("tls.storage.file: %q is not a directory", path)
		}
	}
	return &Manager{storage: cfg.Storage, log: log, sys: sys}, nil
}

// Listener makes the TLS configuration of a listener for the hosts of its routes: DNS names and wildcards such as "*.example.com". It is nil
// for certificates: off. protocols are the listener's protocols as the configuration spells them; none means h1.
//
// With certificates: files every pair is read, and an unusable one is an error that names its path. With internal the root is read, or
// made when the store has none.
//
// The result may be used after Close, then with the certificates of that moment. It may be cloned, not changed.
func (m *Manager) Listener(c ListenerConfig, hosts []string, protocols ...string) (*tls.Config, error) {
	if c.Certificates == certificatesOff {
		return nil, nil
	}
	set, skipped, err := newHostSet(hosts)
	if err != nil {
		return nil, err
	}
	for _, host := range skipped {
		m.log.Warn("host is an IP address, which clients cannot ask for in TLS: they will be refused", "host", host)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errors.New("the certificate manager is closed")
	}
	switch c.Certificates {
	case certificatesFiles:
		return m.filesListener(c.Files, set, protocols)
	case certificatesInternal:
		return m.internalListener(set, protocols)
	default:
		return nil, fmt.Errorf("certificates: unknown value %q, wanted internal, files or off", c.Certificates)
	}
}

func (m *Manager) filesListener(files []FileConfig, hosts hostSet, protocols []string) (*tls.Config, error) {
	if len(files) == 0 {
		return nil, errors.New("certificates: files without files, wanted at least one pair {cert: FILE, key: FILE}")
	}
	set, err := newFileSet(files, hosts, m.sys.now(), m.log)
	if err != nil {
		return nil, err
	}
	config, err := serverConfig(set.certificate, protocols)
	if err != nil {
		return nil, err
	}
	set.config = config
	m.fileSets = append(m.fileSets, set)
	m.startWatch()
	m.reload() // also finds what changed between the reading and the watch
	return config, nil
}

func (m *Manager) internalListener(hosts hostSet, protocols []string) (*tls.Config, error) {
	if m.root == nil {
		r, err := m.openRoot()
		if err != nil {
			return nil, err
		}
		m.root = r
	}
	return serverConfig(newLeafSource(m.root, hosts, m.sys.now, m.sys.random).certificate, protocols)
}

// openRoot reads or makes the internal root and warns if others can reach its key.
func (m *Manager) openRoot() (*root, error) {
	dir, err := m.storage.Dir()
	if err != nil {
		return nil, err
	}
	r, made, err := openRoot(dir, m.sys.now(), m.sys.random)
	if err != nil {
		return nil, err
	}
	if made {
		m.log.Info("internal root made; clients that should trust it need it installed",
			"path", filepath.Join(dir, rootDir, rootCertFile), "not_after", r.cert.NotAfter)
	}
	keyPath := filepath.Join(dir, rootDir, rootKeyFile)
	if info, err := os.Stat(keyPath); err == nil {
		warnWide(m.log, "key file is open to other users", keyPath, info.Mode(), wideKey, "0600")
	}
	return r, nil
}

// Forget ends the watch of the files of a configuration that Listener made. It stays usable, with the certificates of that moment. One without
// files, or that is forgotten already, is nothing to forget.
func (m *Manager) Forget(config *tls.Config) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.fileSets)
	m.fileSets = slices.DeleteFunc(m.fileSets, func(s *fileSet) bool { return s.config == config })
	if len(m.fileSets) < before && !m.closed {
		m.reload()
	}
}

// Reload reads the certificate files now, for those who do not want to wait for the watch (SIGHUP). A pair that cannot be used stays as it
// was, which the log tells.
func (m *Manager) Reload() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.reload()
	}
}

// reload brings the watched directories and then the pairs up to date. m.mu is held.
func (m *Manager) reload() {
	var paths []string
	for _, set := range m.fileSets {
		for _, p := range set.pairs {
			paths = append(paths, p.files.Cert, p.files.Key)
		}
	}
	if m.stop != nil {
		m.watches.sync(paths, m.log)
	}
	now := m.sys.now()
	for _, set := range m.fileSets {
		set.refresh(now, m.log)
	}
}

// startWatch starts watchLoop unless it runs. m.mu is held.
func (m *Manager) startWatch() {
	if m.stop != nil {
		return
	}
	n, err := m.sys.newNotifier(m.log)
	if err != nil {
		m.log.Warn("certificate files cannot be watched, they are read once a minute", "error", err.Error())
		n = deafNotifier()
	}
	m.watches = watchSet{notifier: n, dirs: make(map[string]bool)}
	stop, done := make(chan struct{}), make(chan struct{})
	m.stop, m.done = stop, done
	go func() {
		defer close(done)
		m.watchLoop(n.changed, stop)
	}()
}

// Close ends the watch and waits for its goroutines. The configurations that Listener made stay usable. A second Close does nothing.
func (m *Manager) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	stop, done := m.stop, m.done
	m.mu.Unlock()
	if stop == nil {
		return nil
	}
	close(stop)
	<-done // without the lock, for which the loop may wait
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.watches.notifier.close()
}
