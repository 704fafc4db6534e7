package strictyaml

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExpansion(t *testing.T) {
	for text, want := range map[string]string{
		"${PORT}":                       "8080",
		"a${PORT}b${PORT}":              "a8080b8080",
		`"x ${PORT}: y"`:                "x 8080: y",
		"${UNSET:-fall: back}":          "", // ": " in a plain scalar is YAML's own mistake
		`"${UNSET:-fall: back}"`:        "fall: back",
		"${EMPTY:-fallback}":            "fallback",
		"${PORT:-fallback}":             "8080",
		"${UNSET:-}":                    "",
		"${EMPTY}":                      "",
		"${PORT:?no port}":              "8080",
		"$${PORT}":                      "${PORT}",
		"$$${PORT}":                     "$${PORT}",
		"$$$${PORT}":                    "$$${PORT}",
		"a $PORT $ $$ {PORT} $(PORT)":   "a $PORT $ $$ {PORT} $(PORT)",
		"{env.PORT}":                    "",
		"${NESTED}":                     "${PORT}",
		"${YAML}":                       "a: [b",
		"${NULL}":                       "null",
		`"\x24{PORT}"`:                  "8080",
		"|\n    ${PORT}\n    ${PORT}\n": "8080\n8080\n",
	} {
		var s sample
		_, errs := Decode("f", []byte("version: 1\nlabels:\n  a: "+text+"\n"), vars, &s)
		if strings.HasPrefix(text, "{env") || strings.HasPrefix(text, "${UNSET:-fall:") {
			if len(errs) == 0 {
				t.Errorf("%s was accepted", text)
			}
			continue
		}
		if len(errs) > 0 || s.Labels["a"] != want {
			t.Errorf("%s: got %q, want %q; %v", text, s.Labels["a"], want, errs)
		}
	}
}

func TestTypeIsResolvedAfterExpansion(t *testing.T) {
	s, _ := decode(t, `
version: ${ONE:-1}
numbers: {u16: "${PORT}"}
routes:
  - {name: "${ON}", hosts: "${UNSET:-h}", pass: "${UNSET:-false}", idle_timeout: "${IDLE}", rate: "${UNSET:-5}/s"}
  - name: a
    hosts: ["${PORT}"]
    pass: ${ON}
    max_message: ${UNSET:-2}MiB
    on_idle: ${UNSET:-1012}
log: {level: "${UNSET:-debug}"}
`)
	same(t, "numbers", s.Numbers.U16, uint16(8080))
	same(t, "log", s.Log.Level, "debug")
	same(t, "routes", s.Routes, []sampleRoute{
		{Name: "true", Hosts: sampleHosts{"h"}, MaxMessage: 1 << 20, Idle: Duration(90e9), Rate: &sampleRate{5}},
		{
			Name: "a", Hosts: sampleHosts{"8080"}, Pass: true, MaxMessage: 2 << 20, Idle: Duration(300e9),
			OnIdle: sampleCode{1012, 1012},
		},
	})
}

