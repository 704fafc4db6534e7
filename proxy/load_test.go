package proxy

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// rightConfig has every section; the rows of the tests put mistakes into it.
const rightConfig = `version: 1
listeners:
  - {address: "127.0.0.1:0", tls: {certificates: "off"}}
routes:
  - name: app
    hosts: [app.example.com]
    paths: [/ws/*]
    upstream: app
    policies: [own]
upstreams:
  app: {servers: ["ws://127.0.0.1:9"]}
policies:
  own: {client: {max_frame: 1KiB}}
admin: {address: "off"}
`

// mark stands in a text before each place where a mistake is to be reported.
const mark = "▸"

// marked removes the marks of a text and returns their places, as file:line:column.
func marked(file, text string) (clean string, places []string) {
	for number, line := range strings.Split(text, "\n") {
		for column := strings.Index(line, mark); column >= 0; column = strings.Index(line, mark) {
			places = append(places, fmt.Sprintf("%s:%d:%d: ", file, number+1, len([]rune(line[:column]))+1))
			line = line[:column] + line[column+len(mark):]
		}
		clean += line + "\n"
	}
	return strings.TrimSuffix(clean, "\n"), places
}

// wantMistakes loads files, of which the first is the configuration, and compares the mistakes and their places: those of the policy
// files come last.
func wantMistakes(t *testing.T, files []string, want ...string) {
	t.Helper()
	var texts, places []string
	for i, text := range files {
		name := "gateway.yaml"
		if i > 0 {
			name = fmt.Sprintf("policy%d.yaml", i)
		}
		clean, at := marked(name, text)
		texts, places = append(texts, clean), append(places, at...)
	}
	if len(places) != len(want) {
		t.Fatalf("the test marks %d places for %d mistakes", len(places), len(want))
	}
	_, dir, err := loadText(t, texts...)
	got := lines(err, dir)
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(want):
			t.Errorf("got also %q", got[i])
		case i >= len(got):
			t.Errorf("did not get %q", places[i]+want[i])
		case got[i] != places[i]+want[i]:
			t.Errorf("got  %q\nwant %q", got[i], places[i]+want[i])
		}
	}
}

// lines are those of an error or of warnings, without the directory of the test.
func lines(err error, dir string) []string {
	if err == nil {
		return nil
	}
	return strings.Split(strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""), "\n")
}

// change replaces a piece of rightConfig, which must be there.
func change(t *testing.T, old, by string) string {
	t.Helper()
	if strings.Count(rightConfig, old) != 1 {
		t.Fatalf("%q is not once in the configuration", old)
	}
	return strings.Replace(rightConfig, old, by, 1)
}

// A loadRow puts a mistake into rightConfig. Without want the words are another package's, and only the places count.
type loadRow struct {
	name, old, by string
	want          []string
}

func (row loadRow) run(t *testing.T) {
	t.Run(row.name, func(t *testing.T) {
		t.Parallel()
		text := change(t, row.old, row.by)
		if row.want != nil {
			wantMistakes(t, []string{text}, row.want...)
			return
		}
		wantPlaces(t, text)
	})
}

