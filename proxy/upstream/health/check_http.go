package health

import (
	"fmt"
	"net"

	"github.com/framegate/framegate/proxy/handshake"
)

func (c *TCPConfig) compile(Report) check {
	return func(net.Conn, string) error { return nil } // that there is a connection is all
}

func (c *HTTPConfig) compile(report Report) check {
	path, query := parseTarget(c.Path, report)
	checkHost(c.Host, report)
	want := StatusRange{200, 299}
	if c.Status != nil {
		want = *c.Status
	}
	target := path
	if query != "" {
		target += "?" + query
	}
	return func(conn net.Conn, host string) error {
		if c.Host != "" {
			host = c.Host
		}
		request := "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: " + userAgent + "\r\nAccept: */*\r\nConnection: close\r\n\r\n"
		if _, err := conn.Write([]byte(request)); err != nil {
			return fmt.Errorf("writing the request: %w", err)
		}
		reply, _, _, refusal := handshake.ReadReply(conn)
		if refusal != nil {
			return fmt.Errorf("no valid answer: %s", refusal.Detail)
		}
		if !want.Contains(reply.Status) {
			return fmt.Errorf("answered %d, want %s", reply.Status, want)
		}
		return nil
	}
}
