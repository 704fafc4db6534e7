package health

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/handshake"
)

const (
	userAgent = "framegate"
	maxBefore = 1 << 20 // bytes that a server may send before its pong
	goodbye   = time.Second
)

func (c *WebSocketConfig) compile(report Report) check {
	path, query := parseTarget(c.Path, report)
	checkHost(c.Host, report)
	checkValue(c.Origin, "origin", report)
	checkValue(c.Subprotocol, "subprotocol", report)
	return func(conn net.Conn, host string) error {
		o := &handshake.Offer{Authority: host, Path: path, RawQuery: query, Header: http.Header{"User-Agent": {userAgent}}}
		if c.Host != "" {
			o.Authority = c.Host
		}
		if c.Origin != "" {
			o.Header["Origin"] = []string{c.Origin}
		}
		if c.Subprotocol != "" {
			o.Subprotocols = []string{c.Subprotocol}
		}
		early, err := open(conn, o)
		if err != nil {
			return err
		}
		r := bufio.NewReader(io.LimitReader(io.MultiReader(bytes.NewReader(early), conn), maxBefore))
		if err := pingPong(conn, r); err != nil {
			return err
		}
		sayGoodbye(conn, r)
		return nil
	}
}

// open shakes hands and returns what the server sent behind its 101.
func open(conn net.Conn, o *handshake.Offer) (early []byte, err error) {
	key, err := handshake.NewKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(o.AppendRequest(nil, key, handshake.Forwarded{}, handshake.Off)); err != nil {
		return nil, fmt.Errorf("writing the handshake: %w", err)
	}
	reply, b, n, refusal := handshake.ReadReply(conn)
	if refusal != nil {
		return nil, fmt.Errorf("no valid answer: %s", refusal.Detail)
	}
	if reply.Status != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("answered %d, want 101", reply.Status)
	}
	agreed, refusal := o.Verify(key, reply)
	if refusal != nil {
		return nil, fmt.Errorf("no valid answer: %s", refusal.Detail)
	}
	if len(o.Subprotocols) > 0 && agreed.Subprotocol == "" {
		return nil, fmt.Errorf("did not agree to the subprotocol %q", o.Subprotocols[0])
	}
	return b[n:], nil
}

// pingPong sends a ping and waits for its pong (RFC 6455 §5.5.3). What the server says of its own accord is passed over.
func pingPong(conn net.Conn, r *bufio.Reader) error {
	var payload [8]byte
	rand.Read(payload[:]) // never fails
	if _, err := conn.Write(frame.Append(nil, frame.OpPing, payload[:], mask())); err != nil {
		return fmt.Errorf("writing the ping: %w", err)
	}
	for {
		h, err := readHeader(r)
		if err != nil {
			return fmt.Errorf("waiting for the pong: %w", err)
		}
		switch {
		case h.OpCode == frame.OpClose:
			return errors.New("closed before the pong")
		case h.OpCode == frame.OpPong && h.Length == int64(len(payload)):
			var got [len(payload)]byte
			if _, err := io.ReadFull(r, got[:]); err != nil {
				return fmt.Errorf("reading the pong: %w", err)
			}
			if got == payload {
				return nil
			}
		default:
			if _, err := io.CopyN(io.Discard, r, h.Length); err != nil {
				return fmt.Errorf("waiting for the pong: %w", err)
			}
		}
	}
}

// sayGoodbye closes in order, so that the server logs no broken connection: a Close, and a moment for its answer. The server has shown that it
// works, so how it answers does not matter.
func sayGoodbye(conn net.Conn, r *bufio.Reader) {
	if _, err := conn.Write(frame.AppendClose(nil, 1000, "", mask())); err != nil {
		return
	}
	conn.SetReadDeadline(time.Now().Add(goodbye))
	for {
		h, err := readHeader(r)
		if err != nil || h.OpCode == frame.OpClose {
			return
		}
		if _, err := io.CopyN(io.Discard, r, h.Length); err != nil {
			return
		}
	}
}

// readHeader reads the header of a server's frame.
func readHeader(r *bufio.Reader) (frame.Header, error) {
	var p frame.Parser
	for {
		b, err := r.ReadByte()
		if err != nil {
			return frame.Header{}, err
		}
		h, _, _, done, v := p.Next([]byte{b})
		switch {
		case v != nil:
			return h, v
		case done && h.Masked:
			return h, frame.ErrMasked
		case done:
			return h, nil
		}
	}
}

// mask returns an unpredictable masking key (RFC 6455 §5.3).
func mask() *[4]byte {
	var key [4]byte
	rand.Read(key[:]) // never fails
	return &key
}
