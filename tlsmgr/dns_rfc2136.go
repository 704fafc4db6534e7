package tlsmgr

import (
	"context"
	"fmt"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"github.com/miekg/dns"
)

// dnsTimeout bounds one question to the name server.
const dnsTimeout = 10 * time.Second

// newSolver makes the solver of dns-01 that a valid configuration asks for.
func newSolver(c DNSConfig) acmez.Solver {
	if c.Exec != nil {
		return execSolver{*c.Exec}
	}
	return rfc2136Solver{*c.RFC2136}
}

// A rfc2136Solver answers dns-01 by dynamic updates (RFC 2136) that are signed (RFC 8945).
type rfc2136Solver struct{ RFC2136Config }

// Present implements acmez.Solver. Several records may have one name: that of example.com is also that of *.example.com.
func (s rfc2136Solver) Present(ctx context.Context, c acme.Challenge) error {
	return s.update(ctx, c, (*dns.Msg).Insert)
}

// CleanUp implements acmez.Solver.
func (s rfc2136Solver) CleanUp(ctx context.Context, c acme.Challenge) error {
	return s.update(context.WithoutCancel(ctx), c, (*dns.Msg).Remove)
}

// Wait implements acmez.Waiter.
func (s rfc2136Solver) Wait(ctx context.Context, _ acme.Challenge) error {
	select {
	case <-time.After(time.Duration(s.Propagated)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s rfc2136Solver) update(ctx context.Context, c acme.Challenge, change func(*dns.Msg, []dns.RR)) error {
	name := dns.Fqdn(c.DNS01TXTRecordName())
	zone, err := s.zone(ctx, name)
	if err != nil {
		return err
	}
	m := new(dns.Msg)
	m.SetUpdate(zone)
	change(m, []dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: uint32(time.Duration(s.TTL) / time.Second)},
		Txt: []string{c.DNS01KeyAuthorization()},
	}})
	_, err = s.exchange(ctx, m)
	return err
}

// zone is the zone of a name: the configured one, or what the name server says when it is asked for the SOA of each name on the way up
// (RFC 1034 section 4.3.4 has it in the authority section).
func (s rfc2136Solver) zone(ctx context.Context, name string) (string, error) {
	if s.Zone != "" {
		return dns.Fqdn(s.Zone), nil
	}
	for _, at := range dns.Split(name) {
		m := new(dns.Msg)
		m.SetQuestion(name[at:], dns.TypeSOA)
		reply, err := s.exchange(ctx, m)
		if err != nil && (reply == nil || reply.Rcode != dns.RcodeNameError) {
			return "", err
		}
		for _, rr := range append(reply.Answer, reply.Ns...) {
			if soa, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, name) {
				return soa.Hdr.Name, nil
			}
		}
	}
	return "", fmt.Errorf("tls.acme.dns.rfc2136: name server %s knows no zone of %s; set zone", s.Server, name)
}

// exchange signs a message, sends it, and checks the signature of the answer. The reply is there also if it is a refusal.
func (s rfc2136Solver) exchange(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	key := dns.CanonicalName(s.KeyName)
	client := &dns.Client{Net: "tcp", Timeout: dnsTimeout, TsigSecret: map[string]string{key: s.Secret}}
	m.SetTsig(key, dns.Fqdn(s.algorithm()), 300, time.Now().Unix())
	reply, _, err := client.ExchangeContext(ctx, m, s.Server)
	switch {
	case err != nil:
		return nil, fmt.Errorf("tls.acme.dns.rfc2136: name server %s: %w", s.Server, err)
	case reply.IsTsig() == nil:
		return nil, fmt.Errorf("tls.acme.dns.rfc2136: name server %s: answer is not signed (%s)", s.Server, dns.RcodeToString[reply.Rcode])
	case reply.Rcode != dns.RcodeSuccess:
		return reply, fmt.Errorf("tls.acme.dns.rfc2136: name server %s: %s", s.Server, dns.RcodeToString[reply.Rcode])
	}
	return reply, nil
}

// algorithm is the algorithm of the key, the default where the configuration was not decoded from a file.
func (s rfc2136Solver) algorithm() string {
	if s.Algorithm == "" {
		return "hmac-sha256"
	}
	return s.Algorithm
}
