package wstest

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is a small DNS server over UDP whose answers a test changes as it goes.
type DNS struct {
	conn    net.PacketConn
	running sync.WaitGroup

	mu      sync.Mutex
	addrs   map[string][]netip.Addr // by name in lower case with its final dot
	srv     map[string][]dnsmessage.SRVResource
	rcode   dnsmessage.RCode
	queries int
	mute    bool
}

// NewDNS starts a server on a free loopback port, which the test's cleanup ends. It knows no name.
func NewDNS(tb testing.TB) *DNS {
	tb.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	d := &DNS{conn: conn, addrs: map[string][]netip.Addr{}, srv: map[string][]dnsmessage.SRVResource{}}
	d.running.Go(d.serve)
	tb.Cleanup(func() {
		conn.Close()
		d.running.Wait()
	})
	return d
}

// Addr is the server's host:port.
func (d *DNS) Addr() string { return d.conn.LocalAddr().String() }

// Set makes these the addresses of a name; none make the name empty.
func (d *DNS) Set(name string, addrs ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []netip.Addr{}
	for _, a := range addrs {
		list = append(list, netip.MustParseAddr(a))
	}
	d.addrs[absolute(name)] = list
}

// SetSRV makes these the SRV records of a name.
func (d *DNS) SetSRV(name string, records ...dnsmessage.SRVResource) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.srv[absolute(name)] = records
}

// SRV makes one record for SetSRV.
func SRV(target string, port, priority, weight uint16) dnsmessage.SRVResource {
	return dnsmessage.SRVResource{Target: dnsmessage.MustNewName(absolute(target)), Port: port, Priority: priority, Weight: weight}
}

// Fail makes every answer SERVFAIL, until Fail(false).
func (d *DNS) Fail(failing bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rcode = dnsmessage.RCodeSuccess; failing {
		d.rcode = dnsmessage.RCodeServerFailure
	}
}

// Mute ends all answers.
func (d *DNS) Mute() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mute = true
}

// Queries returns how many questions have come.
func (d *DNS) Queries() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queries
}

func absolute(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) + "." }

func (d *DNS) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := d.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := d.answer(buf[:n]); answer != nil {
			d.conn.WriteTo(answer, from)
		}
	}
}

// answer makes the answer to one query, nil for what is none.
func (d *DNS) answer(query []byte) []byte {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queries++; d.mute {
		return nil
	}
	name := strings.ToLower(q.Name.String())
	addrs, known := d.addrs[name]
	records, service := d.srv[name]
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: header.ID, Response: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true, RCode: d.rcode},
		Questions: []dnsmessage.Question{q},
	}
	switch {
	case d.rcode != dnsmessage.RCodeSuccess:
	case !known && !service:
		m.RCode = dnsmessage.RCodeNameError
	default:
		m.Answers = answersTo(q, addrs, records)
	}
	packed, err := m.Pack()
	if err != nil {
		return nil
	}
	return packed
}

func answersTo(q dnsmessage.Question, addrs []netip.Addr, records []dnsmessage.SRVResource) []dnsmessage.Resource {
	var all []dnsmessage.Resource
	add := func(body dnsmessage.ResourceBody) {
		all = append(all, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: body})
	}
	for _, a := range addrs {
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			add(&dnsmessage.AResource{A: a.As4()})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			add(&dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	for i := range records {
		if q.Type == dnsmessage.TypeSRV {
			add(&records[i])
		}
	}
	return all
}
