package tlsmgr

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/framegate/framegate/internal/acmetest"
)

func TestEndsSoon(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now()
	for _, test := range []struct {
		life, left time.Duration
		want       bool
	}{
		{90 * day, 29 * day, false}, {90 * day, 20*day + time.Hour, false}, {90 * day, 19 * day, true}, {90 * day, -day, true},
		{365 * day, 21 * day, false}, {365 * day, 19 * day, true},
		{6 * day, 2 * day, false}, {6 * day, day, true},
	} {
		leaf := &x509.Certificate{NotAfter: now.Add(test.left), NotBefore: now.Add(test.left - test.life)}
		if endsSoon(leaf, now) != test.want {
			t.Errorf("%v left of %v: want %t", test.left, test.life, test.want)
		}
	}
}

func TestReasonOf(t *testing.T) {
	problem := func(kind string, status int) error {
		return fmt.Errorf("[a] Obtain: %w", acme.Problem{Type: "urn:ietf:params:acme:error:" + kind, Status: status})
	}
	for want, all := range map[string][]error{
		reasonLimited:     {problem("rateLimited", 429), problem("else", 429)},
		reasonChallenge:   {problem("connection", 400), problem("unauthorized", 403), problem("dns", 400), problem("caa", 403)},
		reasonRefused:     {problem("badNonce", 400), problem("rejectedIdentifier", 400)},
		reasonUnreachable: {problem("serverInternal", 500), &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, fmt.Errorf("x: %w", syscall.ECONNREFUSED)},
		reasonStorage:     {&fs.PathError{Op: "open", Err: syscall.EROFS}, errors.New("failed storage check: no - storage is probably misconfigured"), errors.New("[a] Renew: saving assets: no")},
		reasonChain:       {fmt.Errorf("[a] Renew: saving assets: %v", errChain)},
		reasonOther:       {errors.New("something else")},
	} {
		for _, err := range all {
			if got := reasonOf(err); got != want {
				t.Errorf("%v: %s, want %s", err, got, want)
			}
		}
	}
}

func TestBackOffSchedule(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: time.Minute, 1: time.Minute, 2: 2 * time.Minute, 4: 5 * time.Minute, 25: 6 * time.Hour, 1000: 6 * time.Hour} {
		if got := backOff(failures); got != want {
			t.Errorf("after %d failures: %v, want %v", failures, got, want)
		}
	}
}

// the alarm is raised once a day, and the metrics count down. It holds for files as well.
func TestAlarm(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	skip := make(chan time.Duration, 1)
	skip <- 0
	clock := func() time.Time {
		d := <-skip
		skip <- d
		return time.Now().Add(d)
	}
	g := startAuto(t, ca, acmeConfig(t, ca), nil, func(s *system) { s.now = clock }, "alarm.example.com")
	g.serial(t, "alarm.example.com")
	if n, _ := g.metric(t, "framegate_certificate_expiry_seconds", "alarm.example.com"); n < 89*86400 || n > 90*86400 {
		t.Errorf("%v seconds left", n)
	}
	pair := certSpec{names: []string{"files.example.com", "*.files.example.com"}, from: time.Now().AddDate(0, 0, -1), end: time.Now().AddDate(0, 0, 100)}.write(t, t.TempDir())
	filesListener(t, g.Manager, nil, pair)
	if n, _ := g.metric(t, "framegate_certificates_ending"); n != 0 {
		t.Errorf("%v are ending", n)
	}
	<-skip
	skip <- 75 * 24 * time.Hour
	g.log.wait(t, "level=ERROR", "certificate ends soon and was not renewed", "name=alarm.example.com")
	if n, _ := g.metric(t, "framegate_certificates_ending"); n != 1 {
		t.Errorf("%v are ending", n)
	}
	if n, _ := g.metric(t, "framegate_certificate_expiry_seconds", "*.files.example.com"); n < 24*86400 || n > 26*86400 {
		t.Errorf("%v seconds left of files", n)
	}
	time.Sleep(300 * time.Millisecond) // a few rounds of the watch
	if n := g.log.count("certificate ends soon"); n != 1 {
		t.Errorf("the alarm was raised %d times", n)
	}
}

func TestAlarmOfFiles(t *testing.T) {
	book, log := newLog()
	now := time.Now()
	p := &pair{files: certSpec{names: []string{"files.example.com"}, from: now.AddDate(0, 0, -70), end: now.AddDate(0, 0, 30)}.write(t, t.TempDir())}
	check(t, p.load(now, log))
	for range 3 {
		p.refresh(now, log)
	}
	if n := book.count("ends soon"); n != 0 {
		t.Errorf("%d alarms with 30 days left", n)
	}
	for day := range 3 {
		for range 3 {
			p.refresh(now.AddDate(0, 0, 15+day), log)
		}
	}
	if n := book.count("level=ERROR msg=\"certificate ends soon and was not replaced\""); n != 3 {
		t.Errorf("%d alarms in three days:\n%s", n, book)
	}
}
