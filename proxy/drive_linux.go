package proxy

import (
	"context"
	"net"
	"runtime"

	"github.com/framegate/framegate/proxy/reactor"
	"github.com/framegate/framegate/proxy/relay"
)

// A driver moves the bytes of sessions. On Linux that is the reactor; whatever
// it cannot take has goroutines of its own.
type driver struct{ group *reactor.Group }

func newDriver(kind string) (driver, error) {
	if kind == driverGoroutines {
		return driver{}, nil
	}
	g, err := reactor.New(runtime.GOMAXPROCS(0))
	return driver{g}, err
}

// wrap makes a connection one that the reactor can take over later. TLS, where
// there is any, comes on top of it.
func (d driver) wrap(c net.Conn) net.Conn {
	if d.group == nil {
		return c
	}
	return reactor.NewTransport(c)
}

// take hands a session over. It reports false where the reactor cannot have
// it; then nothing has changed.
func (d driver) take(core *relay.Session, c *connection, client, upstream net.Conn, early [2][]byte) (failer, bool) {
	if d.group == nil {
		return nil, false
	}
	h, err := d.group.Add(core, client, upstream, early, c)
	return h, err == nil
}

// answer returns an error where a loop is stuck until the end of ctx.
func (d driver) answer(ctx context.Context) error {
	if d.group == nil {
		return nil
	}
	return d.group.Answer(ctx)
}

// close waits for the last session.
func (d driver) close() {
	if d.group != nil {
		d.group.Close()
	}
}
