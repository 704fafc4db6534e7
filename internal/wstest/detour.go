package wstest

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Detour is a TCP proxy that can bring bytes late, or hold them back.
type Detour struct {
	ln    net.Listener
	to    string
	late  atomic.Int64 // time.Duration
	gate  sync.RWMutex // is locked while nothing passes
	mu    sync.Mutex
	conns []net.Conn
	all   sync.WaitGroup
}

// NewDetour starts a proxy to an address, which the test's cleanup ends.
func NewDetour(tb testing.TB, to string) *Detour {
	tb.Helper()
	d := &Detour{ln: Listen(tb, "127.0.0.1:0"), to: to}
	d.all.Go(d.accept)
	tb.Cleanup(d.close)
	return d
}

// Addr is where it listens.
func (d *Detour) Addr() string { return d.ln.Addr().String() }

// Late has what comes from now on arrive later by so much.
func (d *Detour) Late(by time.Duration) { d.late.Store(int64(by)) }

// Hold holds everything back until Release is called.
func (d *Detour) Hold() { d.gate.Lock() }

// Release ends what Hold has begun.
func (d *Detour) Release() { d.gate.Unlock() }

func (d *Detour) accept() {
	for {
		c, err := d.ln.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", d.to)
		if err != nil {
			c.Close()
			continue
		}
		d.mu.Lock()
		d.conns = append(d.conns, c, up)
		d.mu.Unlock()
		d.all.Go(func() { d.copy(up, c) })
		d.all.Go(func() { d.copy(c, up) })
	}
}

// copy brings bytes on, each late by what the lateness is when it comes.
func (d *Detour) copy(to, from net.Conn) {
	defer to.Close()
	type parcel struct {
		b  []byte
		at time.Time
	}
	parcels := make(chan parcel, 1000)
	d.all.Go(func() {
		defer from.Close()
		for p := range parcels {
			time.Sleep(time.Until(p.at))
			d.gate.RLock()
			_, err := to.Write(p.b)
			d.gate.RUnlock()
			if err != nil {
				break
			}
		}
		for range parcels {
			continue
		}
	})
	defer close(parcels)
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			parcels <- parcel{slices.Clone(buf[:n]), time.Now().Add(time.Duration(d.late.Load()))}
		}
		if err != nil {
			return
		}
	}
}

func (d *Detour) close() {
	d.ln.Close()
	d.mu.Lock()
	for _, c := range d.conns {
		c.Close()
	}
	d.mu.Unlock()
	d.all.Wait()
}
