package ratelimit

import (
	"math"
	"net/netip"
	"testing"
	"time"
)

func TestAddressKey(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1":             "192.0.2.1",
		"::ffff:192.0.2.1":      "192.0.2.1",
		"::ffff:c000:201":       "192.0.2.1",
		"2001:db8::1":           "2001:db8::/64",
		"2001:db8:0:0:ff::1":    "2001:db8::/64",
		"2001:db8:0:1::1":       "2001:db8:0:1::/64",
		"fe80::1%eth0":          "fe80::/64",
		"fe80::2%eth1":          "fe80::/64",
		"::1":                   "::/64",
		"::":                    "::/64",
		"ffff:ffff:ffff:ffff::": "ffff:ffff:ffff:ffff::/64",
	} {
		if got := AddressKey(netip.MustParseAddr(address)); got != want {
			t.Errorf("AddressKey(%s) = %q, want %q", address, got, want)
		}
	}
	if AddressKey(netip.Addr{}) == AddressKey(netip.MustParseAddr("0.0.0.0")) {
		t.Error("no address has the key of 0.0.0.0")
	}
}

func TestRetryAfterSeconds(t *testing.T) {
	for _, test := range []struct {
		wait   time.Duration
		jitter float64
		want   int
	}{
		{0, 0, 1}, {-time.Hour, 0, 1}, {ms, 0, 1}, {time.Second, 0, 1}, {1001 * ms, 0, 2}, {59500 * ms, 0, 60},
		{0, 0.2, 2}, {0, 0.5, 3}, {0, 0.999, 5}, {0, 1, 6}, {10 * time.Second, 0.5, 15}, {10 * time.Second, 1, 20},
		{Never, 0, 3600}, {Never, 1, 7200}, {2 * time.Hour, 0, 3600},
		{0, -1, 1}, {0, 7, 6}, {0, math.NaN(), 1}, {0, math.Inf(1), 6}, {0, math.Inf(-1), 1},
	} {
		if got := RetryAfter(test.wait, test.jitter); got != test.want {
			t.Errorf("RetryAfter(%v, %v) = %d, want %d", test.wait, test.jitter, got, test.want)
		}
	}
}

// Whoever waits so long is never told too little, and a second more or less of jitter does not matter.
func FuzzRetryAfterSeconds(f *testing.F) {
	f.Add(int64(0), 0.0)
	f.Add(int64(Never), 1.0)
	f.Fuzz(func(t *testing.T, wait int64, jitter float64) {
		got := RetryAfter(time.Duration(wait), jitter)
		least := min(max(time.Duration(wait), time.Second), time.Hour)
		if time.Duration(got)*time.Second < least || got > 7200 {
			t.Errorf("RetryAfter(%v, %v) = %d", time.Duration(wait), jitter, got)
		}
	})
}
