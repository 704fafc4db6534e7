package proxy

import (
	"crypto/tls"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

// A prepared generation of the configuration was validated whole, and bound
// where it needs the system. Nothing of it runs.
type prepared struct {
	site   *site
	opened []*listener // that only it has
	confs  []*tls.Config
}

// Reload puts another configuration in the place of the one that holds. It is
// validated whole before: after an error, which tells of all mistakes, nothing
// has changed. Requests that are under way end with what they began with.
func (s *Server) Reload(cfg *Config) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if s.leaving.Load() || s.ctx.Err() != nil {
		return ErrLeaving
	}
	old := s.site.Load()
	if s.retired.Load() {
		cfg = cfg.listeningAs(old.cfg)
	}
	if errs := needsRestart(old.cfg, cfg); len(errs) > 0 {
		return errs.Err()
	}
	c, err := s.prepare(cfg, old)
	if err != nil {
		s.keys.Start(old.keys) // forgets those that were made in vain
		return err
	}
	s.commit(c, old)
	return nil
}

// needsRestart lists what cannot change while the gateway runs.
func needsRestart(old, cfg *Config) (errs strictyaml.Errors) {
	for _, row := range []struct {
		path     string
		old, new any
	}{
		{"admin.address", old.Admin.Address, cfg.Admin.Address},
		{"redis", old.Redis, cfg.Redis},
		{"driver", old.Driver, cfg.Driver},
		{"log.format", old.Log.Format, cfg.Log.Format},
		{"tls", old.TLS, cfg.TLS},
		{"revocation.ttl", old.Revocation.TTL, cfg.Revocation.TTL},
	} {
		if !reflect.DeepEqual(row.old, row.new) {
			errs = append(errs, cfg.errorAt(row.path, "%s has changed, which needs a restart", row.path))
		}
	}
	return errs
}

// prepare compiles a configuration and opens what it listens on. old is the
// site that holds now, nil for none. An error leaves nothing behind.
func (s *Server) prepare(cfg *Config, old *site) (_ *prepared, err error) {
	var errs strictyaml.Errors
	keys := keySets{cache: s.keys}
	st := compile(cfg, s.shared.of(cfg, keys.source, old), func(path, format string, args ...any) {
		errs = append(errs, cfg.errorAt(path, format, args...))
	}, ignore)
	if len(errs) > 0 {
		st.policies.Close()
		return nil, errs
	}
	s.stickyKey(st)
	st.generation, st.keys = 1, keys.live
	if cfg.files != nil {
		st.digest = cfg.loaded(nil).Digest
	}
	if old != nil {
		st.generation = old.generation + 1
	}
	c := &prepared{site: st}
	defer func() {
		if err != nil {
			s.undo(c)
		}
	}()
	st.doors = map[*listener]*door{}
	var free []*listener // of old
	if old != nil {
		free = slices.Clone(old.listeners)
	}
	for _, conf := range cfg.Listeners {
		d, err := s.door(c, conf, old)
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", conf.Address, err)
		}
		l := (*listener)(nil)
		if i := slices.IndexFunc(free, func(l *listener) bool { return l.address == conf.Address }); i >= 0 {
			l = free[i]
			free = slices.Delete(free, i, i+1)
			if (l.http3 != nil) != slices.Contains(conf.Protocols, protocolHTTP3) {
				return nil, fmt.Errorf("listener %s: protocols has h3 added or removed, which needs a restart", conf.Address)
			}
		} else if l, err = newListener(s, conf); err != nil {
			return nil, fmt.Errorf("listener %s: %w", conf.Address, err)
		} else {
			c.opened = append(c.opened, l)
		}
		st.listeners, st.doors[l] = append(st.listeners, l), d
		d.secure(&st.router)
	}
	st.identity = st.identityFields()
	return c, nil
}

// door compiles what holds for a listener. Where nothing has changed the
// certificates are those of before, so that clients can resume their TLS
// sessions.
func (s *Server) door(c *prepared, cfg ListenerConfig, old *site) (*door, error) {
	d := &door{cfg: cfg, auth: compileClientAuth(cfg.ClientAuth, ignore), proxies: compileProxies(&cfg, ignore), trusted: compileNetworks(cfg.TrustedProxies, "", ignore), entrance: compileEntrance(&cfg, ignore)}
	if old != nil && slices.Equal(old.hosts, c.site.hosts) {
		for _, o := range old.doors {
			if o.cfg.Address == cfg.Address && reflect.DeepEqual(o.cfg.TLS, cfg.TLS) && slices.Equal(o.cfg.Protocols, cfg.Protocols) {
				d.tls = o.tls
				return d, nil
			}
		}
	}
	conf, err := s.certs.Listener(cfg.TLS, c.site.hosts, cfg.Protocols...)
	if err != nil {
		return nil, err
	}
	c.confs, d.tls = append(c.confs, conf), conf
	return d, nil
}

// undo gives back what prepare took.
func (s *Server) undo(c *prepared) {
	for _, l := range c.opened {
		l.close()
	}
	for _, conf := range c.confs {
		s.certs.Forget(conf)
	}
	c.site.policies.Close()
}

// commit lets a change hold: it cannot fail. It is done with one pointer, so
// that nobody sees half of it.
func (s *Server) commit(c *prepared, old *site) {
	st, now := c.site, time.Now()
	st.measure(s.metrics)
	st.attach(s.upstreams, old, now)
	s.connections.SetMax(int64(st.cfg.Limits.Connections))
	s.handshakes.SetRate(now, st.cfg.handshakes())
	s.waitlist.setMax(st.cfg.Limits.Waiting)
	s.shared.policies.Revoked.SetMax(st.cfg.Revocation.Max)
	for l, d := range st.doors {
		l.count.SetMax(int64(d.cfg.MaxConnections))
	}
	s.startCertificates(st)
	s.site.Store(st)
	s.reload.holds(st)
	s.drains.forget(st)
	s.keys.Start(st.keys)
	setLevel(s.log, st.cfg.Log)
	for _, l := range c.opened {
		s.listen(l, st.doors[l])
	}
	s.retire(old, st)
	s.reviewAll(st)
}

// retire ends what a site had and its successor has not.
func (s *Server) retire(old, st *site) {
	for _, l := range old.listeners {
		if st.doors[l] == nil {
			s.unlisten(l)
		}
	}
	used := map[*tls.Config]bool{}
	for _, d := range st.doors {
		used[d.tls] = true
	}
	for _, d := range old.doors {
		if !used[d.tls] {
			s.certs.Forget(d.tls)
		}
	}
	old.detach(st)
	old.retire()
}

// unlisten closes a listener. Requests that it is answering may end.
func (s *Server) unlisten(l *listener) {
	l.close()
	s.log.Info("listening no more", "address", l.ln.Addr().String())
	s.unlistened.Go(func() { l.wait(s.ctx) })
}
