package wstest

import (
	"fmt"
	"strings"
	"testing"
)

// judged is a test that notes its failures instead of failing.
type judged struct {
	testing.TB
	failures []string
}

func (j *judged) Helper() {}

func (j *judged) Errorf(format string, args ...any) {
	j.failures = append(j.failures, fmt.Sprintf(format, args...))
}

func TestCheckRefusalFindsWhatRevealsAnything(t *testing.T) {
	good := []string{"Connection: close", "Content-Type: text/plain; charset=utf-8", "Date: Sun, 22 Nov 2026 11:57:43 GMT", "Sec-WebSocket-Version: 13"}
	cases := []struct {
		name, body string
		fields     []string
		want       string // a part of the failure, "" for none
	}{
		{"constant text", "bad gateway\n", good, ""},
		{"no Connection", "no\n", good[1:], `Connection: ""`},
		{"keep-alive", "no\n", append([]string{"Connection: keep-alive"}, good[1:]...), `"keep-alive"`},
		{"address", "dialling 10.0.0.1 failed", good, `"10.0.0"`},
		{"port", "upstream localhost:9000", good, `":9000"`},
		{"IPv6", "no route to [::1]", good, "::1"},
		{"version", "framegate/1", good, "framegate/"},
		{"version in a field", "no", append([]string{"Server: Framegate/1"}, good...), "Framegate/"},
		{"Go", "built with go1.26", good, "go1."},
		{"source", "at serve.go", good, ".go"},
		{"secret", "token S3CRETtoken", good, "canary"},
		{"secret in lower case", "host s3cret.example", good, "canary"},
		{"secret in base64", "key UzNDUkVUa2V5", good, "canary"},
		{"secret in a field", "no", append([]string{"Location: /?t=S3CRET"}, good...), "canary"},
		{"long text", strings.Repeat("no ", 100), good, "300 bytes"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			j := &judged{TB: t}
			CheckRefusal(j, &Response{Line: "HTTP/1.1 502 Bad Gateway", Status: 502, Fields: tc.fields, Body: []byte(tc.body)})
			got := strings.Join(j.failures, "; ")
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("failures %q, want %q", got, tc.want)
			}
		})
	}
}

func TestCheckLineHoldsTheLogToItsForm(t *testing.T) {
	for line, want := range map[string]string{
		"":                       "",
		`{"msg":"x","path":"/"}`: "",
		"http: TLS handshake error from 127.0.0.1:1":   "not JSON",
		`{"path":"` + strings.Repeat("p", 2000) + `"}`: "2000 bytes",
	} {
		j := &judged{TB: t}
		checkLine(j, line)
		if got := strings.Join(j.failures, "; "); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%.60q: failures %q, want %q", line, got, want)
		}
	}
}

// TestVictimNoticesALoss lets an echo lose, double or change one message.
func TestVictimNoticesALoss(t *testing.T) {
	for name, answer := range map[string]func(u *Upstream, n int, f Frame){
		"lost": func(u *Upstream, n int, f Frame) {
			if n != 5 {
				u.Send(ServerFrame(f.First, f.Payload))
			}
		},
		"doubled": func(u *Upstream, n int, f Frame) {
			u.Send(ServerFrame(f.First, f.Payload))
			if n == 5 {
				u.Send(ServerFrame(f.First, f.Payload))
			}
		},
		"changed": func(u *Upstream, n int, f Frame) {
			if n == 5 {
				f.Payload[0]++
			}
			u.Send(ServerFrame(f.First, f.Payload))
		},
	} {
		t.Run(name, func(t *testing.T) {
			rec := NewRecorder(t, Then(Accept(), func(u *Upstream) {
				n := 0
				u.EachFrame(func(f Frame) bool {
					answer(u, n, f)
					n++
					return !f.IsClose()
				})
			}))
			c := Dial(t, rec.Addr())
			c.Upgrade(HS0("/"))
			j := &judged{TB: &noCleanup{t}}
			v := NewVictim(j, c)
			rec.Wait("/").WaitFrames(10)
			v.finish()
			if len(j.failures) != 1 || !strings.Contains(j.failures[0], "is frame 81") {
				t.Errorf("failures %q, want one about a wrong echo", j.failures)
			}
		})
	}
}

// noCleanup leaves the end of a victim to the test.
type noCleanup struct{ testing.TB }

func (noCleanup) Cleanup(func()) {}
