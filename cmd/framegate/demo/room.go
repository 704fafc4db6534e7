package demo

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// historyLength is how many messages a newcomer is shown.
const historyLength = 20

// room is who is there and what was said last. Every event is queued to all members under its lock, so that all of them
// see one order.
type room struct {
	mu      sync.Mutex
	members []*member // in the order in which they came
	history []event   // at most historyLength, the oldest first
	lastAt  int64     // At of the last message; a page that comes back asks by it what it has missed
	guests  int       // how many names were made up
}

// join adds m under the wanted name or, when that is taken or empty, one near it, and welcomes it.
func (r *room) join(m *member, want string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.name = r.freeName(cleanName(want))
	r.broadcast(event{Type: eventJoin, Name: m.name})
	r.members = append(r.members, m)
	people := make([]string, len(r.members))
	for i, other := range r.members {
		people[i] = other.name
	}
	m.send(event{Type: eventWelcome, Name: m.name, People: people, History: r.history}.encode())
}

// leave takes m out, if it ever joined.
func (r *room) leave(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.members, m)
	if i < 0 {
		return
	}
	r.members = slices.Delete(r.members, i, i+1)
	r.broadcast(event{Type: eventLeave, Name: m.name})
}

func (r *room) say(m *member, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastAt = max(time.Now().UnixMilli(), r.lastAt+1)
	said := event{Type: eventMessage, Name: m.name, Text: text, At: r.lastAt}
	if len(r.history) == historyLength {
		r.history = slices.Delete(r.history, 0, 1)
	}
	r.history = append(r.history, said)
	r.broadcast(said)
}

func (r *room) rename(m *member, want string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want = cleanName(want)
	if want == "" {
		m.notice("A name needs at least one letter.")
		return
	}
	if want == m.name {
		return
	}
	old := m.name
	m.name = "" // so that its own old name does not stand in the way of another spelling
	m.name = r.freeName(want)
	r.broadcast(event{Type: eventRename, Name: old, To: m.name})
}

// broadcast queues e to all members. The caller holds the lock.
func (r *room) broadcast(e event) {
	b := e.encode()
	for _, m := range r.members {
		m.send(b)
	}
}

// freeName returns want, or want with the first number that makes it unique. The caller holds the lock.
func (r *room) freeName(want string) string {
	if want == "" {
		r.guests++
		want = fmt.Sprintf("guest %d", r.guests)
	}
	name := want
	for n := 2; r.taken(name); n++ {
		name = fmt.Sprintf("%s (%d)", want, n)
	}
	return name
}

func (r *room) taken(name string) bool {
	return slices.ContainsFunc(r.members, func(m *member) bool { return strings.EqualFold(m.name, name) })
}
