package tlsmgr

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	good := certSpec{names: []string{"localhost"}}.write(t, filepath.Join(dir, "good"))
	other := certSpec{names: []string{"localhost"}}.write(t, filepath.Join(dir, "other"))
	nameless := certSpec{}.write(t, filepath.Join(dir, "nameless"))
	missing := filepath.Join(dir, "missing.pem")
	for name, test := range map[string]struct {
		config ListenerConfig
		want   []string // "path: part of the message"
	}{
		"internal":       {ListenerConfig{Certificates: "internal"}, nil},
		"off":            {ListenerConfig{Certificates: "off"}, nil},
		"files":          {ListenerConfig{Certificates: "files", Files: []FileConfig{good, other}}, nil},
		"empty":          {ListenerConfig{}, []string{`certificates: unknown value "", wanted auto, internal, files or off`}},
		"auto":           {ListenerConfig{Certificates: "auto"}, nil},
		"auto files":     {ListenerConfig{Certificates: "auto", Files: []FileConfig{good}}, []string{"files: not used with certificates: auto"}},
		"unknown":        {ListenerConfig{Certificates: "none"}, []string{`certificates: unknown value "none", wanted auto, internal, files or off`}},
		"no files":       {ListenerConfig{Certificates: "files"}, []string{"files: missing, wanted at least one pair {cert: FILE, key: FILE}"}},
		"internal files": {ListenerConfig{Certificates: "internal", Files: []FileConfig{good}}, []string{"files: not used with certificates: internal"}},
		"off files":      {ListenerConfig{Certificates: "off", Files: []FileConfig{good}}, []string{"files: not used with certificates: off"}},
		"all at once": {
			ListenerConfig{Certificates: "files", Files: []FileConfig{
				{},
				{Cert: good.Cert},
				{Cert: missing, Key: good.Key},
				{Cert: good.Cert, Key: missing},
				{Cert: good.Cert, Key: other.Key},
				{Cert: dir, Key: good.Key},
				nameless,
				good,
			}},
			[]string{
				"files[0].cert: missing, wanted the path of a PEM file",
				"files[0].key: missing, wanted the path of a PEM file",
				"files[1].key: missing, wanted the path of a PEM file",
				"files[2].cert: reading certificate: stat " + missing + ": no such file",
				"files[3].key: reading key: stat " + missing + ": no such file",
				fmt.Sprintf("files[4]: certificate %q with key %q: tls: private key does not match", good.Cert, other.Key),
				fmt.Sprintf("files[5].cert: reading certificate: %q is not a regular file", dir),
				fmt.Sprintf("files[6].cert: certificate %q: names no host", nameless.Cert),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			test.config.Validate(func(path, format string, args ...any) {
				got = append(got, path+": "+fmt.Sprintf(format, args...))
			})
			match := slices.EqualFunc(got, test.want, strings.HasPrefix)
			if !match {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestStorageDir(t *testing.T) {
	for name, test := range map[string]struct{ file, data, home, want string }{
		"file":          {"/var/lib/fg/", "/data", "/home/a", "/var/lib/fg"},
		"relative file": {"state", "/data", "/home/a", "state"},
		"data":          {"", "/data", "/home/a", "/data/framegate"},
		"relative data": {"", "data", "/home/a", "/home/a/.local/share/framegate"},
		"home":          {"", "", "/home/a", "/home/a/.local/share/framegate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_DATA_HOME", test.data)
			t.Setenv("HOME", test.home)
			got, err := StorageConfig{File: test.file}.Dir()
			check(t, err)
			if got != test.want {
				t.Errorf("Dir() = %q, want %q", got, test.want)
			}
		})
	}
}

// A container from scratch has no HOME: that is an error only for who needs the store.
func TestStorageDirWithoutHome(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("HOME", "")
	_, err := StorageConfig{}.Dir()
	wantError(t, err, "set tls.storage.file")
	_, err = RootPEM("")
	wantError(t, err, "set tls.storage.file")

	m, _ := startManager(t, Config{})
	filesListener(t, m, nil, certSpec{names: []string{"localhost"}}.write(t, t.TempDir()))
	_, err = m.Listener(ListenerConfig{Certificates: "internal"}, nil)
	wantError(t, err, "set tls.storage.file")
}

func TestNewRefusesStoreThatIsNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	_, err := New(Config{Storage: StorageConfig{File: file}}, nil, nil)
	wantError(t, err, "tls.storage.file", file, "not a directory")
}

// Editors show the doc tags, and the configuration reads the yaml tags: no field may lack them.
func TestEveryFieldIsDocumented(t *testing.T) {
	for _, config := range []any{Config{}, StorageConfig{}, ListenerConfig{}, FileConfig{}} {
		typ := reflect.TypeOf(config)
		for i := range typ.NumField() {
			field := typ.Field(i)
			if field.Tag.Get("yaml") == "" {
				t.Errorf("%s.%s has no yaml tag", typ, field.Name)
			}
			if doc := field.Tag.Get("doc"); !strings.HasSuffix(doc, ".") {
				t.Errorf("%s.%s: doc %q is not a sentence", typ, field.Name, doc)
			}
		}
	}
}
