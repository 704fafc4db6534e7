package main_test

import (
	"net"
	"slices"
	"testing"

	"github.com/gobwas/ws"
)

// TestTraffic holds the soak test's own ends against each other: what has been sent right is accepted, and each fault is noticed.
func TestTraffic(t *testing.T) {
	changed := func(number uint64, payload []byte) []byte {
		if number == 3 {
			payload[len(payload)-1] ^= 1
		}
		return payload
	}
	right := func(_ uint64, payload []byte) []byte { return payload }
	tests := []struct {
		name   string
		sent   []uint64
		change func(uint64, []byte) []byte
		want   uint64 // messages accepted
	}{
		{"right", []uint64{0, 1, 2, 3, 4}, right, 5},
		{"one lost", []uint64{0, 1, 3, 4}, right, 2},
		{"one doubled", []uint64{0, 1, 1, 2}, right, 2},
		{"two exchanged", []uint64{0, 2, 1, 3}, right, 1},
		{"one changed", []uint64{0, 1, 2, 3, 4}, changed, 3},
	}
	for _, test := range tests {
		for _, fromClient := range []bool{true, false} {
			a, b := net.Pipe()
			sender, receiver := newLink(a, nil, fromClient, 7), newLink(b, nil, !fromClient, 7)
			sent := make(chan error, 1)
			go func() {
				for _, number := range test.sent {
					op, payload := sender.sends.message(number)
					if err := sender.sendMessage(op, test.change(number, payload), nil); err != nil {
						sent <- err
						return
					}
				}
				sent <- sender.sendClose(1000, "done")
			}()
			for {
				event, err := receiver.next()
				if err != nil {
					t.Fatalf("%s: %v", test.name, err)
				}
				if event.op == ws.OpClose || receiver.accept(event) != nil {
					break
				}
			}
			b.Close()
			err := <-sent
			if receiver.received != test.want {
				t.Errorf("%s: %d messages accepted, want %d", test.name, receiver.received, test.want)
			}
			if whole := test.want == uint64(len(test.sent)); whole && err != nil {
				t.Errorf("%s: sending: %v", test.name, err)
			}
		}
	}
}

func TestCuts(t *testing.T) {
	for size := range 20 {
		for n := 1; n < 8; n++ {
			places := cuts(size, n)
			if len(places) != n || places[n-1] != size || !slices.IsSorted(places) || places[0] < 0 {
				t.Fatalf("cuts(%d, %d) = %v", size, n, places)
			}
		}
	}
}
