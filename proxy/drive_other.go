//go:build !linux

package proxy

import (
	"context"
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/proxy/relay"
)

// A driver moves the bytes of sessions: here with two goroutines each.
type driver struct{}

func newDriver(string) (driver, error) { return driver{}, nil }

func (driver) wrap(c net.Conn) net.Conn { return c }

func (driver) take(*relay.Session, *connection, net.Conn, net.Conn, [2][]byte) (failer, bool) {
	return nil, false
}

func (driver) register(*prometheus.Registry) {}

func (driver) answer(context.Context) error { return nil }

func (driver) close() {}
