package tlsmgr

import (
	"sync"
	"time"
)

// notices keep the log readable where clients decide how often something happens.
type notices struct {
	now func() time.Time

	mu   sync.Mutex
	last map[string]time.Time
}

func newNotices(now func() time.Time) *notices {
	return &notices{now: now, last: map[string]time.Time{}}
}

// say calls log unless it did so for this key within the last ten seconds. There are a handful of keys.
func (n *notices) say(key string, log func()) { n.every(10*time.Second, key, log) }

// daily calls log once a day for each key.
func (n *notices) daily(key string, log func()) { n.every(24*time.Hour, key, log) }

func (n *notices) every(pause time.Duration, key string, log func()) {
	now := n.now()
	n.mu.Lock()
	last, ok := n.last[key]
	due := !ok || now.Sub(last) >= pause
	if due {
		n.last[key] = now
	}
	n.mu.Unlock()
	if due {
		log()
	}
}
