package main_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// TestRowsPlainDesync lets an upstream's answer to one page hold more than one answer: no other client may ever get what is left of
// it (rule 1 and the rows S-05 and S-09, for plain requests).
func TestRowsPlainDesync(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: wstest.Page("own")})
	poison := string(wstest.Head("HTTP/1.1 200 OK", "Content-Length: 6")) + "poison"
	for name, answer := range map[string]string{
		"second answer":                  string(wstest.Head("HTTP/1.1 200 OK", "Content-Length: 2")) + "ok" + poison,
		"second answer behind chunks":    string(wstest.Head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")) + "2\r\nok\r\n0\r\n\r\n" + poison,
		"second answer behind 204":       string(wstest.Head("HTTP/1.1 204 No Content")) + poison,
		"second answer behind 304":       string(wstest.Head("HTTP/1.1 304 Not Modified", "Content-Length: 90")) + poison,
		"length and chunked":             string(wstest.Head("HTTP/1.1 200 OK", "Content-Length: 90", "Transfer-Encoding: chunked")) + "2\r\nok\r\n0\r\n\r\n" + poison,
		"length that is shorter":         string(wstest.Head("HTTP/1.1 200 OK", "Content-Length: 1")) + "ok" + poison,
		"an interim answer too many":     string(wstest.Head("HTTP/1.1 200 OK", "Content-Length: 2")) + "ok" + string(wstest.Head("HTTP/1.1 100 Continue")) + poison,
		"LF in the last chunk":           string(wstest.Head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")) + "2\r\nok\r\n0\n\n" + poison,
		"two lengths":                    string(wstest.Head("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 60")) + "ok" + poison,
		"length with a sign":             string(wstest.Head("HTTP/1.1 200 OK", "Content-Length: +2")) + "ok" + poison,
		"an unknown coding":              string(wstest.Head("HTTP/1.1 200 OK", "Transfer-Encoding: xchunked", "Content-Length: 2")) + "ok" + poison,
		"switching protocols for a page": string(wstest.Head(switching, "Upgrade: foo", "Connection: Upgrade")) + poison,
	} {
		t.Run("S-09/"+name, func(t *testing.T) {
			path := "/page/" + strings.ReplaceAll(name, " ", "-")
			g.up.Handle(path, wstest.Send([]byte(answer)))
			c := wstest.Dial(t, g.Addr)
			c.Send(wstest.Plain(path).Add("Connection: close").Bytes())
			if rest := c.ExpectEnd(5 * time.Second); bytes.Contains(rest, []byte("HTTP/1.1 200 OK\r\nContent-Length: 6")) {
				t.Errorf("the client got both answers: %q", rest)
			}
			var victims sync.WaitGroup
			for range 20 {
				c := wstest.Dial(t, g.Addr)
				victims.Go(func() {
					c.Send(page().Add("Connection: close").Bytes())
					if all, _ := c.Drain(wstest.Patience); !bytes.HasSuffix(all, []byte("own")) {
						t.Errorf("another client got %q, want its own page", all)
					}
				})
			}
			victims.Wait()
		})
	}
}

// TestRowsPlainThenUpgrade uses one connection for pages and then for a session: requests before the handshake change nothing.
func TestRowsPlainThenUpgrade(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: func(u *wstest.Upstream) {
		if u.Value("Upgrade") != "" {
			wstest.Echo(u)
		} else {
			wstest.Page("page")(u)
		}
	}})
	for name, before := range map[string]string{
		"one page":    string(page().Bytes()),
		"three pages": strings.Repeat(string(page().Bytes()), 3),
		"a post":      string(post("Content-Length: 5").Then("hello").Bytes()),
	} {
		for _, pipelined := range []bool{false, true} {
			t.Run(fmt.Sprintf("S-05/%s, pipelined %t", name, pipelined), func(t *testing.T) {
				c := wstest.Dial(t, g.Addr)
				pages := strings.Count(before, "HTTP/1.1\r\n")
				answers := func() {
					for range pages {
						if resp := c.Response(); resp.Status != 200 || string(resp.Body) != "page" {
							t.Fatalf("got %q %q", resp.Line, resp.Body)
						}
					}
				}
				if pipelined {
					c.Send([]byte(before), get().Bytes(), wstest.ClientFrame(0x81, []byte("early")))
					answers()
				} else {
					c.Send([]byte(before))
					answers()
					c.Send(get().Bytes(), wstest.ClientFrame(0x81, []byte("early")))
				}
				c.Accepted(get())
				c.ExpectFrame(0x81, []byte("early"))
			})
		}
	}
	t.Run("S-05/upgrade behind a page that was refused", func(t *testing.T) {
		c := wstest.Dial(t, g.Addr)
		c.Send(page().Add("X_Y: 1").Bytes(), get().Bytes())
		if resp := c.Response(); resp.Status != 400 {
			t.Errorf("got %q, want 400", resp.Line)
		}
		if rest := c.ExpectEnd(2 * time.Second); len(rest) > 0 {
			t.Errorf("the gateway went on: %q", rest)
		}
	})
}

// TestRowsEarlyData is the part of row T-10 that HTTP/1.1 has: a request that an intermediary took from TLS early data may have
// been replayed (RFC 8470 §5.2).
func TestRowsEarlyData(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: wstest.Page("page")})
	g.refuseAll(t, []refusal{
		{"T-10/upgrade", get().Add("Early-Data: 1"), status(425)},
		{"T-10/upgrade, lower case", get().Add("early-data: 1"), status(425)},
		{"T-10/upgrade, twice", get().Add("Early-Data: 1", "Early-Data: 1"), status(400, 425)},
		{"T-10/upgrade, other value", get().Add("Early-Data: 0"), status(425)},
		{"T-10/page", page().Add("Early-Data: 1"), status(425)},
		{"T-10/page, twice", page().Add("Early-Data: 0", "Early-Data: 1"), status(425)},
		{"T-10/page, other value", page().Add("Early-Data: 01"), status(425)},
	})
}
