package tlsmgr

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReadPairNames(t *testing.T) {
	for name, test := range map[string]struct {
		spec           certSpec
		exact, parents []string
		noSAN          bool
	}{
		"names":       {certSpec{names: []string{"Chat.Example.com", "*.w.example"}, cn: "ignored.example"}, []string{"chat.example.com"}, []string{"w.example"}, false},
		"common name": {certSpec{cn: "localhost"}, []string{"localhost"}, nil, true},
		"wild common": {certSpec{cn: "*.example.com"}, nil, []string{"example.com"}, true},
		"unusable":    {certSpec{names: []string{"f*.example.com", "a.*.example.com", "good.example"}}, []string{"good.example"}, nil, false},
		"rsa":         {certSpec{names: []string{"localhost"}, rsa: true}, []string{"localhost"}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := readPair(test.spec.write(t, t.TempDir()))
			check(t, err)
			if !slices.Equal(p.exact, test.exact) || !slices.Equal(p.parents, test.parents) || p.noSAN != test.noSAN {
				t.Errorf("got %q, %q, %t", p.exact, p.parents, p.noSAN)
			}
		})
	}
}

// Every error names the file, none holds anything of the key.
func TestReadPairRefuses(t *testing.T) {
	dir := t.TempDir()
	good := certSpec{names: []string{"localhost"}}.write(t, filepath.Join(dir, "good"))
	keyPEM, err := os.ReadFile(good.Key)
	check(t, err)
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, data, 0o600))
		return path
	}
	cut := file("cut.key", keyPEM[:len(keyPEM)/2])
	bad := file("bad.key", bytes.Replace(keyPEM, keyPEM[40:50], []byte("AAAAAAAAAA"), 1))
	empty := file("empty", nil)
	large := file("large", bytes.Repeat([]byte("x"), maxFileSize+1))
	pipe := filepath.Join(dir, "pipe")
	check(t, mkfifo(pipe))
	for name, test := range map[string]struct {
		files FileConfig
		field string
		parts []string
	}{
		"cut key":       {FileConfig{good.Cert, cut}, "", []string{cut, "find any PEM data in key"}},
		"damaged key":   {FileConfig{good.Cert, bad}, "", []string{bad, "parse private key"}},
		"swapped":       {FileConfig{good.Key, good.Cert}, "", []string{good.Cert, good.Key, "may have been switched"}},
		"empty cert":    {FileConfig{empty, good.Key}, "", []string{empty, "find any PEM data in certificate"}},
		"large cert":    {FileConfig{large, good.Key}, ".cert", []string{large, "larger than 1 MiB"}},
		"pipe key":      {FileConfig{good.Cert, pipe}, ".key", []string{pipe, "not a regular file"}},
		"directory key": {FileConfig{good.Cert, dir}, ".key", []string{dir, "not a regular file"}},
		"device cert":   {FileConfig{"/dev/zero", good.Key}, ".cert", []string{"/dev/zero", "not a regular file"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readPair(test.files)
			wantError(t, err, test.parts...)
			if got := err.(*pairError).field; got != test.field {
				t.Errorf("field %q, want %q", got, test.field)
			}
			for line := range strings.SplitSeq(string(keyPEM), "\n") {
				if len(line) > 8 && !strings.Contains(line, "-----") && strings.Contains(err.Error(), line[:8]) {
					t.Errorf("error %q holds a part of the key", err)
				}
			}
		})
	}
}

func TestDigestKnowsTheBorder(t *testing.T) {
	if digestOf([]byte("ab"), []byte("c")) == digestOf([]byte("a"), []byte("bc")) {
		t.Error("moving a byte from one file to the other does not change the digest")
	}
}