func TestExpansionMistakes(t *testing.T) {
	const forms = "want ${VAR}, ${VAR:-default}, ${VAR:?message} or ${file:/path}, not "
	for text, want := range map[string]string{
		"${UNSET}":                   "environment variable UNSET is not set",
		"${UNSET:?}":                 "environment variable UNSET is not set",
		"${UNSET:?set it to a name}": "environment variable UNSET: set it to a name",
		"${EMPTY:?set it to a name}": "environment variable EMPTY: set it to a name",
		"${EMPTY:?}":                 "environment variable EMPTY is empty",
		"${PORT":                     "${ without }; write $${ for a literal ${",
		"${UNSET:-${PORT}}":          "a ${...} inside another one is not supported",
		"${}":                        forms + `"${}"`,
		"${1A}":                      forms + `"${1A}"`,
		"${PORT-1}":                  forms + `"${PORT-1}"`,
		"${PORT:+1}":                 forms + `"${PORT:+1}"`,
		"${ PORT }":                  forms + `"${ PORT }"`,
		"${env:PORT}":                forms + `"${env:PORT}"`,
		"${é}":                       forms + `"${é}"`,
		"${LATIN1}":                  "${LATIN1} yields a value that is not UTF-8",
		"${file:relative}":           `want an absolute path in ${file:/path}, not "relative"`,
		`"${file:/a\nb}"`:            `want an absolute path in ${file:/path}, not "/a\nb"`,
		"${file:/nowhere/secret}":    "expanding ${file:/nowhere/secret}: no such file or directory",
		"${file:/}":                  "expanding ${file:/}: not a regular file",
		"${file:/dev/zero}":          "expanding ${file:/dev/zero}: not a regular file",
	} {
		same(t, text, mistakes("version: 1\nlabels:\n  a: "+text+"\n"), "f:3:6: labels.a: "+want)
	}
	same(t, "without a lookup", func() string {
		_, errs := Decode("f", []byte("version: ${PORT}\n"), nil, &sample{})
		return errs.Error()
	}(), "f:1:10: version: environment variable PORT is not set")
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for content, want := range map[string]string{
		"s3cret": "s3cret", "s3cret\n": "s3cret", "s3cret\r\n": "s3cret", "a\nb\n\n": "a\nb\n", "": "", "\n": "",
		"cr\r": "cr\r", "${PORT}\n": "${PORT}", "a: [b\n": "a: [b",
	} {
		path := write("secret", content, 0o600)
		s, _ := decode(t, "version: 1\nlabels: {a: \"${file:"+path+"}\"}\n")
		same(t, "content", s.Labels["a"], want)
	}
	link := filepath.Join(dir, "link") // Kubernetes mounts secrets as links
	if err := os.Symlink(write("target", "linked\n", 0o600), link); err != nil {
		t.Fatal(err)
	}
	s, _ := decode(t, "version: 1\nlabels: {a: \"<${file:"+link+"}>\"}\n")
	same(t, "link", s.Labels["a"], "<linked>")

	large := write("large", strings.Repeat("x", maxSecretFile+1), 0o600)
	binary := write("binary", "\xff\xfe", 0o600)
	fifo := filepath.Join(dir, "fifo")
	if err := mkfifo(fifo); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		large:  "expanding ${file:" + large + "}: larger than 1MiB",
		binary: "${file:" + binary + "} yields a value that is not UTF-8",
		fifo:   "expanding ${file:" + fifo + "}: not a regular file",
	} {
		same(t, path, mistakes("version: 1\nlabels: {a: \"${file:"+path+"}\"}\n"), "f:2:13: labels.a: "+want)
	}
}

// Whatever is wrong with an expanded value, no message shows it or a part of it.
func TestSecretsAreNeverQuoted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("hunter2secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const text = `
version: SECRET
log: {level: "SECRET"}
listeners: "SECRET"
upstreams: SECRET
numbers: {i8: "1SECRET", u16: "SECRET"}
routes:
  - name: a
    hosts: b
    pass: SECRET
    max_message: SECRET
    idle_timeout: xSECRETx
    rate: SECRET
    on_idle: "SECRET"
drain: SECRET
tree: {leaf: [SECRET]}
`
	for _, form := range []string{"${PASSWORD}", "${UNSET:-hunter2secret}", "${file:" + path + "}"} {
		// Quotes, since in [ ] and { } the braces need them; the rest is quoted or not as it stands.
		doc := strings.ReplaceAll(text, "[SECRET]", `["SECRET"]`)
		got := mistakes(strings.ReplaceAll(doc, "SECRET", form))
		for _, part := range []string{"hunter", "secret\"", "2sec"} {
			if strings.Contains(got, part) {
				t.Errorf("%s: %q shows in\n%s", form, part, got)
			}
		}
		if n := strings.Count(got, "not the expanded value"); n != 12 {
			t.Errorf("%s: %d of 12 mistakes name the expanded value:\n%s", form, n, got)
		}
	}
	same(t, "no suggestion either", mistakes("version: 1\nlog: {level: \"${UNSET:-inof}\"}\n"),
		"f:2:14: log.level: want one of debug, info, not the expanded value")
	same(t, "an escape alone is no expansion", mistakes("version: 1\nlog: {level: \"$${A}\"}\n"),
		`f:2:14: log.level: want one of debug, info, not "$${A}"`)
}

// Only what is decoded is looked up, and an expansion is looked up once.
func TestLookups(t *testing.T) {
	var names []string
	lookup := func(name string) (string, bool) {
		names = append(names, name)
		return "1", true
	}
	var s sample
	Decode("f", []byte("version: ${A}\nunknown: ${B}\n# ${C}\nlabels: {a: \"${D}\", a: \"${E}\"}\n"), lookup, &s)
	same(t, "names", strings.Join(names, " "), "A D")
}
