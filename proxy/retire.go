package proxy

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Warm gets what must be there before clients come, as far as that is not
// there. It returns once the gateway would be ready, or ctx ends: then the error
// says what was missing. It may be called before Start.
func (s *Server) Warm(ctx context.Context) error {
	s.keys.Start(s.site.Load().keys)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		reason, ok := s.ready()
		if ok {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("not ready in time: %s", reason)
		}
	}
}

// Retire is for a gateway whose place another process has taken, which accepts
// on the same listening sockets: see Sockets. It accepts no more connections,
// serves those that it has, also under configurations that it is reloaded with,
// and returns when all have ended. An error says that ctx ended before: Drain
// may follow.
func (s *Server) Retire(ctx context.Context) error {
	s.reloading.Lock() // a reload may be opening a listener
	s.retired.Store(true)
	listeners := s.listeners()
	for _, l := range listeners {
		l.close()
	}
	s.reloading.Unlock()
	if s.admin != nil {
		s.admin.close()
	}
	s.log.Info("retired", "connections", s.sessions.count())
	var requests sync.WaitGroup
	for _, l := range listeners {
		requests.Go(func() { l.finish(ctx) })
	}
	requests.Wait()
	return s.sessions.wait(ctx)
}

// listeningAs is the configuration for a retired gateway: it listens no more,
// and its requests under way have come by the listeners that it had.
func (cfg *Config) listeningAs(old *Config) *Config {
	c := *cfg
	c.Listeners, c.Admin = old.Listeners, old.Admin
	return &c
}