func TestPairWarnings(t *testing.T) {
	hour := time.Hour
	now := time.Now()
	for name, test := range map[string]struct {
		spec certSpec
		mode os.FileMode
		want string // "" for no line
	}{
		"fine":          {certSpec{names: []string{"localhost"}}, 0o600, ""},
		"read only":     {certSpec{names: []string{"localhost"}}, 0o400, ""},
		"group reads":   {certSpec{names: []string{"localhost"}}, 0o640, ""},
		"group writes":  {certSpec{names: []string{"localhost"}}, 0o660, "mode=0660 wanted=0600"},
		"world reads":   {certSpec{names: []string{"localhost"}}, 0o644, "mode=0644 wanted=0600"},
		"expired":       {certSpec{names: []string{"localhost"}, from: now.Add(-2 * hour), end: now.Add(-hour)}, 0o600, "certificate has expired"},
		"not valid yet": {certSpec{names: []string{"localhost"}, from: now.Add(hour), end: now.Add(2 * hour)}, 0o600, "certificate is not valid yet"},
		"no SAN":        {certSpec{cn: "localhost"}, 0o600, "certificate has no subjectAltName"},
	} {
		t.Run(name, func(t *testing.T) {
			files := test.spec.write(t, t.TempDir())
			check(t, os.Chmod(files.Key, test.mode))
			book, log := newLog()
			p := &pair{files: files}
			check(t, p.load(now, log))
			for range 3 {
				if p.refresh(now, log) {
					t.Error("changed without a change")
				}
			}
			lines := strings.Count(book.String(), "\n")
			switch {
			case test.want == "" && lines > 0:
				t.Errorf("warned: %s", book)
			case test.want != "" && (lines != 1 || book.count(test.want) != 1 || book.count("level=WARN") != 1):
				t.Errorf("log is not one warning %q:\n%s", test.want, book)
			}
			if test.want != "" && !strings.Contains(book.String(), filepath.Dir(files.Cert)) {
				t.Errorf("warning does not name the file: %s", book)
			}
		})
	}
}

func TestPairExpiresInService(t *testing.T) {
	book, log := newLog()
	p := &pair{files: certSpec{names: []string{"localhost"}}.write(t, t.TempDir())}
	now := time.Now()
	check(t, p.load(now, log))
	p.refresh(now.Add(59*time.Minute), log)
	if book.count("expired") != 0 {
		t.Fatalf("warned early: %s", book)
	}
	for _, after := range []time.Duration{61 * time.Minute, 62 * time.Minute, 24 * time.Hour} {
		p.refresh(now.Add(after), log)
	}
	if n := book.count("certificate has expired"); n != 1 {
		t.Errorf("warned %d times, want once", n)
	}
	certSpec{names: []string{"localhost"}, end: now.Add(50 * time.Hour)}.write(t, filepath.Dir(p.files.Cert))
	p.refresh(now.Add(25*time.Hour), log)
	p.refresh(now.Add(51*time.Hour), log)
	if n := book.count("certificate has expired"); n != 2 {
		t.Errorf("warned %d times of two certificates", n)
	}
}

// A renewal passes through states that cannot be used; the same one is logged once.
func TestPairSurvivesBrokenStates(t *testing.T) {
	book, log := newLog()
	dir := t.TempDir()
	files := certSpec{names: []string{"localhost"}, serial: 1}.write(t, dir)
	p := &pair{files: files}
	now := time.Now()
	check(t, p.load(now, log))
	oldCert, err := os.ReadFile(files.Cert)
	check(t, err)
	oldKey, err := os.ReadFile(files.Key)
	check(t, err)
	newCert, newKey := certSpec{names: []string{"localhost"}, serial: 2}.pem(t)

	steps := []struct {
		name      string
		cert, key []byte // nil: the file is gone
		errors    int    // lines so far
		changed   bool
		serial    int64
	}{
		{"new certificate, old key", newCert, oldKey, 1, false, 1},
		{"the same again", newCert, oldKey, 1, false, 1},
		{"empty key", newCert, []byte{}, 2, false, 1},
		{"key gone", newCert, nil, 3, false, 1},
		{"both gone", nil, nil, 4, false, 1},
		{"junk", []byte("junk"), []byte("junk"), 5, false, 1},
		{"other junk", []byte("junk2"), []byte("junk"), 6, false, 1},
		{"back to the old", oldCert, oldKey, 6, false, 1},
		{"broken again", newCert, oldKey, 7, false, 1},
		{"new", newCert, newKey, 7, true, 2},
		{"new again", newCert, newKey, 7, false, 2},
		{"old again", oldCert, oldKey, 7, true, 1},
	}
	for _, step := range steps {
		for path, data := range map[string][]byte{files.Cert: step.cert, files.Key: step.key} {
			if data == nil {
				check(t, os.RemoveAll(path))
				continue
			}
			replaceFile(t, path, data)
		}
		changed := p.refresh(now, log)
		if changed != step.changed || p.data.cert.Leaf.SerialNumber.Int64() != step.serial+1 {
			t.Errorf("%s: changed %t, serial %v", step.name, changed, p.data.cert.Leaf.SerialNumber)
		}
		if n := book.count("level=ERROR"); n != step.errors {
			t.Errorf("%s: %d errors logged, want %d:\n%s", step.name, n, step.errors, book)
		}
	}
	if n := book.count("cert=" + files.Cert + " key=" + files.Key + " error="); n != 7 {
		t.Errorf("%d of 7 errors name the files", n)
	}
}
