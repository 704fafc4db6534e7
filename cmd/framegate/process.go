package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/framegate/framegate/proxy"
	"github.com/framegate/framegate/ratelimit"
	"github.com/framegate/framegate/tlsmgr"
)

// A process is one gateway and what the system has to say to it: signals, the
// service manager, the process whose place it takes, and the one that takes its
// place. All of that is taken in turn, by one loop.
type process struct {
	cfg     *proxy.Config                 // that holds
	load    func() (*proxy.Loaded, error) // nil: there is no file
	loaded  *proxy.Loaded                 // by it
	log     *slog.Logger
	sink    *proxy.LogSink        // of log
	pidFile string                // to be written; empty: none
	started func(s *proxy.Server) // called once it accepts connections; nil: nobody

	gateway   *proxy.Server
	watch     *tlsmgr.Watcher // of the configuration's files; nil without any
	read      string          // digest of what was read last, good or not
	manager   manager
	forebear  *forebear          // whose place it takes; nil: nobody's
	heir      *heir              // that takes its place; nil: none, or it has ended
	patience  <-chan time.Time   // with an heir that is not ready
	retire    context.CancelFunc // ends the retirement; nil: it has not begun
	retired   chan error         // how it has ended
	ended     chan struct{}      // closed when the gateway has ended; nil: nobody has told it to
	signalled bool               // by a signal
}

// What an heir says to its forebear, a line each, and what it is answered.
const (
	wordReady   = "ready"   // it could accept connections
	wordConsent = "go on"   // it is to
	wordServing = "serving" // it does
	wordReload  = "reload"  // it was told to, which concerns all who were before it
	wordDrain   = "drain"   // likewise
)

// run runs the gateway until somebody ends it.
func (p *process) run() error {
	signal.Ignore(syscall.SIGPIPE) // the connections outlive whoever reads the log
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, append([]os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP}, upgradeSignals...)...)
	defer signal.Stop(signals)
	if err := p.start(); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	defer p.manager.close()
	defer func() { p.watch.Close() }()
	for {
		select {
		case sig := <-signals:
			p.obey(sig)
		case word, ok := <-p.heir.words():
			p.hear(word, ok)
		case <-p.patience:
			p.patience = nil
			p.heir.kill("it was not ready in time")
		case err := <-p.retired:
			if p.retired = nil; err != nil {
				p.log.Info("retired for long enough", "deadline", time.Duration(p.cfg.Upgrade.Deadline).String())
			}
			p.end(atOnce(p.cfg.Drain))
		case r := <-p.gateway.ReloadRequests():
			r.Answer(p.reload())
		case <-p.watch.Changed():
			p.reread()
		case <-p.manager.watchdog():
			p.live()
		case <-p.ended:
			p.heir.leave()
			p.log.Info("stopped")
			return removePID(p.pidFile)
		}
	}
}

// live tells the watchdog that the gateway lives, if it does.
func (p *process) live() {
	if err := p.gateway.Healthy(); err != nil {
		p.log.Error("the watchdog is not told that all is well", "error", err.Error())
		return
	}
	p.manager.alive()
}

// start starts the gateway. Where it takes the place of another process, that
// one accepts connections until everything is there for this one to do so.
func (p *process) start() (err error) {
	sockets, forebear, err := inherit()
	if err != nil {
		return err
	}
	defer sockets.Close()
	if limit := limitMemory(); limit > 0 {
		p.log.Info("memory limit", "bytes", limit, "from", "control group")
	}
	if p.gateway, err = proxy.New(p.cfg, p.log, version(), sockets); err != nil {
		return err
	}
	p.gateway.CountDropped(p.sink)
	if p.forebear = forebear; forebear != nil {
		if err = p.takeOver(); err != nil {
			p.gateway.Close()
			return err
		}
	}
	for _, name := range sockets.Unused() {
		p.log.Warn("no listener is for this inherited socket", "socket", name)
	}
	if err = writePID(p.pidFile); err != nil {
		p.gateway.Close()
		return err
	}
	if p.loaded != nil {
		p.watch = tlsmgr.NewWatcher(p.log)
		p.follow(p.loaded)
	}
	p.gateway.Start()
	if p.loaded != nil {
		p.reread() // it may have changed before it was watched
	}
	forebear.tell(wordServing)
	p.manager = newManager(p.log)
	if forebear == nil { // else that one says who is the service now
		p.manager.ready()
	}
	if p.started != nil {
		p.started(p.gateway)
	}
	return nil
}

// takeOver tells the forebear that this process is ready, and waits for its
// consent: it may have lost its patience meanwhile.
func (p *process) takeOver() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(p.cfg.Upgrade.Timeout))
	defer cancel()
	if err := p.gateway.Warm(ctx); err != nil {
		return err
	}
	return p.forebear.ask()
}

