package reactor

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/internal/transcript"
)

// A clockwork is a wheel and the naive model that it must be equal to: all
// timers in one list.
type clockwork struct {
	t      *testing.T
	wheel  wheel
	timers []timer
	due    []int64 // of each timer: the tick at which it fires, 0 where it is not set
	fired  int
	onFire func(i int) // changes timers while one fires
}

func newClockwork(t *testing.T, n int) *clockwork {
	return &clockwork{t: t, wheel: wheel{tick: wheelTick}, timers: make([]timer, n), due: make([]int64, n), onFire: func(int) {}}
}

func (c *clockwork) set(i int, at int64) {
	c.wheel.set(&c.timers[i], at)
	c.due[i] = max(at, c.wheel.now+1)
}

func (c *clockwork) stop(i int) {
	c.wheel.stop(&c.timers[i])
	c.due[i] = 0
}

// advance lets time pass, and demands that each timer fires on its tick and no
// other does.
func (c *clockwork) advance(to int64) {
	c.t.Helper()
	from := c.wheel.now
	c.wheel.advance(to, func(x *timer) {
		i := indexOf(c.timers, x)
		if c.due[i] != c.wheel.now || c.wheel.now <= from || c.wheel.now > to {
			c.t.Fatalf("timer %d fires on tick %d of %d to %d, want %d", i, c.wheel.now, from, to, c.due[i])
		}
		if x.at != 0 {
			c.t.Fatalf("timer %d fires and is still set, for %d", i, x.at)
		}
		c.due[i] = 0
		c.fired++
		c.onFire(i)
	})
	if c.wheel.now != max(from, to) {
		c.t.Fatalf("advanced from %d to %d, and it is %d", from, to, c.wheel.now)
	}
}

// check compares what is set with the model, and demands that the wheel wakes
// up in time for the next timer, and not for nothing.
func (c *clockwork) check() {
	c.t.Helper()
	first := noTick
	for i := range c.timers {
		at := c.due[i]
		if at != c.timers[i].at {
			c.t.Fatalf("at %d timer %d is set for %d, want %d", c.wheel.now, i, c.timers[i].at, at)
		}
		if at == 0 {
			continue
		}
		if at <= c.wheel.now {
			c.t.Fatalf("at %d timer %d has not fired at %d", c.wheel.now, i, at)
		}
		first = min(first, at)
	}
	next := c.wheel.next()
	if next <= c.wheel.now || next > first || (next == noTick) != (first == noTick) {
		c.t.Fatalf("at %d the next tick is %d, and the first timer's %d", c.wheel.now, next, first)
	}
}

// distances are where a timer crosses from one level to the next, and beyond
// the last one.
func distances() []int64 {
	all := []int64{-5, 0, 1, 2, 50}
	for level := 1; level <= wheelLevels+1; level++ {
		span := int64(1) << (wheelBits * level)
		all = append(all, span-1, span, span+1, span+span/2, 63*span)
	}
	return all
}

// FuzzWheel sets, resets and stops timers at any distance, also while they
// fire, and lets any time pass.
func FuzzWheel(f *testing.F) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		b := make([]byte, 10+random.IntN(400))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := transcript.Program(data)
		c := newClockwork(t, 12)
		change := func() {
			i := p.Next() % len(c.timers)
			if p.Next()%4 == 0 {
				c.stop(i)
			} else {
				c.set(i, c.wheel.now+transcript.Pick(&p, distances()...)+int64(p.Next()%3))
			}
		}
		c.onFire = func(i int) {
			switch p.Next() % 4 {
			case 3:
				c.set(i, c.wheel.now+int64(p.Next()%3)) // itself, and at once
			case 1:
				change()
			}
		}
		for len(p) > 0 {
			for range p.Next() % 5 {
				change()
			}
			c.check()
			c.advance(c.wheel.now + transcript.Pick(&p, distances()...))
			c.check()
		}
	})
}

// TestWheelResetWhileFiring sets a timer from its own firing again and again:
// it fires once on each tick, and the wheel comes to its end.
func TestWheelResetWhileFiring(t *testing.T) {
	c := newClockwork(t, 2)
	c.onFire = func(i int) { c.set(i, c.wheel.now) } // which is past: the next tick
	c.set(0, 1)
	c.advance(1000)
	if c.fired != 1000 {
		t.Errorf("fired %d times in 1000 ticks", c.fired)
	}
	// One that fires stops the other one of its tick.
	c.fired, c.onFire = 0, func(i int) { c.stop(1 - i) }
	c.set(0, 1001)
	c.set(1, 1001)
	c.advance(1001)
	c.check()
	if c.fired != 1 {
		t.Errorf("%d timers fired, want the one that stopped the other", c.fired)
	}
}

