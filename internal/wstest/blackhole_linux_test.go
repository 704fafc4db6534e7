package wstest

import (
	"net"
	"testing"
	"time"
)

func TestBlackHoleHoldsConnects(t *testing.T) {
	conn, err := net.DialTimeout("tcp", BlackHole(t), 300*time.Millisecond)
	if err == nil {
		conn.Close()
		t.Fatal("connected")
	}
	if nerr, ok := err.(net.Error); !ok || !nerr.Timeout() {
		t.Errorf("error %v, want a time-out", err)
	}
}

func TestUpstreamStopsReading(t *testing.T) {
	rec := NewRecorder(t, Accept())
	c := Dial(t, rec.Addr())
	c.Upgrade(HS0("/ws"))
	u := rec.Wait("/ws")
	u.StopReading()
	frame := ClientFrame(0x82, make([]byte, 1000))
	const frames = 20_000 // 20 MB are more than the buffers of both kernels' ends and one read
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range frames {
			if c.Send(frame) != nil {
				return
			}
		}
	}()
	select {
	case <-done:
		t.Error("a deaf upstream took everything")
	case <-time.After(300 * time.Millisecond):
	}
	u.ReadOn()
	u.WaitBody(Patience, "all frames", func(b []byte) bool { return len(b) == frames*len(frame) })
	<-done
}
