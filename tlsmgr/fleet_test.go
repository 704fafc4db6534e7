package tlsmgr

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/framegate/framegate/internal/acmetest"
	"github.com/framegate/framegate/ratelimit"
)

// fleetConfig has gateways share a Redis, which the section redis names.
func fleetConfig(t testing.TB, ca *acmetest.CA, server *miniredis.Miniredis) (Config, *ratelimit.RedisConfig) {
	cfg := acmeConfig(t, ca)
	cfg.Storage.File = ""
	cfg.Storage.Redis = &RedisStorageConfig{EncryptionKeys: []string{base64.StdEncoding.EncodeToString(testKey)}}
	return cfg, &ratelimit.RedisConfig{URL: "redis://" + server.Addr(), Timeout: 5e7, Nodes: 1, LeasePercent: 25}
}

// Two gateways with one Redis order a certificate once, and both serve it, also one that was renewed by the other. Without Redis both go on.
func TestFleet(t *testing.T) {
	t.Parallel()
	ca, server := acmetest.New(t, acmetest.Setup{}), miniredis.RunT(t)
	cfg, shared := fleetConfig(t, ca, server)
	hosts := []string{"fleet1.example.com", "fleet2.example.com", "fleet3.example.com"}
	one := startAuto(t, ca, cfg, shared, nil, hosts...)
	other := startAuto(t, ca, cfg, shared, nil, hosts...)
	for _, host := range hosts {
		if a, b := one.serial(t, host), other.serial(t, host); a != b {
			t.Errorf("%s: certificates %s and %s", host, a, b)
		}
	}
	if n := ca.Orders(); n != len(hosts) {
		t.Errorf("%d orders, want %d", n, len(hosts))
	}
	before := one.serial(t, hosts[0])
	check(t, other.auto.Load().magic.RenewCertSync(context.Background(), hosts[0], true))
	eventually(t, "both serve the new certificate", func() bool {
		a, b := one.serial(t, hosts[0]), other.serial(t, hosts[0])
		return a == b && a != before
	})
	server.Close()
	time.Sleep(300 * time.Millisecond) // a few rounds of the watch
	for _, g := range []*autoGate{one, other} {
		for _, host := range hosts {
			if _, err := g.dial(host); err != nil {
				t.Errorf("without Redis: %s: %v", host, err)
			}
		}
		g.log.wait(t, "certificate store does not answer, certificates stay in service")
	}
}

// A gateway that starts while Redis is away gets its certificates when that is back.
func TestStartWithoutRedis(t *testing.T) {
	t.Parallel()
	ca, server := acmetest.New(t, acmetest.Setup{}), miniredis.RunT(t)
	cfg, shared := fleetConfig(t, ca, server)
	addr := server.Addr()
	server.Close()
	g := startAuto(t, ca, cfg, shared, nil, "away.example.com")
	g.log.wait(t, "no certificate yet, trying again", "reason=storage")
	back := miniredis.NewMiniRedis()
	check(t, back.StartAddr(addr))
	t.Cleanup(back.Close)
	g.serial(t, "away.example.com")
}

// A gateway with copies starts without Redis, and follows what other gateways do once that is back.
func TestCopies(t *testing.T) {
	t.Parallel()
	ca, server := acmetest.New(t, acmetest.Setup{}), miniredis.RunT(t)
	cfg, shared := fleetConfig(t, ca, server)
	copying := cfg
	copying.Storage.File = t.TempDir()
	one := startAuto(t, ca, copying, shared, nil, "copy.example.com")
	before := one.serial(t, "copy.example.com")
	other := startAuto(t, ca, cfg, shared, nil, "copy.example.com")
	other.serial(t, "copy.example.com")
	check(t, other.auto.Load().magic.RenewCertSync(context.Background(), "copy.example.com", true))
	eventually(t, "the renewed certificate is served in place of the copy", func() bool { return one.serial(t, "copy.example.com") != before })
	renewed := one.serial(t, "copy.example.com")
	check(t, one.Close())
	check(t, other.Close())
	server.Close()
	again := startAuto(t, ca, copying, shared, nil, "copy.example.com")
	if state, err := again.dial("copy.example.com"); err != nil || state.PeerCertificates[0].SerialNumber.String() != renewed {
		t.Errorf("without Redis, right after the start: %v", err)
	}
}