func TestLoadReports(t *testing.T) {
	t.Parallel()
	const (
		listener = `{address: "127.0.0.1:0", tls: {certificates: "off"}}`
		admin    = `admin: {address: "off"}`
	)
	for _, row := range []loadRow{
		{"version", "version: 1", "version: ▸2", []string{`version: want 1, not "2"`}},
		{"unknown key", "routes:", "▸rotes: []\nroutes:", []string{`rotes: unknown key, did you mean "routes"?`}},
		{"address without a port", listener, `{address: ▸localhost, tls: {certificates: "off"}}`, []string{`listeners[0].address: "localhost" is not an address, want host:port such as :8443 or 127.0.0.1:8443`}},
		{"address of a name", listener, `{address: ▸"example.com:80", tls: {certificates: "off"}}`, []string{`listeners[0].address: "example.com" is not an IP address or localhost`}},
		{"address with a service", listener, `{address: ▸":https", tls: {certificates: "off"}}`, []string{`listeners[0].address: ":https" is not an address, want host:port such as :8443 or 127.0.0.1:8443`}},
		{"address with a large port", listener, `{address: ▸":65536", tls: {certificates: "off"}}`, []string{`listeners[0].address: ":65536" is not an address, want host:port such as :8443 or 127.0.0.1:8443`}},
		{"address taken", listener, `{address: ":8443", tls: {certificates: "off"}}` + "\n  - " + `{address: ▸":8443", tls: {certificates: "off"}}`, []string{`listeners[1].address: ":8443" is taken by listeners[0]`}},
		{"listener without TLS", listener, `▸{address: ":8443"}`, []string{"listeners[0].tls: this required key is missing"}},
		{"a key twice, the first of them wrong", `app: {servers: ["ws://127.0.0.1:9"]}`, "app: {servers: [▸\"http://127.0.0.1:9\"]}\n  ▸app: {servers: []}", []string{
			`upstreams.app.servers[0]: server "http://127.0.0.1:9" has the scheme "http", want "ws" (plain HTTP requests go to the same address)`,
			"upstreams.app: duplicate key, the first one is in line 11",
		}},
		{"certificate files", listener, `{address: ":8443", tls: {certificates: files, files: ▸[]}}`, []string{"listeners[0].tls.files: missing, wanted at least one pair {cert: FILE, key: FILE}"}},
		{"protocol", listener, `{address: ":8443", tls: {certificates: "off"}, protocols: [h1, ▸h9]}`, []string{`listeners[0].protocols[1]: want one of h1, h2, h3, not "h9"; did you mean "h1"?`}},
		{"server", `"ws://127.0.0.1:9"`, `▸"http://127.0.0.1:9", ▸"ws://169.254.169.254"`, nil},
		{"CA file", `["ws://127.0.0.1:9"]`, `["wss://127.0.0.1:9"], tls: {ca: ▸/nonexistent.pem}`, nil},
		{"policy", "{max_frame: 1KiB}", "{max_frame: ▸1, types: [▸txt]}, origin: {allow: [▸app.example.com]}", nil},
		{"admin", admin, `admin: {address: ▸"0.0.0.0:9901"}`, []string{`admin.address: "0.0.0.0:9901" is not a loopback address: the admin listener answers whoever reaches it`}},
		{"admin on every address", admin, `admin: {address: ▸":9901"}`, nil},
		{"admin without a port", admin, `admin: {address: ▸"127.0.0.1"}`, []string{`admin.address: "127.0.0.1" is not an address, want host:port such as 127.0.0.1:9901, or off`}},
		{"policy files", "policies:\n", "policy_files: [▸none/*.yaml, ▸'[']\npolicies:\n", []string{
			`policy_files[0]: "none/*.yaml" names no file, want a file or a pattern such as policies/*.yaml`, `policy_files[1]: "[" names no file, want a file or a pattern such as policies/*.yaml`,
		}},
	} {
		row.run(t)
	}
}

