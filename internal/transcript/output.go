package transcript

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/framegate/framegate/proxy/relay"
)

// An Event is something that reached a peer.
type Event struct {
	At   time.Duration // since the session began
	Kind relay.OpKind  // Write, HalfClose, Close or Abort
	Data []byte        // of Write
}

// A receiver says what a peer got.
type receiver struct {
	side    relay.Side
	pending []byte // the start of a frame
	shown   int    // of its payload, -1 where its header was not complete
	over    string // how the connection ended
}

// A remark is one output line, without its indentation.
type remark struct {
	at   time.Duration
	text string
}

// merged returns events with what was written at one moment in one piece.
func merged(events []Event) (all []Event) {
	for _, e := range events {
		if n := len(all) - 1; n >= 0 && e.Kind == relay.Write && all[n].Kind == relay.Write && e.At == all[n].At {
			all[n].Data = append(all[n].Data, e.Data...)
		} else {
			all = append(all, e)
		}
	}
	return all
}

// take turns events into remarks.
func (r *receiver) take(events []Event) []remark {
	var all []remark
	events = merged(events)
	note := func(at time.Duration, format string, args ...any) {
		all = append(all, remark{at, fmt.Sprintf("%v< ", r.side) + fmt.Sprintf(format, args...)})
	}
	var at time.Duration
	for i, e := range events {
		if i > 0 && e.At != at {
			r.partial(at, note)
		}
		at = e.At
		if r.over == "closed" || r.over == "reset" {
			note(at, "MORE AFTER IT WAS %s", r.over)
		}
		switch e.Kind {
		case relay.Write:
			if r.over != "" {
				note(at, "BYTES AFTER %s", r.over)
			}
			r.bytes(e, note)
		case relay.HalfClose:
			r.over = "half-close"
		case relay.Close:
			r.over = "closed"
		case relay.Abort:
			r.over = "reset"
		}
		if e.Kind != relay.Write {
			r.partial(at, note)
			note(at, "%s", r.over)
		}
	}
	r.partial(at, note)
	return all
}

// bytes notes the frames that a write completes.
func (r *receiver) bytes(e Event, note func(time.Duration, string, ...any)) {
	r.pending = append(r.pending, e.Data...)
	for {
		f, ok := Parse(r.pending)
		if !ok || !f.Complete() {
			return
		}
		text := r.frame(&f)
		if r.shown != 0 {
			text = "... " + text
		}
		note(e.At, "%s", text)
		r.pending, r.shown = r.pending[len(f.Raw):], 0
	}
}

// partial notes how far an incomplete frame has come.
func (r *receiver) partial(at time.Duration, note func(time.Duration, string, ...any)) {
	f, ok := Parse(r.pending)
	switch {
	case len(r.pending) == 0 || len(r.pending) == r.shown:
		return
	case !ok:
		note(at, "part of a header: % x", r.pending)
	case r.shown == 0:
		f.Payload = nil
		note(at, "%s %d of %d bytes", strings.TrimSuffix(r.frame(&f), ` ""`), payloadOf(r.pending), f.Length)
	default:
		note(at, "... %d of %d bytes", payloadOf(r.pending), f.Length)
	}
	r.shown = len(r.pending)
}

func payloadOf(b []byte) int {
	f, _ := Parse(b)
	return len(f.Payload)
}

// frame writes a frame down as it would be an input.
func (r *receiver) frame(f *Frame) string {
	text := "op=" + strconv.Itoa(int(f.Op))
	for name, op := range ops() {
		if op == f.Op {
			text = name
		}
	}
	if !f.Fin {
		text += " nofin"
	}
	for i := range 3 {
		if f.RSV&(4>>i) != 0 {
			text += " rsv" + strconv.Itoa(i+1)
		}
	}
	switch {
	case !f.Minimal():
		text += fmt.Sprintf(" len%d", 8*f.Form)
	case f.Masked && r.side == relay.Client:
		text += " masked"
	case !f.Masked && r.side == relay.Upstream:
		text += " unmasked"
	}
	if f.Masked {
		text += fmt.Sprintf(" key=%x", f.Key)
	}
	p := f.Payload
	if f.Op == 8 && len(p) >= 2 {
		text += " " + strconv.Itoa(int(binary.BigEndian.Uint16(p)))
		p = p[2:]
	}
	if f.Op == 8 && len(p) == 0 {
		return text
	}
	return text + " " + payload(p)
}

// payload writes a payload down, a long one by its size.
func payload(p []byte) string {
	switch {
	case len(p) <= 64:
		return strconv.Quote(string(p))
	case string(p) == string(Filler(len(p))):
		return "size=" + strconv.Itoa(len(p))
	}
	return fmt.Sprintf("%.20q... (%d bytes, CRC-32 %08x)", p, len(p), crc32.ChecksumIEEE(p))
}
