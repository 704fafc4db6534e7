package stream_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/proxy/stream"
)

// halfPipe is a net.Pipe with the half-close and the reset that it lacks: both end it.
type halfPipe struct{ net.Conn }

func (p halfPipe) CloseWrite() error { return p.Close() }
func (p halfPipe) Abort() error      { return p.Close() }

func TestRunRelaysAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := relay.Defaults()
		limits.Random = func() [4]byte { return [4]byte{0xf0, 0, 0, 1} }
		client, clientEnd := net.Pipe()
		upstream, upstreamEnd := net.Pipe()
		d := stream.New(relay.New(&limits, nil, time.Now()), halfPipe{clientEnd}, halfPipe{upstreamEnd}, nil)
		result := make(chan relay.Result, 1)
		go func() { result <- d.Run([2][]byte{}) }()

		key := [4]byte{1, 2, 3, 4}
		sent := frame.Append(nil, frame.OpText, []byte("hi"), &key)
		sent = frame.AppendClose(sent, 4321, "bye", &key)
		go client.Write(sent)
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(upstream, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("the upstream got %x, %v, want %x", got, err, sent)
		}
		answer := frame.AppendClose(nil, 4321, "bye", nil)
		go func() {
			upstream.Write(answer)
			upstream.Close()
		}()
		if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, answer) {
			t.Errorf("the client got %x, %v, want %x", got, err, answer)
		}
		client.Close()
		if r := <-result; r.Cause != relay.PeerClosed || r.By != relay.Client || r.Closed != 4321 {
			t.Errorf("the session ended with %+v", r)
		}
	})
}
