package strictyaml

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"5s": 5 * time.Second, "1m30s": 90 * time.Second, "250ms": 250 * time.Millisecond, "0s": 0, "0h0m0s0ms": 0,
		"12h": 12 * time.Hour, "1h5ms": time.Hour + 5*time.Millisecond, "1500ms": 1500 * time.Millisecond,
		"2562047h": 2562047 * time.Hour, "9223372036854ms": 9223372036854 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); err != nil || got != Duration(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "5", "0", "s", "-5s", "+5s", "5 s", " 5s", "5s ", "1.5s", ".5s", "5S", "5sec", "5us", "5ns", "5d", "05s", "00s", "5s1m", "5s5s",
		"1m1m", "5ms1s", "5mss", "5s5", "2562048h", "9223372036854775808ms", "2562047h48m", "5\n", "٥s", "infinite", "1h-5m", "1_000s",
	} {
		if got, err := ParseDuration(text); err == nil || got != 0 {
			t.Errorf("%q was parsed as %v", text, got)
		}
	}
}

func TestDurationString(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 5 * time.Minute: "5m", 90 * time.Second: "1m30s", time.Hour + time.Millisecond: "1h1ms",
		-time.Second: "-1s", 1500 * time.Microsecond: "1.5ms",
	} {
		same(t, "string", Duration(d).String(), want)
	}
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Range(0, math.MaxInt64/1_000_000).Draw(t, "ms") * 1_000_000)
		if got, err := ParseDuration(d.String()); err != nil || got != d {
			t.Fatalf("%s parses as %v, %v", d, got, err)
		}
	})
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"1B": 1, "512B": 512, "1KB": 1000, "1KiB": 1024, "64KiB": 65536, "10MB": 10e6, "1MiB": 1 << 20, "2GB": 2e9, "2GiB": 2 << 30,
		"9223372036854775807B": math.MaxInt64, "8589934591GiB": 8589934591 << 30,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "1", "0", "0B", "0KiB", "B", "-1B", "+1B", "1 B", "1b", "1K", "1KIB", "1kB", "1TiB", "01B", "1.5MiB", "1MiB1KiB", "1MiB ", " 1MiB",
		"9223372036854775808B", "8589934592GiB", "99999999999999999999B", "unlimited", "0x10B", "1_000B", "١B",
	} {
		if got, err := ParseSize(text); err == nil || got != 0 {
			t.Errorf("%q was parsed as %v", text, got)
		}
	}
}

func TestSizeString(t *testing.T) {
	for s, want := range map[Size]string{
		1: "1B", 1000: "1KB", 1024: "1KiB", 1500: "1500B", 1 << 20: "1MiB", 10e6: "10MB", 1 << 30: "1GiB", 1024e3: "1000KiB",
		0: "0B", -1024: "-1024B", 1e9: "1GB", 1536: "1536B", 64 << 20: "64MiB",
	} {
		same(t, "string", s.String(), want)
	}
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom(sizeUnits()).Draw(t, "unit").value
		s := Size(rapid.Int64Range(1, math.MaxInt64/unit).Draw(t, "n") * unit)
		if got, err := ParseSize(s.String()); err != nil || got != s {
			t.Fatalf("%s parses as %v, %v", s, got, err)
		}
	})
}

func TestUnmarshalTextKeepsTheValueOnError(t *testing.T) {
	d, s := Duration(5), Size(5)
	if d.UnmarshalText([]byte("x")) == nil || s.UnmarshalText([]byte("x")) == nil || d != 5 || s != 5 {
		t.Error(d, s)
	}
}
