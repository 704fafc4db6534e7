package outbound

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// mistakes returns what a check reports.
func mistakes(check func(Report)) []string {
	var all []string
	check(func(path, format string, args ...any) { all = append(all, path+": "+fmt.Sprintf(format, args...)) })
	return all
}

func TestCheckURL(t *testing.T) {
	for _, test := range []struct {
		text  string
		plain Reach
		want  string // in the only mistake; empty for none
	}{
		{"https://id.example.com", Nowhere, ""},
		{"https://id.example.com:8443/keys?p=%20#", Nowhere, "has a fragment"},
		{"https://id.example.com:8443/keys?p=%20", Nowhere, ""},
		{"HTTPS://[2001:db8::1]/", Nowhere, ""},
		{"https://xn--bcher-kva.example/", Nowhere, ""},
		{"https://bücher.example/", Nowhere, "byte 0xc3 at offset 9"},
		{"https://id.example.com/\r\nX: 1", Nowhere, "byte 0x0d at offset 23"},
		{"https://id.example.com/a b", Nowhere, "byte 0x20"},
		{"", Nowhere, "no scheme"},
		{"id.example.com/keys", Nowhere, "no scheme"},
		{"//id.example.com/keys", Nowhere, "no scheme"},
		{"ftp://id.example.com/", Nowhere, "no scheme that is allowed"},
		{"https:id.example.com", Nowhere, "no scheme that is allowed"},
		{"https:///keys", Nowhere, "no valid host"},
		{"https://:443/keys", Nowhere, "no valid host"},
		{"https://id.example.com:/", Nowhere, "no valid host and port"},
		{"https://id.example.com:0/", Nowhere, "no valid host and port"},
		{"https://id.example.com:0443/", Nowhere, "no valid host and port"},
		{"https://id.example.com:65536/", Nowhere, "no valid host and port"},
		{"https://id.example.com:https/", Nowhere, "not a URL"},
		{"https://user:S3CRET@id.example.com/", Nowhere, "user name or password, want none"},
		{"https://S3CRET@id.example.com/", Anywhere, "user name or password, want none"},
		{"https://user:S3CRET@id.example.com:x/", Nowhere, "not a URL"},
		{"https://id.example.com/#S3", Nowhere, "has a fragment"},

		{"http://127.0.0.1/", Nowhere, "want https"},
		{"http://127.0.0.1/", Loopback, ""},
		{"http://127.8.9.10:80/", Loopback, ""},
		{"http://[::1]/", Loopback, ""},
		{"http://[::ffff:127.0.0.1]/", Loopback, ""},
		{"http://localhost/", Loopback, ""},
		{"http://LOCALHOST./", Loopback, ""},
		{"http://auth.localhost/", Loopback, ""},
		{"http://notlocalhost/", Loopback, "want https (or a loopback address)"},
		{"http://10.0.0.1/", Loopback, "want https (or a loopback address)"},
		{"http://0.0.0.0/", Loopback, "want https"},
		{"http://10.0.0.1/", Private, ""},
		{"http://172.31.255.255/", Private, ""},
		{"http://[fd00::1]/", Private, ""},
		{"http://127.0.0.1/", Private, ""},
		{"http://auth:4181/", Private, ""}, // its address is judged when it is known
		{"http://8.8.8.8/", Private, "want https (or a loopback or private address)"},
		{"http://169.254.169.254/", Private, "want https"},
		{"http://[fe80::1%25lo]/", Private, "want https"},
		{"http://8.8.8.8/", Anywhere, ""},
	} {
		got := mistakes(func(report Report) {
			u := CheckURL(test.text, test.plain, "url", report)
			if (u == nil) != (test.want != "") {
				t.Errorf("%q: got the URL %v", test.text, u)
			}
		})
		switch {
		case test.want == "" && len(got) > 0:
			t.Errorf("%q with %d: mistakes %q", test.text, test.plain, got)
		case test.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], "url: ") || !strings.Contains(got[0], test.want)):
			t.Errorf("%q with %d: mistakes %q, want one with %q", test.text, test.plain, got, test.want)
		case strings.Contains(fmt.Sprint(got), "S3CRET"):
			t.Errorf("%q: mistakes %q show the password", test.text, got)
		}
	}
}

func TestReach(t *testing.T) {
	for text, first := range map[string]Reach{ // the strictest that allows it
		"127.0.0.1": Loopback, "127.255.255.255": Loopback, "::1": Loopback, "::ffff:127.0.0.1": Loopback,
		"10.1.2.3": Private, "172.16.0.1": Private, "192.168.0.1": Private, "fc00::1": Private, "::ffff:10.0.0.1": Private,
		"0.0.0.0": Anywhere, "::": Anywhere, "169.254.169.254": Anywhere, "fe80::1": Anywhere, "100.64.0.1": Anywhere, "172.32.0.1": Anywhere,
		"8.8.8.8": Anywhere, "2001:db8::1": Anywhere, "64:ff9b::a00:1": Anywhere, "::7f00:1": Anywhere, "224.0.0.1": Anywhere,
	} {
		for _, r := range []Reach{Nowhere, Loopback, Private, Anywhere} {
			if got := r.allows(netip.MustParseAddr(text)); got != (r >= first) {
				t.Errorf("%d allows %s: %v", r, text, got)
			}
		}
	}
}

func TestProblem(t *testing.T) {
	if err := Problem(func(Report) {}); err != nil {
		t.Errorf("no mistake is %v", err)
	}
	err := Problem(func(report Report) {
		report("url", "value %d", 1)
		report("ca", "value %d", 2)
	})
	if err == nil || err.Error() != "url: value 1\nca: value 2" {
		t.Errorf("got %v", err)
	}
}
