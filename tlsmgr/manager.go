package tlsmgr

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/framegate/framegate/ratelimit"
)

// system is what a manager takes from the operating system. Tests replace it.
type system struct {
	now         func() time.Time
	random      io.Reader
	newNotifier func(*slog.Logger) (notifier, error)
	renewEvery  time.Duration                    // how often certmagic looks for what is to be renewed; 0 is its default
	watchEvery  time.Duration                    // how often the certificates of ACME are looked after
	retry       func(failures int) time.Duration // how long to wait after failed attempts
}

// Manager gives listeners their certificates and keeps these fresh. All methods may be called at the same time.
type Manager struct {
	cfg    Config
	shared *ratelimit.RedisConfig // the section redis
	log    *slog.Logger
	sys    system

	auto atomic.Pointer[auto] // of listeners with certificates: auto, once there was one

	mu       sync.Mutex
	closed   bool
	hosts    map[*tls.Config]hostSet // of these listeners
	root     *root                   // of the internal source, once a listener needed it
	fileSets []*fileSet
	watches  watchSet
	stop     chan struct{} // closed by Close; nil until watchLoop runs
	done     chan struct{} // closed when watchLoop has returned
}

// New makes a manager. shared is the section redis of the configuration, nil without. It reads and starts nothing yet; a store that is there but
// is no directory is an error. A nil log discards.
func New(cfg Config, shared *ratelimit.RedisConfig, log *slog.Logger) (*Manager, error) {
	return newManager(cfg, shared, log, system{now: time.Now, random: rand.Reader, newNotifier: newNotifier, watchEvery: 10 * time.Second, retry: backOff})
}

func newManager(cfg Config, shared *ratelimit.RedisConfig, log *slog.Logger, sys system) (*Manager, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if path := cfg.Storage.File; path != "" {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return nil, fmt.Errorf("tls.storage.file: %q is not a directory", path)
		}
	}
	return &Manager{cfg: cfg, shared: shared, log: log, sys: sys}, nil
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
	case certificatesAuto:
		return m.autoListener(set, protocols)
	default:
		return nil, fmt.Errorf("certificates: unknown value %q, wanted auto, internal, files or off", c.Certificates)
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

// autoListener makes the source of ACME certificates, which Start starts.
func (m *Manager) autoListener(hosts hostSet, protocols []string) (*tls.Config, error) {
	if m.auto.Load() == nil {
		b, copies, err := m.openStore()
		if err != nil {
			return nil, err
		}
		m.auto.Store(newAuto(m.cfg.ACME, b, copies, m.log, m.sys))
	}
	config, err := (&autoListener{m.auto.Load(), hosts}).config(protocols)
	if err != nil {
		return nil, err
	}
	if m.hosts == nil {
		m.hosts = map[*tls.Config]hostSet{}
	}
	m.hosts[config] = hosts
	return config, nil
}

// openStore opens what keeps the certificates of ACME, Redis or files; and what has copies of them on this machine, nil for nothing.
func (m *Manager) openStore() (b backend, copies certmagic.Storage, err error) {
	if c := m.cfg.Storage.Redis; c != nil {
		var mistakes []error
		options, prefix, keys := c.compile(m.shared, func(path, format string, args ...any) {
			mistakes = append(mistakes, fmt.Errorf("tls.storage.redis.%s: %s", path, fmt.Sprintf(format, args...)))
		})
		if len(mistakes) > 0 {
			return nil, nil, errors.Join(mistakes...)
		}
		if options == nil {
			return nil, nil, errors.New("tls.storage.redis: the section redis has mistakes")
		}
		if m.cfg.Storage.File != "" {
			copies = newFileStore(filepath.Join(m.cfg.Storage.File, copiesDir))
		}
		b, err = newRedisStore(options, prefix, keys, m.log)
		return b, copies, err
	}
	dir, err := m.cfg.Storage.Dir()
	if err != nil {
		return nil, nil, err
	}
	return newFileStore(filepath.Join(dir, acmeDir)), nil, nil
}

// Below the directory of the store are what ACME needs, and copies of the certificates that Redis has.
const (
	acmeDir   = "acme"
	copiesDir = "copies"
)

// Start has the certificates of all listeners with certificates: auto got and kept; without such a listener it does nothing. http and tls are
// the addresses at which this gateway answers challenges, host and port: a listener without TLS (empty if there is none) and one with these
// certificates. It returns once the certificates that the store has are in service, after a few seconds at most. After another call of Listener
// it is called again.
func (m *Manager) Start(http, tls string) error {
	a, hosts, err := m.startAuto(endpoints{http, tls})
	if a != nil && err == nil {
		a.manage(hosts)
	}
	return err
}

// startAuto returns the source, started, and the hosts that it is for.
func (m *Manager) startAuto(at endpoints) (*auto, hostSet, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.auto.Load()
	if a == nil || m.closed {
		return nil, hostSet{}, nil
	}
	return a, m.allHosts(), a.start(at)
}

// IsChallengePath tells whether a path is one that only http-01 uses, which no application behind the gateway ever sees; it never is without
// certificates: auto.
func (m *Manager) IsChallengePath(path string) bool {
	return m.auto.Load() != nil && strings.HasPrefix(path+"/", challengePrefix)
}

// ServeChallenge answers http-01, and tells whether the request was one for a challenge that this gateway, or another one with the same store,
// has waiting.
func (m *Manager) ServeChallenge(w http.ResponseWriter, r *http.Request) bool {
	a := m.auto.Load()
	return a != nil && a.serveChallenge(w, r)
}

// openRoot reads or makes the internal root and warns if others can reach its key.
func (m *Manager) openRoot() (*root, error) {
	dir, err := m.cfg.Storage.Dir()
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

// Forget ends the care for a configuration that Listener made: its files are not watched any more, and no certificates got for its hosts. It stays
// usable, with the certificates of that moment. One that is forgotten already is nothing to forget.
func (m *Manager) Forget(config *tls.Config) {
	if a, hosts, ok := m.forget(config); ok {
		a.manage(hosts)
	}
}

// forget tells whether the configuration was one of ACME, and which hosts are left.
func (m *Manager) forget(config *tls.Config) (*auto, hostSet, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.fileSets)
	m.fileSets = slices.DeleteFunc(m.fileSets, func(s *fileSet) bool { return s.config == config })
	if len(m.fileSets) < before && !m.closed {
		m.reload()
	}
	_, had := m.hosts[config]
	delete(m.hosts, config)
	a := m.auto.Load()
	return a, m.allHosts(), had && a.started() && !m.closed
}

// allHosts are those of all listeners with certificates: auto. m.mu is held.
func (m *Manager) allHosts() hostSet {
	all := hostSet{exact: map[string]bool{}, parents: map[string]bool{}}
	for _, hosts := range m.hosts {
		maps.Copy(all.exact, hosts.exact)
		maps.Copy(all.parents, hosts.parents)
	}
	return all
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
	if a := m.auto.Load(); a != nil {
		a.close()
	}
	if stop == nil {
		return nil
	}
	close(stop)
	<-done // without the lock, for which the loop may wait
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.watches.notifier.close()
}