func TestLoadReportsInRoutes(t *testing.T) {
	t.Parallel()
	const (
		hosts    = "hosts: [app.example.com]"
		paths    = "paths: [/ws/*]"
		route    = "    upstream: app\n"
		policies = "policies: [own]"
		notHost  = " is not a host name, want one such as app.example.com or *.example.com, without port"
		notCode  = " may not be sent as a close code (RFC 6455 section 7.4), want 1000 to 1003, 1007 to 1014 or 3000 to 4999"
		notPath  = " is not a path, want one such as /ws, or /ws/* for /ws and all below it"
	)
	for _, row := range []loadRow{
		{"hosts", hosts, `hosts: [▸"*", ▸"a.example.com:80", ▸"*.com", ▸"a.*.example.com", ▸"a..b", ▸"", ▸"https://a.example.com"]`, []string{
			`routes[0].hosts[0]: "*"` + notHost, `routes[0].hosts[1]: "a.example.com:80"` + notHost, `routes[0].hosts[2]: "*.com"` + notHost,
			`routes[0].hosts[3]: "a.*.example.com"` + notHost, `routes[0].hosts[4]: "a..b"` + notHost, `routes[0].hosts[5]: ""` + notHost, `routes[0].hosts[6]: "https://a.example.com"` + notHost,
		}},
		{"paths", paths, `paths: [▸ws, ▸/a*, ▸/*/b, ▸/a/../b, ▸/a//b, ▸/a//*, ▸"//*", ▸"/a?b", ▸"/a#b", ▸"/a;b", ▸"/a%20b", ▸"/a b", ▸'/a\b', ▸""]`, []string{
			`routes[0].paths[0]: "ws"` + notPath, `routes[0].paths[1]: "/a*"` + notPath, `routes[0].paths[2]: "/*/b"` + notPath, `routes[0].paths[3]: "/a/../b"` + notPath,
			`routes[0].paths[4]: "/a//b"` + notPath, `routes[0].paths[5]: "/a//*"` + notPath, `routes[0].paths[6]: "//*"` + notPath, `routes[0].paths[7]: "/a?b"` + notPath,
			`routes[0].paths[8]: "/a#b"` + notPath, `routes[0].paths[9]: "/a;b"` + notPath, `routes[0].paths[10]: "/a%20b"` + notPath, `routes[0].paths[11]: "/a b"` + notPath,
			`routes[0].paths[12]: "/a\\b"` + notPath, `routes[0].paths[13]: ""` + notPath,
		}},
		{"hosts and paths", hosts + "\n    " + paths, "hosts: [▸bad host]\n    paths: [▸ws]", []string{`routes[0].hosts[0]: "bad host"` + notHost, `routes[0].paths[0]: "ws"` + notPath}},
		{"a path twice", paths, "paths: [/ws, ▸/ws]", []string{`routes[0].paths[1]: "/ws" of host "app.example.com" belongs to route "app" already`}},
		{"a host twice", hosts, "hosts: [app.example.com, ▸APP.example.com]", []string{`routes[0].hosts[1]: "APP.example.com" is listed twice`}},
		{"host and path of another route", "upstreams:", "  - name: other\n    hosts: [b.example.com, App.Example.Com]\n    paths: [/other, ▸/ws/*]\n    upstream: app\nupstreams:", []string{`routes[1].paths[1]: "/ws/*" of host "App.Example.Com" belongs to route "app" already`}},
		{"name twice", "upstreams:", "  - {name: ▸app, hosts: [b.example.com], upstream: app}\nupstreams:", []string{`routes[1].name: route "app" is defined twice, first as routes[0]`}},
		{"name of no route", "name: app", "name: ▸-", nil},
		{"upstream", route, "    upstream: ▸ap\n", []string{`routes[0].upstream: unknown upstream "ap", did you mean "app"?`}},
		{"upstream that nothing is near to", route, "    upstream: ▸elsewhere\n", []string{`routes[0].upstream: unknown upstream "elsewhere", want one of app`}},
		{"policies", policies, "policies: [own, ▸oen, ▸own, ▸nothing like it]", []string{
			`routes[0].policies[1]: unknown policy "oen", did you mean "own"?`, `routes[0].policies[2]: policy "own" is listed twice`,
			`routes[0].policies[3]: unknown policy "nothing like it", want the name of an entry of the section policies`,
		}},
		{"close codes", route, route + "    close_codes:\n      drain: ▸1005\n      lifetime: {client: ▸1006, upstream: ▸2999}\n      idle: {client: ▸70000, upstream: 1001}\n      ▸drian:\n        client: 1012\n      too_big: {client: 1009, upstream: ▸x}\n      protocol: ▸x\n", []string{
			"routes[0].close_codes.drain: 1005" + notCode, "routes[0].close_codes.lifetime.client: 1006" + notCode, "routes[0].close_codes.lifetime.upstream: 2999" + notCode,
			`routes[0].close_codes.idle.client: want a whole number from 1000 to 4999, not "70000"`,
			`routes[0].close_codes.drian: unknown cause "drian", did you mean "drain"?`,
			`routes[0].close_codes.too_big.upstream: want a whole number, not "x"`,
			`routes[0].close_codes.protocol: "x" is not a close code, want a number such as 1012 or 4000`,
		}},
		{"close code of peers", route, route + "    close_codes: {peer_closed: ▸1000}\n", nil},
		{"times", route, route + "    idle_timeout: ▸0s\n    max_lifetime: ▸10\n    ping_interval: ▸-1s\n", nil},
	} {
		row.run(t)
	}
}

// wantPlaces is wantMistakes for mistakes whose words are another package's.
func wantPlaces(t *testing.T, text string) {
	t.Helper()
	clean, places := marked("gateway.yaml", text)
	_, dir, err := loadText(t, clean)
	got := lines(err, dir)
	for i, line := range got {
		if i >= len(places) || !strings.HasPrefix(line, places[i]) {
			t.Errorf("got %q, want one at each of %q", line, places)
		}
	}
	if len(got) != len(places) {
		t.Errorf("got %q, want one at each of %q", got, places)
	}
}