// obey does what a signal asks for.
func (p *process) obey(sig os.Signal) {
	switch {
	case sig == syscall.SIGHUP:
		p.reload()
	case sig != syscall.SIGTERM && sig != os.Interrupt:
		p.upgrade()
	case p.signalled:
		p.log.Warn("ended by a second signal")
		p.sink.Close()
		os.Exit(exitOK)
	default:
		p.signalled = true
		p.forebear.tell(wordDrain)
		p.manager.stopping()
		if sig == os.Interrupt { // somebody waits at a terminal
			d := atOnce(p.cfg.Drain)
			d.Window, d.Rate = 0, ratelimit.Rate{}
			p.end(d)
			return
		}
		p.end(p.cfg.Drain)
	}
}

// atOnce is d without a delay, for who accepts no connections any more.
func atOnce(d proxy.DrainConfig) proxy.DrainConfig {
	d.Delay = 0
	return d
}

// end drains the gateway, once.
func (p *process) end(d proxy.DrainConfig) {
	if p.ended != nil {
		return
	}
	if p.retire == nil {
		p.heir.kill("the gateway ends")
	} else {
		p.retire()
		d = atOnce(d)
	}
	p.ended = make(chan struct{})
	retired := p.retired
	p.retired = nil
	go p.endLoop(retired, d)
}

// endLoop is the goroutine that ends the gateway. run waits for it.
func (p *process) endLoop(retired <-chan error, d proxy.DrainConfig) {
	if retired != nil {
		<-retired
	}
	p.gateway.Drain(context.Background(), d)
	p.gateway.Close()
	close(p.ended)
}

// reload reads the configuration again. After a mistake in it nothing changes.
func (p *process) reload() error {
	p.forebear.tell(wordReload)
	switch {
	case p.load == nil:
		return proxy.ErrNoFile
	case p.ended != nil:
		return proxy.ErrLeaving
	}
	p.manager.reloading()
	defer p.manager.ready()
	loaded, err := p.gateway.ReloadFrom(p.load)
	p.follow(loaded)
	if err == nil {
		p.cfg = loaded.Config
	}
	return err
}

// follow watches the files of a configuration that was read: of one that was
// rejected too, so that it is read again when it is mended.
func (p *process) follow(loaded *proxy.Loaded) {
	p.read = loaded.Digest
	p.watch.Watch(loaded.Files)
}

// reread reloads the configuration if it is another one than the one that was
// read last.
func (p *process) reread() {
	if p.ended != nil {
		return
	}
	if loaded, _ := p.load(); loaded.Digest != p.read {
		p.reload()
	}
}

// upgrade starts the program anew, to take this process's place. Until it can,
// nothing changes here.
func (p *process) upgrade() {
	if p.heir != nil || p.retire != nil || p.ended != nil {
		p.log.Warn("no upgrade: one is under way or done, or the gateway ends")
		return
	}
	h, err := startHeir(p.gateway)
	if err != nil {
		p.log.Error("upgrade failed", "error", err.Error())
		return
	}
	p.log.Info("upgrading", "pid", h.pid())
	p.heir, p.patience = h, time.After(time.Duration(p.cfg.Upgrade.Timeout))
}

// hear does what the heir says. ok is false once it has ended.
func (p *process) hear(word string, ok bool) {
	switch {
	case !ok && p.ended != nil:
		p.heir = nil
	case !ok && p.retire == nil:
		p.log.Error("upgrade failed", "pid", p.heir.pid(), "error", p.heir.fault())
		p.heir, p.patience = nil, nil
	case !ok:
		p.log.Error("the process that has taken this one's place has ended", "pid", p.heir.pid(), "how", p.heir.fault())
		p.heir = nil
	case word == wordReady && p.patience != nil:
		p.patience = nil
		p.heir.consent()
	case word == wordServing && p.retire == nil:
		p.log.Info("upgraded", "pid", p.heir.pid())
		p.manager.succeededBy(p.heir.pid())
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(p.cfg.Upgrade.Deadline))
		p.retire, p.retired = cancel, make(chan error, 1)
		go p.retireLoop(ctx, p.retired)
	case word == wordReload:
		p.reload()
	case word == wordDrain:
		p.forebear.tell(wordDrain)
		p.end(p.cfg.Drain)
	}
}

// retireLoop is the goroutine that serves the connections which there are still.
// run or endLoop waits for it.
func (p *process) retireLoop(ctx context.Context, retired chan<- error) {
	retired <- p.gateway.Retire(ctx)
}