// TestWheelCascade follows one timer from the coarsest level down: each time
// that it is moved it goes to a finer level, so it is moved at most as often
// as there are levels.
func TestWheelCascade(t *testing.T) {
	for _, at := range []int64{63, 64, 4095, 4096, 262143, 262144, 16777215, 5_000_000} {
		c := newClockwork(t, 1)
		c.set(0, at)
		x, level, moves := &c.timers[0], c.timers[0].level, 0
		for c.fired == 0 {
			next := c.wheel.next()
			c.advance(next)
			if moves++; x.at != 0 && x.level >= level {
				t.Fatalf("a timer for %d is moved from level %d to %d at %d", at, level, x.level, next)
			}
			level = x.level
		}
		if c.wheel.now != at || moves > wheelLevels {
			t.Errorf("a timer for %d fires at %d, after %d wake-ups", at, c.wheel.now, moves)
		}
	}
}

// TestWheelBeyondItsSpan sets a timer for a time that no level holds.
func TestWheelBeyondItsSpan(t *testing.T) {
	c := newClockwork(t, 1)
	span := int64(1) << (wheelBits * wheelLevels)
	at := 5*span + 12345
	c.set(0, at)
	for wakes := 0; c.fired == 0; wakes++ {
		if wakes > 100 {
			t.Fatalf("at %d it has woken up %d times", c.wheel.now, wakes)
		}
		c.check()
		c.advance(c.wheel.next())
	}
	if c.wheel.now != at {
		t.Errorf("a timer for %d fires at %d", at, c.wheel.now)
	}
}

// TestMillionTimersCostWhatFires puts a million timers into memory that nobody
// may touch while ticks pass on which none of them fires: to look at one of
// them would be a fault. Then all of them fire, each on its tick.
func TestMillionTimersCostWhatFires(t *testing.T) {
	const many, quiet = 1_000_000, 1<<(3*wheelBits) - 1
	memory, err := unix.Mmap(-1, 0, many*int(unsafe.Sizeof(timer{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	timers := unsafe.Slice((*timer)(unsafe.Pointer(&memory[0])), many)
	w := wheel{tick: wheelTick}
	random := rand.New(rand.NewPCG(1, 2))
	due := make([]int64, many)
	for i := range timers {
		due[i] = quiet + 1 + random.Int64N(200_000) // within three hours, after 3.6 of quiet
		w.set(&timers[i], due[i])
	}

	protect(t, memory, unix.PROT_NONE)
	live := make([]timer, 10)
	fired := 0
	for i := range live {
		w.set(&live[i], int64(i+1))
	}
	for tick := int64(1); tick <= quiet; tick++ {
		w.advance(tick, func(x *timer) {
			fired++
			w.set(x, tick+1+random.Int64N(5000))
		})
	}
	protect(t, memory, unix.PROT_READ|unix.PROT_WRITE)
	if fired < 500 {
		t.Errorf("beside them only %d timers fired", fired)
	}
	for i := range live {
		w.stop(&live[i])
	}

	fired = 0
	w.advance(quiet+200_001, func(x *timer) {
		if at := due[indexOf(timers, x)]; w.now != at {
			t.Fatalf("a timer fires at %d, want %d", w.now, at)
		}
		fired++
	})
	if fired != many || w.next() != noTick {
		t.Errorf("%d timers have fired, want %d", fired, many)
	}
}

// indexOf is the place of x in all.
func indexOf(all []timer, x *timer) int {
	return int((uintptr(unsafe.Pointer(x)) - uintptr(unsafe.Pointer(&all[0]))) / unsafe.Sizeof(*x))
}

func protect(t *testing.T, memory []byte, how int) {
	t.Helper()
	if err := unix.Mprotect(memory, how); err != nil {
		t.Fatal(err)
	}
}

// TestWheelTimes converts between ticks and times: a timer is never early, and
// at most one tick late.
func TestWheelTimes(t *testing.T) {
	w := wheel{tick: wheelTick}
	for _, d := range []time.Duration{0, 1, wheelTick - 1, wheelTick, wheelTick + 1, 20 * time.Second, 24 * time.Hour} {
		at := w.at(w.after(d))
		if at < d || at >= d+wheelTick {
			t.Errorf("what is due after %v fires after %v", d, at)
		}
		if at := w.at(w.before(d)); at > d || at <= d-wheelTick {
			t.Errorf("after %v the tick of %v has been reached", d, at)
		}
	}
}
