package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// checkFile runs `framegate check` on a file with the given text and returns its exit code and what it printed.
func checkFile(t *testing.T, text string) (code int, output string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := wstest.StartCommand(t, "check", file)
	code = p.Wait()
	return code, p.Stdout() + "\n" + p.Stderr()
}

// configFile is a file with one route and policies, one for each of the given bodies; the file is right but for these.
func configFile(route string, policies, listener []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `version: 1
listeners:
  - {address: "127.0.0.1:0", tls: {certificates: "off"}, protocols: [h1]%s}
routes:
  - {name: r, hosts: [app.example.com], upstream: u%s}
upstreams:
  u: {servers: ["ws://127.0.0.1:9"]}
policies:
`, strings.Join(listener, ""), route)
	for i, p := range policies {
		fmt.Fprintf(&b, "  p%d: {%s}\n", i, p)
	}
	return b.String()
}

// position matches the beginning of a line about a mistake.
var position = regexp.MustCompile(`gateway\.yaml:(\d+):(\d+): `)

// TestRowsConfigLimits is row C-03: a limit that is 0, negative, without its unit or too large is an error, never "unlimited". All
// of them are in one file, and each has its line.
func TestRowsConfigLimits(t *testing.T) {
	t.Parallel()
	var policies []string
	sizes := []string{"0", "-1", "10", "0KiB", "-1KiB", "0B", "10 apples", "99999999999999999999GiB", "9007199254740993GiB", "1e3KiB", "1.5.2MiB", "KiB", `""`, "null", "[1KiB]", "unlimited", "inf", "+Inf", "NaN", "0x10KiB", "1KiB2", "true", "1kb!"}
	for _, side := range []string{"client", "upstream"} {
		for _, key := range []string{"max_frame", "max_message"} {
			for _, value := range sizes {
				policies = append(policies, fmt.Sprintf("%s: {%s: %s}", side, key, value))
			}
		}
		for _, value := range []string{"0", "-1", "1KiB", "1.5", "99999999999999999999", "ten", "null", `""`, "[3]", "unlimited"} {
			policies = append(policies, fmt.Sprintf("%s: {max_fragments: %s}", side, value))
		}
		for _, value := range []string{"[]", "[texts]", "text2", "[text, text]", "[close]"} {
			policies = append(policies, fmt.Sprintf("%s: {types: %s}", side, value))
		}
	}
	for _, allow := range []string{
		"null", `"null"`, `"*"`, `"https://*"`, `"*.example.com"`, `"https://*.com"`, `"https://*.co.uk"`, `"https://a*.example.com"`, `"https://*a.example.com"`,
		`"https://a.*.example.com"`, `"https://*.*.example.com"`, `"https://app.example.com/"`, `"https://app.example.com/x"`, `"https://app.example.com?x"`, `"https://app.example.com#x"`,
		`"app.example.com"`, `"//app.example.com"`, `"https://"`, `"https://user@app.example.com"`, `"https://app.example.com:0"`, `"https://app.example.com:65536"`, `"https://app.example.com:x"`,
		`""`, `"https://app..example.com"`, `"https://[::1"`, `"https://[::1%25lo]"`, `"https://app.example.com:0443"`, `"https://*.127.0.0.1"`, `"https://a b.example"`, `"/regexp/"`,
	} {
		policies = append(policies, fmt.Sprintf("origin: {allow: [%s]}", allow))
	}
	policies = append(policies, `origin: {allow: ["https://a.example"], absent: maybe}`, `origin: {allow: ["https://a.example"], absent: ""}`, "orign: {}", "client: {max_frames: 1KiB}")
	code, output := checkFile(t, configFile("", policies, nil))
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	lines := mistakes(output)
	const before = 8 // lines of the file before the first policy
	for i, p := range policies {
		t.Run("C-03/"+p, func(t *testing.T) {
			line := fmt.Sprint(before + i + 1)
			if message := lines[line]; !strings.Contains(message, fmt.Sprintf("policies.p%d", i)) {
				t.Errorf("no error at line %s with the path policies.p%d, got %q", line, i, message)
			}
		})
	}
	for line, message := range lines {
		if strings.Contains(message, "panic") || len(message) > 600 {
			t.Errorf("line %s: %q", line, message)
		}
	}
}

// mistakes are the lines of the output by the line of the file that they are about.
func mistakes(output string) map[string]string {
	lines := make(map[string]string)
	for text := range strings.SplitSeq(output, "\n") {
		if m := position.FindStringSubmatch(text); m != nil {
			lines[m[1]] += text + "\n"
		}
	}
	return lines
}

