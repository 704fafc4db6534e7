package reactor

import (
	"math/bits"
	"time"
)

// wheelTick is how late a deadline may be, in a loop that has nothing else to
// do.
const wheelTick = 50 * time.Millisecond

const (
	wheelBits   = 6
	wheelSlots  = 1 << wheelBits
	wheelLevels = 4 // at 50 ms: 3.2 s, 3.4 min, 3.6 h, 9.7 days; what is later waits in the last one
)

// A timer is an entry of a wheel. It is part of what it belongs to, so setting
// it allocates nothing.
type timer struct {
	owner      *session
	at         int64 // tick at which it fires; 0 where it is not set
	level      int8
	slot       int8
	next, prev *timer
}

// A wheel holds timers in slots of growing width. A tick costs what fires on
// it, and once in 64 ticks what moves down from the next level: never a walk
// over all timers.
type wheel struct {
	tick     time.Duration
	now      int64 // tick that was reached
	slots    [wheelLevels][wheelSlots]*timer
	occupied [wheelLevels]uint64 // a bit per slot that is not empty
}

// before is the last tick that is not after d, and after the first one that is
// not before it. at is the time of a tick.
func (w *wheel) before(d time.Duration) int64 { return int64(d / w.tick) }
func (w *wheel) after(d time.Duration) int64  { return int64((d + w.tick - 1) / w.tick) }
func (w *wheel) at(tick int64) time.Duration  { return time.Duration(tick) * w.tick }

// set makes t fire at a tick, or at the next one where that has passed.
func (w *wheel) set(t *timer, at int64) {
	w.stop(t)
	t.at = max(at, w.now+1)
	w.insert(t)
}

// stop keeps t from firing.
func (w *wheel) stop(t *timer) {
	if t.at == 0 {
		return
	}
	t.at = 0
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else if w.slots[t.level][t.slot] = t.next; t.next == nil {
		w.occupied[t.level] &^= 1 << t.slot
	}
	t.next, t.prev = nil, nil
}

// insert puts t into the finest level whose span, from now, holds its tick.
func (w *wheel) insert(t *timer) {
	level := 0
	for level < wheelLevels-1 && t.at>>(wheelBits*level) >= w.now>>(wheelBits*level)+wheelSlots {
		level++
	}
	at := t.at >> (wheelBits * level)
	at = min(at, w.now>>(wheelBits*level)+wheelSlots-1) // beyond the last level: it is looked at again there
	slot := at & (wheelSlots - 1)
	t.level, t.slot = int8(level), int8(slot)
	t.next, t.prev = w.slots[level][slot], nil
	if t.next != nil {
		t.next.prev = t
	}
	w.slots[level][slot] = t
	w.occupied[level] |= 1 << slot
}

// advance moves to a tick and calls fire for each timer on the way, which is
// not set any more then. fire may set and stop timers.
func (w *wheel) advance(to int64, fire func(*timer)) {
	for w.now < to {
		// What has no timer before is passed over at once.
		if next := w.next(); next > to {
			w.now = to
			return
		} else if next > w.now+1 {
			w.now = next - 1
		}
		w.now++
		for level := wheelLevels - 1; level > 0; level-- {
			if w.now&(1<<(wheelBits*level)-1) == 0 {
				w.cascade(level)
			}
		}
		slot := &w.slots[0][w.now&(wheelSlots-1)]
		for *slot != nil {
			t := *slot
			w.stop(t)
			fire(t)
		}
	}
}

// cascade moves the timers of a level's present slot to finer ones.
func (w *wheel) cascade(level int) {
	slot := &w.slots[level][w.now>>(wheelBits*level)&(wheelSlots-1)]
	for list := *slot; list != nil; list = *slot {
		at := list.at
		w.stop(list)
		list.at = at
		w.insert(list)
	}
}

const noTick = int64(1)<<62 - 1

// next returns the next tick at which something fires or moves down, or noTick.
func (w *wheel) next() int64 {
	next := noTick
	for level := range wheelLevels {
		if w.occupied[level] == 0 {
			continue
		}
		shift := wheelBits * level
		now := w.now >> shift
		// Distance from the slot after the present one, round the wheel.
		turned := bits.RotateLeft64(w.occupied[level], -int(now+1)&(wheelSlots-1))
		next = min(next, (now+1+int64(bits.TrailingZeros64(turned)))<<shift)
	}
	return next
}
