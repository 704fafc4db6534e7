package upstream

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A watch is what runs beside a pool while it is attached: a check of each server now and then, and a lookup of each name. The pool owns all of
// it: Detach ends it and waits for it.
type watch struct {
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu       sync.Mutex                 // held while the servers of the pool are replaced
	checkers map[Key]context.CancelFunc // of the servers that are checked
}

// begin starts the watch of an attached pool.
func (p *Pool) begin(now time.Time) {
	w := &p.watch
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.checkers = map[Key]context.CancelFunc{}
	p.refresh(now)
	for _, sp := range p.listed {
		if name := sp.target.find; name.Host != "" {
			w.tasks.Go(func() { p.findLoop(sp) })
		}
	}
}

// end ends it.
func (w *watch) end() {
	w.cancel()
	w.tasks.Wait()
}

// refresh takes over what has been found of the pool's names.
func (p *Pool) refresh(now time.Time) {
	w := &p.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if specs := p.specs(); p.current.Load() == nil || !slices.Equal(specs, p.current.Load().specs) {
		p.setServers(specs, now)
	}
	if p.settings.checks != nil {
		w.check(p, p.Servers())
	}
}

// check starts the checks of servers that have none, and ends those of others.
func (w *watch) check(p *Pool, servers []*Server) {
	listed := map[Key]bool{}
	for _, s := range servers {
		key := s.Key()
		listed[key] = true
		if w.checkers[key] == nil {
			ctx, cancel := context.WithCancel(w.ctx)
			w.checkers[key] = cancel
			w.tasks.Go(func() { p.checkLoop(ctx, s) })
		}
	}
	for key, cancel := range w.checkers {
		if !listed[key] {
			cancel()
			delete(w.checkers, key)
		}
	}
}

// sleep waits, and returns false where ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func random() float64 { return rand.Float64() }
