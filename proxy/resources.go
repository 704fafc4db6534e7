package proxy

import (
	"math"
	runtimemetrics "runtime/metrics"
)

// memory is measured against GOMEMLIMIT.
func memory() *resource {
	m := newMemoryMeter()
	return &resource{name: "memory", measure: m.measure, victims: m.victims, outdated: m.outdated}
}

// A memoryMeter reads what the runtime says of itself.
type memoryMeter struct {
	samples [numSamples]runtimemetrics.Sample
	cycle   uint64 // of the garbage collector, when sessions were last closed
	known   census
}

const (
	sampleLimit = iota
	sampleCycles
	sampleLive
	sampleTotal
	sampleFree
	sampleObjects
	sampleReleased
	sampleUnused
	numSamples
)

func newMemoryMeter() *memoryMeter {
	m := &memoryMeter{}
	for i, name := range [...]string{
		sampleLimit: "/gc/gomemlimit:bytes", sampleCycles: "/gc/cycles/total:gc-cycles", sampleLive: "/gc/heap/live:bytes",
		sampleTotal: "/memory/classes/total:bytes", sampleFree: "/memory/classes/heap/free:bytes", sampleObjects: "/memory/classes/heap/objects:bytes",
		sampleReleased: "/memory/classes/heap/released:bytes", sampleUnused: "/memory/classes/heap/unused:bytes",
	} {
		m.samples[i].Name = name
	}
	return m
}

// measure counts what the latest garbage collection found alive, and what is no
// heap. Garbage does not count: it may well fill the memory up to the limit,
// before the next collection takes it away.
func (m *memoryMeter) measure() usage {
	runtimemetrics.Read(m.samples[:])
	value := func(i int) uint64 { return m.samples[i].Value.Uint64() }
	heap := value(sampleFree) + value(sampleObjects) + value(sampleReleased) + value(sampleUnused)
	limit := value(sampleLimit)
	if limit == math.MaxInt64 {
		limit = 0
	}
	return usage{used: value(sampleLive) + value(sampleTotal) - min(heap, value(sampleTotal)), limit: limit}
}

// victims is a share of the sessions, as large as that of the memory that must
// become free. What it brings, only a garbage collection tells.
func (m *memoryMeter) victims(u usage, sessions int) int {
	if cycle := m.samples[sampleCycles].Value.Uint64(); cycle != m.cycle {
		m.cycle = cycle
		return int(math.Ceil(u.excess() / u.share() * float64(sessions)))
	}
	return 0
}

// outdated reports whether a tenth of the sessions that the latest garbage
// collection has seen is gone. Where few clients come, as while they are refused,
// it may be minutes until the next one.
func (m *memoryMeter) outdated(sessions int) bool {
	return m.known.shrunk(m.samples[sampleCycles].Value.Uint64(), sessions)
}

// A census is how many sessions there were in a cycle of the garbage collector.
type census struct {
	cycle          uint64
	sessions, last int
}

// shrunk takes note of how many there are and reports whether they are fewer by
// a tenth than there were in this cycle.
func (c *census) shrunk(cycle uint64, sessions int) bool {
	if cycle != c.cycle { // since it was last looked at: so many may have been there
		c.cycle, c.sessions = cycle, c.last
	}
	c.sessions, c.last = max(c.sessions, sessions), sessions
	return sessions < c.sessions-c.sessions/10
}

// descriptors are measured against RLIMIT_NOFILE.
func descriptors() *resource {
	return &resource{name: "descriptors", measure: openDescriptors, victims: func(u usage, _ int) int {
		return int(math.Round(u.excess()*float64(u.limit)+1)) / 2 // a session has two
	}}
}
