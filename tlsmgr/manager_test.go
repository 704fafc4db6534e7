package tlsmgr

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestListenerOff(t *testing.T) {
	m, _ := startManager(t, Config{})
	config, err := m.Listener(ListenerConfig{Certificates: "off"}, []string{"anything goes", "*"})
	if config != nil || err != nil {
		t.Errorf("Listener(off) = %v, %v", config, err)
	}
}

// Listener stands on its own: what Validate would have reported is an error here too.
func TestListenerRefuses(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.pem")
	good := local(1).write(t, dir)
	for name, test := range map[string]struct {
		config ListenerConfig
		hosts  []string
		parts  []string
	}{
		"empty":        {ListenerConfig{}, nil, []string{`unknown value ""`, "internal, files or off"}},
		"unknown":      {ListenerConfig{Certificates: "none"}, nil, []string{`unknown value "none"`}},
		"no files":     {ListenerConfig{Certificates: "files"}, nil, []string{"at least one pair"}},
		"missing file": {ListenerConfig{Certificates: "files", Files: []FileConfig{good, {Cert: good.Cert, Key: missing}}}, nil, []string{missing}},
		"bad host":     {ListenerConfig{Certificates: "internal"}, []string{"*"}, []string{`host "*"`}},
		"bad host too": {ListenerConfig{Certificates: "files", Files: []FileConfig{good}}, []string{"a b"}, []string{`host "a b"`}},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := startManager(t, Config{Storage: StorageConfig{File: filepath.Join(dir, "store")}})
			config, err := m.Listener(test.config, test.hosts)
			wantError(t, err, test.parts...)
			if config != nil {
				t.Error("a configuration beside the error")
			}
			if m.stop != nil || len(m.fileSets) > 0 {
				t.Error("a refused listener left a watch")
			}
		})
	}
}

func TestCloseEndsListeners(t *testing.T) {
	dir := t.TempDir()
	m, _ := startManager(t, Config{})
	config := filesListener(t, m, nil, local(1).write(t, dir))
	check(t, m.Close())
	check(t, m.Close())
	local(2).write(t, dir)
	m.Reload()
	if got := served(t, config, "localhost"); got != 1 {
		t.Errorf("serves %d after Close, want what it had", got)
	}
	_, err := m.Listener(ListenerConfig{Certificates: "internal"}, nil)
	wantError(t, err, "closed")
}

func TestCloseWithoutListeners(t *testing.T) {
	m, err := New(Config{}, nil, nil)
	check(t, err)
	check(t, m.Close())
}

// New and Validate make nothing on disk; the store appears with the first internal listener.
func TestStoreIsMadeWhenNeeded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	m, _ := startManager(t, Config{Storage: StorageConfig{File: dir}})
	ListenerConfig{Certificates: "internal"}.Validate(func(path, format string, args ...any) { t.Errorf(path+": "+format, args...) })
	if _, err := os.Stat(dir); err == nil {
		t.Error("the store is there before anybody needs it")
	}
	_, err := m.Listener(ListenerConfig{Certificates: "internal"}, nil)
	check(t, err)
	if _, err := os.Stat(filepath.Join(dir, "internal", "root.key")); err != nil {
		t.Error(err)
	}
}

// Handshakes go on while certificates are replaced: each sees one of them, whole.
func TestHandshakesDuringReloads(t *testing.T) {
	dir := t.TempDir()
	m, book := startManager(t, Config{})
	config := filesListener(t, m, nil, local(1).write(t, dir))
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := shake(t, config, insecure("localhost")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for serial := range int64(30) {
		local(serial+2).write(t, dir)
		m.Reload()
	}
	close(stop)
	clients.Wait()
	if got := served(t, config, "localhost"); got != 31 || book.count("level=ERROR") > 0 {
		t.Errorf("serves %d at the end:\n%s", got, book)
	}
}