// TestRowsConfigTimes is row C-03 for times, on routes and at the top level, and its neighbours: keys with other names and shapes.
func TestRowsConfigTimes(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	values := []string{"0", "10", "-5s", "0s", "5", "1e300h", "9999999999999h", "5 parsecs", "never", "null", `""`, "[5s]", "5s5", "true"}
	for i, key := range []string{"idle_timeout", "max_lifetime", "ping_interval", "pong_timeout", "close_timeout"} {
		if i > 0 {
			values = values[:3] // what parses times is the same
		}
		for _, value := range values {
			run(fmt.Sprintf("C-03/%s: %s", key, value), func(t *testing.T) {
				wantMistake(t, configFile(fmt.Sprintf(", %s: %s", key, value), []string{"client: {max_frame: 1KiB}"}, nil), 5, key)
			})
		}
	}
	for name, row := range map[string]struct{ route, path string }{
		"pings":                  {"pings: maybe", "pings"},
		"http":                   {"http: allow", "http"},
		"compression":            {"compression: always", "compression"},
		"close code 1005":        {"close_codes: {drain: 1005}", "close_codes"},
		"close code 1006":        {"close_codes: {idle: {client: 1006}}", "close_codes"},
		"close code 0":           {"close_codes: {drain: 0}", "close_codes"},
		"close code 999":         {"close_codes: {drain: 999}", "close_codes"},
		"close code 5000":        {"close_codes: {drain: 5000}", "close_codes"},
		"close code of no cause": {"close_codes: {drian: 1012}", "close_codes"},
		"unknown policy":         {"policies: [nobody]", "policies"},
		"path without slash":     {"paths: [ws]", "paths"},
		"path with dots":         {"paths: [/ws/../x]", "paths"},
		"path with a late star":  {"paths: [/ws/*/x]", "paths"},
		"unknown key":            {"upstreem: u", "upstreem"},
	} {
		run("C-03/"+name, func(t *testing.T) {
			wantMistake(t, configFile(", "+row.route, []string{"client: {max_frame: 1KiB}"}, nil), 5, row.path)
		})
	}
	for _, host := range []string{"169.254.169.254", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "0.0.0.0", "2130706433", "0x7f000001", "127.1", "0177.0.0.1", "[::]", "[fe80::1%25lo]", "255.255.255.255", "224.0.0.1"} {
		run("C-09/upstream "+host, func(t *testing.T) {
			text := strings.Replace(configFile("", []string{"client: {max_frame: 1KiB}"}, nil), "127.0.0.1:9", host+":9", 1)
			wantMistake(t, text, 7, "servers")
		})
	}
	run("C-03/right file", func(t *testing.T) {
		text := configFile(", policies: [p0], idle_timeout: 5m, ping_interval: 1m30s, close_codes: {drain: 1012, idle: {client: 4000}}", []string{"client: {max_frame: 512B, max_message: 1MiB, max_fragments: 10}"}, nil)
		if code, output := checkFile(t, text); code != 0 {
			t.Errorf("exit code %d: %s", code, output)
		}
	})
	for name, value := range map[string]string{"window": "window: 0", "window without unit": "window: 30", "hard_stop": "hard_stop: -1s", "delay": "delay: 5"} {
		run("C-03/drain "+name, func(t *testing.T) {
			wantMistake(t, configFile("", []string{"client: {max_frame: 1KiB}"}, nil)+"drain: {"+value+"}\n", 10, "drain")
		})
	}
	run("C-03/run refuses it too", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "gateway.yaml")
		if err := os.WriteFile(file, []byte(configFile(", idle_timeout: 0", []string{"client: {max_frame: 1KiB}"}, nil)), 0o600); err != nil {
			t.Fatal(err)
		}
		p := wstest.StartCommand(t, "run", "--config", file)
		if code := p.Wait(); code != 1 || !strings.Contains(p.Stderr()+p.Stdout(), "idle_timeout") {
			t.Errorf("exit code %d, want 1; %s", code, p.Stderr())
		}
	})
	run("C-11/a secret of the environment is never echoed", func(t *testing.T) {
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte(wstest.Canary+"-in-a-file\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		text := configFile(", idle_timeout: ${file:"+secret+"}", []string{"client: {max_frame: 1KiB}"}, nil)
		code, output := checkFile(t, text)
		if code != 1 || mistakes(output)["5"] == "" {
			t.Errorf("exit code %d: %s", code, output)
		}
		if strings.Contains(output, wstest.Canary) {
			t.Errorf("the content of a secret file is in %q", output)
		}
	})
}

// wantMistake demands exit code 1 and an error at the given line whose path or text holds a word.
func wantMistake(t *testing.T, text string, line int, word string) {
	t.Helper()
	code, output := checkFile(t, text)
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if message := mistakes(output)[fmt.Sprint(line)]; !strings.Contains(message, word) {
		t.Errorf("no error about %q at line %d:\n%s", word, line, output)
	}
}
