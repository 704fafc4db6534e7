package acmetest

import (
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// The TSIG key that the name server takes updates with.
const (
	TSIGKey    = "acme-key"
	TSIGSecret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

// A DNS is a name server: every name is 127.0.0.1, every name is in the zone of its last two labels, and TXT records are what updates make
// them.
type DNS struct {
	Addr string // TCP

	mu      sync.Mutex
	txt     map[string][]string
	updates int // that were taken
}

func newDNS(t testing.TB) *DNS {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &DNS{Addr: ln.Addr().String(), txt: map[string][]string{}}
	server := &dns.Server{
		Listener: ln, Handler: d, TsigSecret: map[string]string{TSIGKey + ".": TSIGSecret},
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }, // by default, no updates
	}
	done := make(chan struct{})
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go func() {
		defer close(done)
		server.ActivateAndServe()
	}()
	<-started
	t.Cleanup(func() {
		server.Shutdown()
		<-done
	})
	return d
}

// Set sets a TXT record of a name, as a test's own program would.
func (d *DNS) Set(name, value string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.txt[dns.CanonicalName(name)] = append(d.txt[dns.CanonicalName(name)], value)
}

// Remove removes it.
func (d *DNS) Remove(name, value string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = dns.CanonicalName(name)
	d.txt[name] = slices.DeleteFunc(d.txt[name], func(v string) bool { return v == value })
}

// Records returns how many TXT records there are, and how many updates were taken.
func (d *DNS) Records() (records, updates int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, values := range d.txt {
		records += len(values)
	}
	return records, d.updates
}

// ServeDNS implements dns.Handler.
func (d *DNS) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	reply := new(dns.Msg)
	reply.SetReply(m)
	signed := m.IsTsig()
	switch {
	case m.Opcode == dns.OpcodeUpdate && (signed == nil || w.TsigStatus() != nil):
		reply.Rcode = dns.RcodeNotAuth
	case m.Opcode == dns.OpcodeUpdate:
		d.update(m)
	default:
		d.answer(m, reply)
	}
	if signed != nil && w.TsigStatus() == nil {
		reply.SetTsig(signed.Hdr.Name, signed.Algorithm, 300, int64(signed.TimeSigned))
	}
	w.WriteMsg(reply)
}

func (d *DNS) update(m *dns.Msg) {
	d.mu.Lock()
	d.updates++
	d.mu.Unlock()
	for _, rr := range m.Ns {
		txt, ok := rr.(*dns.TXT)
		if !ok {
			continue
		}
		if txt.Hdr.Class == dns.ClassNONE {
			d.Remove(txt.Hdr.Name, txt.Txt[0])
		} else {
			d.Set(txt.Hdr.Name, txt.Txt[0])
		}
	}
}

func (d *DNS) answer(m, reply *dns.Msg) {
	q := m.Question[0]
	head := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET}
	switch q.Qtype {
	case dns.TypeA:
		reply.Answer = append(reply.Answer, &dns.A{Hdr: head, A: net.IPv4(127, 0, 0, 1)})
	case dns.TypeTXT:
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, value := range d.txt[dns.CanonicalName(q.Name)] {
			reply.Answer = append(reply.Answer, &dns.TXT{Hdr: head, Txt: []string{value}})
		}
	case dns.TypeSOA:
		labels := dns.Split(q.Name)
		if len(labels) < 2 {
			return
		}
		head.Name = q.Name[labels[len(labels)-2]:]
		soa := &dns.SOA{Hdr: head, Ns: "ns." + head.Name, Mbox: "ops." + head.Name}
		if head.Name == q.Name {
			reply.Answer = append(reply.Answer, soa)
		} else {
			reply.Ns = append(reply.Ns, soa) // as for a name without one
		}
	}
}
