package rates

import (
	"fmt"
	"strings"
	"testing"

	"github.com/framegate/framegate/ratelimit"
)

func TestLimits(t *testing.T) {
	rate := func(n float64) *ratelimit.Rate { return &ratelimit.Rate{PerSecond: n, Burst: int(n)} }
	bytes := ratelimit.ByteRate(*rate(5))
	for _, test := range []struct {
		limits []Limit
		want   string
	}{
		{(*Config)(nil).Limits(), ""},
		{(*Bytes)(nil).Limits(), ""},
		{(&Config{}).Limits(), ""},
		{(&Config{PerRoute: rate(1), PerConnection: rate(2), PerClaim: map[string]ratelimit.Rate{"org": *rate(3), "a b": *rate(4)}}).Limits(), `per_connection 2, per_claim["a b"] 4, per_claim.org 3, per_route 1`},
		{(&Bytes{PerUser: &bytes, PerIP: &bytes, PerClaim: map[string]ratelimit.ByteRate{"org": bytes}}).Limits(), "per_ip 5, per_user 5, per_claim.org 5"},
	} {
		var got []string
		for _, l := range test.limits {
			got = append(got, fmt.Sprint(l.Name, " ", l.Rate.PerSecond))
			if (l.Key == PerClaim) != (l.Claim != "") {
				t.Errorf("%s counts by %d %q", l.Name, l.Key, l.Claim)
			}
		}
		if got := strings.Join(got, ", "); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestAction(t *testing.T) {
	word := func(text string) *Action {
		a := &Action{}
		if err := a.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
		}
		return a
	}
	for want, a := range map[string]*Action{Close: nil, Drop: word("drop"), Delay: word("delay"), Reply: {Reply: "slower"}} {
		if a.Name() != want || a.Check() != nil || (a.Text() != "") != (want == Reply) {
			t.Errorf("%s: %s %q, %v", want, a.Name(), a.Text(), a.Check())
		}
	}
	if word("close").Name() != Close || new(Action).UnmarshalText([]byte("reply")) == nil {
		t.Error("close is not close, or reply is a word")
	}
	for _, a := range []*Action{{}, {Reply: "\xff"}, {Reply: strings.Repeat("x", maxReply+1)}} {
		if a.Check() == nil {
			t.Errorf("a reply of %d bytes is possible", len(a.Reply))
		}
	}
}
